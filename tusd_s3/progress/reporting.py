"""Beside those who receive: reports how far uploads are, to the workers that watch them.

While nobody watches, two entries in a dictionary per body are all it does. A worker that watches
says so about once a second; for a while after that it gets the positions of all it watches here, in
one message a few times a second.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final

from tusd_s3 import errors
from tusd_s3.model.upload import UploadId
from tusd_s3.ports import Reception
from tusd_s3.ports_progress import Positions, Reports

logger = logging.getLogger("tusd_s3.progress")

REPORT_EVERY_S: Final = 0.25
"""Four times a second is what those who watch are told at most."""

TOLD_FOR_S: Final = 3.0
"""Who watches says so each second; two of those messages may be lost."""

AUDIENCES_MAX: Final = 4096
"""Uploads that are watched and held here, at most: some hundred bytes each. Those beyond are seen
by their records only."""


class Audiences:
    """Which workers watch which uploads. It knows no clock: times (seconds) are given to it."""

    def __init__(self) -> None:
        self._until_s: dict[UploadId, dict[str, float]] = {}

    def add(self, upload_id: UploadId, watcher: str, now_s: float) -> None:
        """`watcher` watches, as of now."""
        if upload_id in self._until_s or len(self._until_s) < AUDIENCES_MAX:
            self._until_s.setdefault(upload_id, {})[watcher] = now_s + TOLD_FOR_S

    def by_watcher(self, now_s: float) -> dict[str, list[UploadId]]:
        """Who watches what now. Who has not said so lately is forgotten."""
        found: dict[str, list[UploadId]] = {}
        for upload_id, watchers in list(self._until_s.items()):
            for watcher, until_s in list(watchers.items()):
                if until_s <= now_s:
                    del watchers[watcher]
                else:
                    found.setdefault(watcher, []).append(upload_id)
            if not watchers:
                del self._until_s[upload_id]
        return found

    def __contains__(self, upload_id: UploadId) -> bool:
        return upload_id in self._until_s


class Reporter:
    """`ports.ReceptionObserver`. now_s: a clock that never goes back."""

    def __init__(self, reports: Reports, *, now_s: Callable[[], float] = time.monotonic) -> None:
        self._reports = reports
        self._now_s = now_s
        self._receptions: dict[UploadId, Reception] = {}
        self._audiences = Audiences()
        self._ended: set[UploadId] = set()
        self._task: asyncio.Task[None] | None = None

    def began(self, reception: Reception) -> None:
        """See `ports.ReceptionObserver`."""
        self._receptions[reception.upload_id] = reception

    def ended(self, reception: Reception) -> None:
        """See `ports.ReceptionObserver`."""
        upload_id = reception.upload_id
        if self._receptions.get(upload_id) is reception:
            del self._receptions[upload_id]
        if upload_id in self._audiences:
            self._ended.add(upload_id)

    def watched(self, upload_id: UploadId, watcher: str) -> None:
        """The worker `watcher` watches an upload that was held here."""
        self._audiences.add(upload_id, watcher, self._now_s())
        if self._task is None:
            self._task = asyncio.create_task(self._report_while_watched(), name="tusd-s3 reports")

    async def aclose(self) -> None:
        """Report nothing any more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _report_while_watched(self) -> None:
        try:
            while by_watcher := self._audiences.by_watcher(self._now_s()):
                ended, self._ended = self._ended, set()
                await asyncio.gather(
                    *(
                        self._report(watcher, self._positions(ids, ended))
                        for watcher, ids in by_watcher.items()
                    )
                )
                await asyncio.sleep(REPORT_EVERY_S)
        finally:
            self._task = None

    def _positions(self, ids: list[UploadId], ended: set[UploadId]) -> Positions:
        now = {
            upload_id: reception.offset()
            for upload_id in ids
            if (reception := self._receptions.get(upload_id)) is not None
        }
        return dict.fromkeys(ended.intersection(ids)) | now

    async def _report(self, watcher: str, positions: Positions) -> None:
        if not positions:
            return
        try:
            await self._reports.report(watcher, positions)
        except errors.StateUnavailable:
            logger.debug("a report was lost")  # there will be others
