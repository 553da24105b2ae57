"""Beside those who watch: what each upload they watch looks like, and when that changes.

However many watch an upload, this worker looks at its record once a second, all of them in one
round trip; who receives its bytes reports in between.

A record that is gone tells little. It has expired, which its last sighting tells; was terminated;
or Redis has lost it, and S3 still knows the upload. So S3 is asked, as for a HEAD.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from tusd_s3 import errors
from tusd_s3.model.upload import UploadId, UploadState
from tusd_s3.ports_progress import Positions, Sighting, Sightings
from tusd_s3.progress.seats import Seat, Watched
from tusd_s3.progress.state import Phase
from tusd_s3.waiting import event_or_timeout

logger = logging.getLogger("tusd_s3.progress")

LOOK_EVERY_S: Final = 1.0
"""Between two looks at a record: for so long an end may stay unseen that nobody reports."""

LOOK_PAUSE_S: Final = 0.25
"""Between looks that reports ask for: an upload of a hundred short PATCHes a second ends as many
bodies."""

WATCHERS_MAX: Final = 512
"""Who watches at one worker, at once. Each is a connection and five tasks, 42 KiB, 21 MiB in all;
when all are told something four times a second, it is a third of a processor. In the memory budget
each counts like what a body takes beside its bytes (`budget.BODY_BYTES`)."""

WATCHERS_PER_UPLOAD_MAX: Final = 64
"""Of one upload, at one worker: an address that was given to a crowd leaves room for others."""

BringBack = Callable[[UploadId], Awaitable[None]]
"""Makes the record again of an upload that S3 still knows. Raises UploadNotFound,
TemporaryError."""


class Watching:
    """Uploads that are watched at this worker.

    now_s: a clock that never goes back. now_unix_s: Unix time.
    """

    def __init__(
        self,
        sightings: Sightings,
        bring_back: BringBack,
        *,
        now_s: Callable[[], float] = time.monotonic,
        now_unix_s: Callable[[], float] = time.time,
    ) -> None:
        self._sightings = sightings
        self._bring_back = bring_back
        self._now_s = now_s
        self._now_unix_s = now_unix_s
        self._watched: dict[UploadId, Watched] = {}
        self._seats_count = 0
        self._due: set[UploadId] = set()
        self._is_due = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._draining = False

    async def open(self, upload_id: UploadId) -> Seat:
        """A place to watch the upload from, to be closed; its progress is known.

        Raises UploadNotFound, TooManyWatchers, TemporaryError.
        """
        known = self._watched.get(upload_id)
        if self._seats_count >= WATCHERS_MAX or (
            known is not None and len(known.seats) >= WATCHERS_PER_UPLOAD_MAX
        ):
            raise errors.TooManyWatchers
        watched = known or self._watched.setdefault(upload_id, Watched(upload_id))
        seat = Seat(watched)
        watched.seats.add(seat)
        self._seats_count += 1
        try:
            await self._load(watched)
        except BaseException:
            self.close(seat)
            raise
        if self._task is None:
            self._task = asyncio.create_task(self._look_while_watched(), name="tusd-s3 watching")
        if self._draining:
            seat.wake(is_last=True)
        return seat

    def close(self, seat: Seat) -> None:
        """Nobody watches from this place any more."""
        watched = seat.watched
        if seat not in watched.seats:
            return
        watched.seats.remove(seat)
        self._seats_count -= 1
        if not watched.seats and self._watched.get(watched.id) is watched:
            del self._watched[watched.id]
            if watched.search is not None:
                watched.search.cancel()

    def reported(self, reporter: str, positions: Positions) -> None:
        """What the worker `reporter` tells of uploads that it receives."""
        for upload_id, received in positions.items():
            watched = self._watched.get(upload_id)
            if watched is None:
                continue
            if received is None or not watched.reported(reporter, received, self._now_s()):
                self._due.add(upload_id)
                self._is_due.set()

    def begin_drain(self) -> None:
        """All who watch are to go: the worker stops. Who comes now, too."""
        self._draining = True
        for watched in self._watched.values():
            for seat in watched.seats:
                seat.wake(is_last=True)

    async def aclose(self) -> None:
        """`begin_drain`, and look at nothing any more."""
        self.begin_drain()
        tasks = [watched.search for watched in self._watched.values() if watched.search]
        tasks += [self._task] if self._task is not None else []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # --- looking --------------------------------------------------------------------------------

    async def _load(self, watched: Watched) -> None:
        async with watched.loading:
            if watched.progress is not None:
                return
            sighting = await self._sight_one(watched.id)
            if sighting.upload is None:
                await self._bring_back(watched.id)
                sighting = await self._sight_one(watched.id)
            if sighting.upload is None or sighting.upload.state is UploadState.TERMINATING:
                raise errors.UploadNotFound
            watched.seen(sighting.upload, sighting.holder, self._now_s())

    async def _sight_one(self, upload_id: UploadId) -> Sighting:
        [sighting] = await self._sightings.sight([upload_id])
        if isinstance(sighting, errors.StateUnavailable):
            raise sighting
        return sighting

    async def _look_while_watched(self) -> None:
        try:
            looked_at_s = self._now_s()
            while self._watched:
                await asyncio.sleep(LOOK_PAUSE_S)
                wait_s = looked_at_s + LOOK_EVERY_S - self._now_s()
                await event_or_timeout(self._is_due, max(0.0, wait_s))
                due, self._due = self._due, set()
                self._is_due.clear()
                if self._now_s() >= looked_at_s + LOOK_EVERY_S:
                    looked_at_s = self._now_s()
                    due = set(self._watched)
                await self._look([it for it in map(self._watched.get, due) if it and it.progress])
        finally:
            self._task = None

    async def _look(self, watched: Sequence[Watched]) -> None:
        if not watched:
            return
        try:
            sightings = await self._sightings.sight([it.id for it in watched])
        except errors.StateUnavailable:
            return  # who watches sees what was last known, until Redis is back
        for it, sighting in zip(watched, sightings, strict=True):
            if isinstance(sighting, errors.StateUnavailable):
                continue
            if sighting.upload is None:
                self._missed(it)
            else:
                it.seen(sighting.upload, sighting.holder, self._now_s())

    def _missed(self, watched: Watched) -> None:
        if watched.has_expired(self._now_unix_s()):
            watched.end(Phase.EXPIRED)
        elif watched.search is None and not watched.is_over:
            watched.search = asyncio.create_task(self._search(watched))

    async def _search(self, watched: Watched) -> None:
        """Find out what became of an upload without a record."""
        try:
            await self._bring_back(watched.id)
        except errors.UploadNotFound:
            watched.end(Phase.TERMINATED)
        except errors.UploadError as error:
            logger.debug("upload %s: not known whether it is gone: %s", watched.id, error.code)
        finally:
            watched.search = None
