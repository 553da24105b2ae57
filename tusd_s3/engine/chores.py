"""Pieces of the clean-up, done a few at a time: what fails is noted, and tried again later.

A chore is found cheaply, in a list; then it is looked at, and may turn out to be none; then it is
done. Each is about one upload, safe to do twice or by two at once, and fails alone.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from tusd_s3 import errors
from tusd_s3.model.upload import UploadId
from tusd_s3.ports_cleanup import Failure, Housekeeping

logger = logging.getLogger("tusd_s3.cleanup")

RETRY_MAX_S: Final = 3600.0
"""What failed often is tried again at least once in so long: somebody may have mended it."""

_DOUBLINGS_MAX: Final = 30
"""Far beyond `RETRY_MAX_S` for any interval, and no huge number."""


class Duty(StrEnum):
    """What there is to clean up, in words for people that an upload's id completes."""

    EXPIRED = "remove expired upload"
    RECOVERY = "remove recovery object of finished upload"
    TAIL = "remove unused tail of upload"
    ORPHAN = "abort orphaned multipart upload of upload"
    COMPLETION = "complete upload"
    START = "abort multipart upload of unknown id of upload"
    TERMINATION = "finish removal of upload"
    PARTIAL = "remove used partial upload"
    PARKING = "move idle tail to S3 of upload"


@dataclass(frozen=True, slots=True, kw_only=True)
class Deed:
    """What a look found to do.

    age_s: since when there was no sign of life, in seconds. size_bytes: of what is removed or
    moved, None if that is not known. do: does it; False if it is no longer needed.
    """

    duty: Duty
    age_s: float
    size_bytes: int | None
    do: Callable[[], Awaitable[bool]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chore:
    """Something to look at. detail: tells two chores of one duty and upload apart."""

    duty: Duty
    upload_id: UploadId
    detail: str = ""
    look: Callable[[], Awaitable[Deed | None]]

    @property
    def name(self) -> str:
        """In the journal."""
        return f"{self.duty.name.lower()} {self.upload_id} {self.detail}".rstrip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a chore ended. deed: None if the look failed. code: of the error, None for success."""

    duty: Duty
    upload_id: UploadId
    deed: Deed | None
    code: str | None

    def __str__(self) -> str:
        """What it was about, in one line for people."""
        about = ""
        if self.deed is not None:
            size = "" if self.deed.size_bytes is None else f"{self.deed.size_bytes} bytes, "
            about = f" ({size}{self.deed.age_s:.0f} s old)"
        failure = "" if self.code is None else f": failed: {self.code}"
        return f"{self.duty} {self.upload_id}{about}{failure}"


class Journal:
    """What failed before, and when it is due again."""

    def __init__(self, housekeeping: Housekeeping, interval_s: float) -> None:
        self._housekeeping = housekeeping
        self._interval_s = interval_s
        self.entries: dict[str, Failure] = {}

    async def load(self) -> None:
        """Read it again. Raises StateUnavailable."""
        self.entries = dict(await self._housekeeping.failures())

    def is_due(self, name: str) -> bool:
        """Whether it never failed, or has been left alone for long enough: an interval, doubled
        with every attempt."""
        failure = self.entries.get(name)
        if failure is None:
            return True
        pause_s = self._interval_s * 2.0 ** min(failure.attempts - 1, _DOUBLINGS_MAX)
        return failure.at_s + min(pause_s, RETRY_MAX_S) <= time.time()

    async def failed(self, name: str, code: str) -> None:
        """Note one more attempt."""
        before = self.entries.get(name)
        attempts = 1 if before is None else before.attempts + 1
        self.entries[name] = Failure(attempts=attempts, code=code, at_s=time.time())
        try:
            await self._housekeeping.note_failure(name, self.entries[name])
        except errors.StateUnavailable:
            logger.debug("the journal cannot be written")  # Redis was what failed, as like as not

    async def succeeded(self, name: str) -> None:
        """Drop its entry, if there is one."""
        if self.entries.pop(name, None) is None:
            return
        try:
            await self._housekeeping.forget_failures([name])
        except errors.StateUnavailable:
            logger.debug("the journal cannot be written")


class Crew:
    """Does chores, `at_once` at a time.

    report: told of every one that was done or failed. dry_run: look only, and report as done.
    patient: leave alone what failed a moment ago.
    """

    def __init__(
        self,
        journal: Journal,
        report: Callable[[Outcome], None],
        *,
        at_once: int,
        dry_run: bool = False,
        patient: bool = True,
    ) -> None:
        self._journal = journal
        self._report = report
        self._at_once = at_once
        self._dry_run = dry_run
        self._patient = patient
        self._done = 0

    async def do_all(self, chores: AsyncGenerator[Chore, None]) -> int:
        """Do all of them, whatever becomes of each; how many were done. Raises what the iterator
        raises, when those that had begun are through."""
        before, running = self._done, set[asyncio.Task[None]]()
        try:
            async with aclosing(chores) as found:
                async for chore in found:
                    if self._patient and not self._journal.is_due(chore.name):
                        continue
                    task = asyncio.create_task(self._attempt(chore))
                    running.add(task)
                    task.add_done_callback(running.discard)
                    if len(running) >= self._at_once:
                        await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            for task in running:
                task.cancel()
            raise
        finally:
            await asyncio.gather(*running, return_exceptions=True)
        return self._done - before

    async def _attempt(self, chore: Chore) -> None:
        deed: Deed | None = None
        code: str | None = None
        try:
            deed = await chore.look()
            if deed is not None and not self._dry_run and not await deed.do():
                deed = None
        except (errors.UploadLocked, errors.UploadNotFound):
            deed = None  # somebody is at it, or it is gone
        except errors.UploadError as error:
            code = error.code
        except Exception:
            logger.exception("%s %s failed", chore.duty, chore.upload_id)
            code = errors.UploadError.code
        await self._settle(chore, deed, code)

    async def _settle(self, chore: Chore, deed: Deed | None, code: str | None) -> None:
        if not self._dry_run:
            if code is None:
                await self._journal.succeeded(chore.name)
            else:
                await self._journal.failed(chore.name, code)
        if deed is None and code is None:
            return
        duty = chore.duty if deed is None else deed.duty
        outcome = Outcome(duty=duty, upload_id=chore.upload_id, deed=deed, code=code)
        if code is not None:
            logger.warning("%s", outcome)
        self._done += code is None
        self._report(outcome)
