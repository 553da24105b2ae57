"""One upload that is watched, and the places of those who watch it.

Who watches is woken when something changed, and takes what is true by the time it looks: for one
that is slow nothing queues up.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Final

from tusd_s3.model.upload import Upload, UploadId
from tusd_s3.progress.rate import Rate
from tusd_s3.progress.state import Phase, Progress
from tusd_s3.waiting import event_or_timeout

SHOW_EVERY_S: Final = 0.25
"""Between two events to one who watches: nobody sees more."""

REPORT_LIFE_S: Final = 2.5
"""A report counts for so long, unless a newer one comes: who sends none may be dead."""

FIRST_REPORT_S: Final = 0.5
"""What a single snapshot waits for a report, when there is somebody to send one."""

EXPIRY_SLACK_S: Final = 2.0
"""A record that vanishes so long before its end has expired: the clocks of Redis and of this
machine differ, and the clean-up goes a little ahead."""


class Watched:
    """One upload as it was last seen. Times are given to it, in seconds of a clock that never goes
    back where nothing else is said."""

    def __init__(self, upload_id: UploadId) -> None:
        self.id = upload_id
        self.seats: set[Seat] = set()
        self.loading = asyncio.Lock()
        self.search: asyncio.Task[None] | None = None
        self.has_report = asyncio.Event()
        self.progress: Progress | None = None
        self._upload: Upload | None = None
        self._holder = ""
        self._received: tuple[float, int] | None = None
        self._rate = Rate()

    @property
    def is_over(self) -> bool:
        """Whether an end is shown."""
        return self.progress is not None and self.progress.is_end

    @property
    def is_held(self) -> bool:
        """Whether somebody writes it."""
        return self._holder != ""

    def seen(self, upload: Upload, holder: str, at_s: float) -> None:
        """The record, and the worker that writes it. A new one goes on where the record ends,
        whatever the last one has reported."""
        if holder != self._holder:
            self._received = None
        self._upload, self._holder = upload, holder
        self._refresh(at_s)

    def reported(self, reporter: str, received: int, at_s: float) -> bool:
        """What the worker `reporter` has received; whether that is the one known to write it."""
        if reporter != self._holder:
            return False
        self._received = at_s, received
        self.has_report.set()
        self._refresh(at_s)
        return True

    def has_expired(self, now_unix_s: float) -> bool:
        """Whether a record that is gone has come to its end."""
        return self._upload is None or now_unix_s >= self._upload.expires_at_s - EXPIRY_SLACK_S

    def end(self, phase: Phase) -> None:
        """There is no record, and there will be none."""
        if self.progress is not None and not self.is_over:
            self._show(replace(self.progress, state=phase, rate=0))

    def _refresh(self, now_s: float) -> None:
        if self._upload is None or self.is_over:
            return
        received = None
        if self._received is not None and self._received[0] > now_s - REPORT_LIFE_S:
            received = self._received[1]
        progress = Progress.of(self._upload, received, is_held=self.is_held)
        self._rate.note(now_s, progress.offset or 0)
        self._show(progress if progress.is_end else replace(progress, rate=self._rate.bytes_per_s))

    def _show(self, progress: Progress) -> None:
        if progress != self.progress:
            self.progress = progress
            for seat in self.seats:
                seat.wake(is_last=progress.is_end)


class Seat:
    """The place of one who watches."""

    def __init__(self, watched: Watched) -> None:
        self.watched = watched
        self._woken = asyncio.Event()
        self._over = asyncio.Event()

    @property
    def progress(self) -> Progress:
        """As of now."""
        assert self.watched.progress is not None
        return self.watched.progress

    def wake(self, *, is_last: bool = False) -> None:
        """Something changed. is_last: nothing more will be shown."""
        self._woken.set()
        if is_last:
            self._over.set()

    async def settled(self) -> Progress:
        """As of now, with what its holder has received if that is told at once."""
        if self.watched.is_held and not self.watched.is_over:
            await event_or_timeout(self.watched.has_report, FIRST_REPORT_S)
        return self.progress

    async def changes(self, shown: str = "") -> AsyncIterator[Progress]:
        """What is true now, and again whenever it changed, but not more often than `SHOW_EVERY_S`;
        an end at once, and nothing behind it. Just ends when the worker stops.

        shown: mark of what has been shown before; that is not shown again.
        """
        last: Progress | None = None
        while True:
            self._woken.clear()
            now = self.progress
            if now != last if last is not None else now.mark != shown:
                yield now
                await event_or_timeout(self._over, SHOW_EVERY_S)
            if now.is_end or (self._over.is_set() and not self.progress.is_end):
                return
            last = now
            await self._woken.wait()
