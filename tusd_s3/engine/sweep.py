"""Finds what is to be done about uploads that Redis has a record of.

- *Stuck completions*: all bytes are there and the process that should have made the object of them
  died. A client that has sent everything need not ask again, so nobody else would notice.
- *Stuck removals*: a DELETE that was cut off half-way.
- *Lost starts*: a multipart upload was announced, and no id followed: there may be one in S3 that
  nobody knows. Whoever writes the upload next aborts it; if nobody comes, this does.
- *Partial uploads whose time is over*: Redis drops what it knows of them by itself, but not their
  object, which is nobody's business but ours. Shortly before that, both go together.
- *Idle tails*: bytes short of a part that nobody has added to for a while. They are safe in Redis,
  but they take its memory, which an upload that was given up should not hold for a lifetime.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar

from tusd_s3.engine.chores import Chore, Deed, Duty
from tusd_s3.engine.parking import can_be_parked
from tusd_s3.engine.sources import is_object, kept_s
from tusd_s3.engine.uploads import Uploads
from tusd_s3.model.upload import Upload, UploadId, UploadState
from tusd_s3.ports_cleanup import Housekeeping, Listing, Memory

T = TypeVar("T")

RELIEF_TAILS_MAX: Final = 10_000
"""Tails considered at once when memory runs short: ten gigabytes of them at a MiB each."""

RELIEF_IDLE_MIN_S: Final = 5.0
"""Not even then is a tail moved that changed a moment ago: its client is about to go on, and would
have to wait for it to come back."""

MEMORY_SHARE: Final = 0.75
"""The default bound, of Redis' own maxmemory. At maxmemory itself every write fails, those
included that would move tails away."""

RELIEF_TARGET: Final = 0.9
"""Down to this share of the bound, so that the next tail does not pass it again."""

Do = Callable[[UploadId], Awaitable[bool]]
"""Does what there is to do about an upload; whether there still was."""

Between = Callable[[float], Awaitable[None]]
"""Awaited after each batch of a listing, with the seconds that it kept us busy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepOptions:
    """What counts as left behind.

    lifetime_s, key_template, key_prefix: of uploads, as in `engine.options`.
    interval_s: between sweeps over the records.
    tail_idle_s: tails idle for longer are moved to S3.
    memory_bound_bytes: so are others while Redis uses more; None to go by its maxmemory.
    """

    lifetime_s: float
    key_template: str
    key_prefix: str
    tail_idle_s: float
    memory_bound_bytes: int | None
    interval_s: float

    @property
    def lead_s(self) -> float:
        """How long before their expiry partial uploads are removed: a sweep must come by while
        Redis still has the record. What it misses is found in S3, after a lifetime."""
        return min(2 * self.interval_s, kept_s(self.lifetime_s) / 4)

    def bound_bytes(self, memory: Memory) -> int | None:
        """How much memory Redis may use; None for no bound."""
        if self.memory_bound_bytes is not None or memory.most_bytes is None:
            return self.memory_bound_bytes
        return int(memory.most_bytes * MEMORY_SHARE)

    def excess_bytes(self, memory: Memory) -> float:
        """How much of that should leave; 0 while it is within the bound."""
        bound_bytes = self.bound_bytes(memory)
        if bound_bytes is None or memory.used_bytes <= bound_bytes:
            return 0.0
        return memory.used_bytes - bound_bytes * RELIEF_TARGET


class RecordSweep:
    """See the module."""

    def __init__(
        self, housekeeping: Housekeeping, uploads: Uploads, options: SweepOptions, between: Between
    ) -> None:
        self._housekeeping = housekeeping
        self._uploads = uploads
        self._options = options
        self._between = between

    async def chores(self) -> AsyncGenerator[Chore, None]:
        """Completions and removals that got stuck, and tails idle for too long."""
        async for batch in paced(self._housekeeping.scan(), self._between):
            for listing in batch:
                if (chore := self._chore_of(listing)) is not None:
                    yield chore

    def _chore_of(self, listing: Listing) -> Chore | None:
        if listing.upload is None or listing.is_held:
            return None
        due = self._due(listing, listing.upload)
        return None if due is None else self._chore(due[0], listing.upload, due[1])

    def _due(self, listing: Listing, upload: Upload) -> tuple[Duty, Do] | None:
        """What there is to do, the most pressing first."""
        idle_s, tail_idle_s = self._idle_s(upload), self._options.tail_idle_s
        duties: tuple[tuple[Duty, bool, Do], ...] = (
            (Duty.COMPLETION, upload.awaits_completion, self._uploads.complete_stuck),
            (Duty.COMPLETION, _is_stuck_final(upload), self._uploads.assemble_stuck),
            (Duty.TERMINATION, upload.state is UploadState.TERMINATING, self._terminate),
            (Duty.PARTIAL, self._is_spent(upload), self._remove_spent),
            (
                Duty.START,
                upload.is_starting and idle_s >= tail_idle_s,
                self._uploads.abort_lost_start,
            ),
            (Duty.PARKING, self._has_idle_tail(listing, tail_idle_s), self._uploads.park),
        )
        return next(((duty, do) for duty, is_due, do in duties if is_due), None)

    def _is_spent(self, upload: Upload) -> bool:
        if not upload.is_partial or not is_object(upload):
            return False
        return upload.expires_at_s - self._options.lead_s <= time.time()

    async def _remove_spent(self, upload_id: UploadId) -> bool:
        return await self._uploads.remove_if(upload_id, self._is_spent)

    async def idlest_tails(self, excess_bytes: float) -> AsyncGenerator[Chore, None]:
        """Tails in Redis, those that have been idle for longest first, until they make up
        `excess_bytes`."""
        found: list[Upload] = []
        async for batch in paced(self._housekeeping.scan(), self._between):
            found += [
                listing.upload
                for listing in batch
                if listing.upload is not None and self._has_idle_tail(listing, RELIEF_IDLE_MIN_S)
            ]
            if len(found) > 2 * RELIEF_TAILS_MAX:
                found = _idlest(found)
        for upload in _idlest(found):
            if excess_bytes <= 0:
                return
            excess_bytes -= upload.tail_bytes
            yield self._chore(Duty.PARKING, upload, self._uploads.park)

    def _has_idle_tail(self, listing: Listing, least_s: float) -> bool:
        upload = listing.upload
        if upload is None or listing.is_held or not can_be_parked(upload):
            return False
        return self._idle_s(upload) >= least_s

    def _idle_s(self, upload: Upload) -> float:
        """Since the last commit: each moves the expiry to a lifetime from then."""
        return time.time() - (upload.expires_at_s - self._options.lifetime_s)

    def _chore(self, duty: Duty, upload: Upload, do: Do) -> Chore:
        async def look() -> Deed:
            return Deed(
                duty=duty,
                age_s=self._idle_s(upload),
                size_bytes=upload.tail_bytes if duty is Duty.PARKING else upload.offset,
                do=partial(do, upload.id),
            )

        return Chore(duty=duty, upload_id=upload.id, look=look)

    async def _terminate(self, upload_id: UploadId) -> bool:
        await self._uploads.terminate(upload_id)
        return True


async def paced(batches: AsyncIterator[T], between: Between) -> AsyncGenerator[T, None]:
    """`batches`, with `between` after each."""
    began_s = time.monotonic()
    async for batch in batches:
        yield batch
        await between(time.monotonic() - began_s)
        began_s = time.monotonic()


async def no_rest(_: float) -> None:
    """A `Between` for those who are in a hurry: others on the event loop still get their turn."""
    await asyncio.sleep(0)


def _is_stuck_final(upload: Upload) -> bool:
    """One without a length was never answered for, and its POST may have made another."""
    return upload.awaits_assembly and upload.length is not None


def _idlest(found: list[Upload]) -> list[Upload]:
    return heapq.nsmallest(RELIEF_TAILS_MAX, found, key=lambda upload: upload.expires_at_s)
