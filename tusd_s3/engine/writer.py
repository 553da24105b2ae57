"""Writes one body into one upload: parts to S3 while reading, and what is durable to the record.

The writer holds three kinds of bytes:

    recorded                     in flight                fresh
    parts 1..n, then the tail    parts on their way       short of a part, in memory
    (durable, acknowledged)      to S3, several at once   (the cutter's)

Only a commit moves bytes to the left, and only contiguous ones: parts are recorded in order, up to
the first that is not stored yet. A tail is written only when nothing is in flight before it. So
the record never covers a hole, whatever fails.

When a part cannot be stored, the bytes before it are recorded and its own are parked in the tail
(at most one part's worth); the rest was not acknowledged and is forgotten.

A body that came with a checksum is *staged*: its parts may land in S3 while it still arrives, but
nothing of it is recorded, not even a tail, before it was found to agree (`accept`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tusd_s3 import errors
from tusd_s3.budget import Account, MemoryBudget
from tusd_s3.engine.attributes import attributes_of
from tusd_s3.engine.flight import Flights
from tusd_s3.engine.multipart import Multipart
from tusd_s3.model.chunk import Chunk
from tusd_s3.model.upload import Upload, UploadState
from tusd_s3.planner.cutter import PartCutter, PlannedPart
from tusd_s3.ports import Changes, Held, Objects, UploadRecords

logger = logging.getLogger("tusd_s3.engine")


@dataclass(frozen=True, slots=True)
class Bench:
    """What all writers of a worker share.

    budget: lends the memory for bytes that come back from Redis.
    concurrent_parts: how many parts of one upload may be in flight.
    expiry: the expiry time that a commit made now records (Unix seconds).
    """

    records: UploadRecords
    objects: Objects
    budget: MemoryBudget
    concurrent_parts: int
    expiry: Callable[[], int]


class UploadWriter:
    """Takes a body's chunks for a held upload.

    upload: the held upload as it will be, with a length declared by this very request.
    account: where the chunks are charged; None for a writer that is given none.
    body_bytes: length of the body, None if only its end will tell.
    staging: whether the body is staged.
    """

    def __init__(
        self,
        held: Held,
        upload: Upload,
        bench: Bench,
        *,
        account: Account | None = None,
        body_bytes: int | None = None,
        staging: bool = False,
    ) -> None:
        self._held = held
        self._declared = upload
        self._records = bench.records
        self._objects = bench.objects
        self._budget = bench.budget
        self._concurrent_parts = bench.concurrent_parts
        self._expiry = bench.expiry
        self._account = bench.budget.book() if account is None else account
        self._body_bytes = body_bytes
        self._received = 0
        self._flights = Flights()
        self._multipart = Multipart(
            held, self._records, self._objects, self._commit_start, staging=staging
        )
        self._staging = staging
        self._cutter = PartCutter(
            upload.layout, parts=upload.parts, tail_bytes=upload.tail_bytes, length=upload.length
        )
        self._offset = upload.offset
        self._secure = asyncio.Event()
        self._secure.set()
        self._attempts: set[asyncio.Task[str]] = set()
        self._abandoned = False

    @property
    def offset(self) -> int:
        """Where the next byte goes: the upload's offset at the start plus all bytes taken."""
        return self._offset + self._received

    @property
    def is_staging(self) -> bool:
        """Whether the body is staged, so that nothing of it can be made durable yet."""
        return self._staging

    @property
    def is_whole(self) -> bool:
        """Whether every byte of the upload has been taken."""
        return self._declared.length is not None and self.offset == self._declared.length

    async def start(self) -> None:
        """Send what is already a full part: a part parked in the tail by an earlier failure."""
        if self._cutter.missing_bytes <= 0:
            await self.write(b"")
        self._expect_more()

    async def write(self, chunk: Chunk) -> None:
        """Take a chunk; waits while enough parts are in flight.

        Raises the error of a part that could not be stored: stop, and `settle`.
        """
        self._received += len(chunk)
        for part in self._cutter.feed(chunk):
            await self._launch(part)
            self._expect_more()

    async def checkpoint(self) -> None:
        """Record what landed, and make fresh bytes durable if nothing is in flight before them;
        nothing of a staged body."""
        if self._staging:
            return
        etags = self._flights.take_landed()
        tail = [] if self._flights.are_left else self._cutter.take_tail()
        if etags or tail:
            await self._commit(etags, tail)
            self._account.release(sum(map(len, tail)))

    def accept(self) -> None:
        """The staged body agrees with its checksum: from now on it counts."""
        self._staging = False

    async def reject(self) -> None:
        """Nothing of the staged body is to count.

        Waits until what is on its way has landed: S3 would take a part late that was given up, and
        put it in the place of one that is sent after it. Raises the error of a part that could not
        be stored.
        """
        if (failure := await self._land_all()) is not None:
            raise failure

    async def settle(self) -> None:
        """Make durable what can be, record it, and give up the lease.

        Raises the error of the first part that could not be stored, after that.
        """
        failure = await self._land_all()
        etags = self._flights.take_landed()
        if failure is None:
            await self._commit(etags, self._cutter.take_tail(), release=True)
            return
        if isinstance(failure, errors.UploadNotFound):
            raise failure
        await self._commit(etags, self._flights.first_chunks, release=True)
        raise failure

    async def settle_whole(self) -> None:
        """Store and record the last bytes; make the object. A short partial upload needs none."""
        if self._held.upload.awaits_completion:
            await self.complete()
        elif not self._multipart.exists:
            await (self.settle() if self._declared.is_partial else self._store_single())
        else:
            await self._launch_last()
            if await self._land_all() is not None:
                await self.settle()
                return
            await self._commit(self._flights.take_landed(), ())
            await self.complete()

    async def complete(self) -> None:
        """Turn a whole upload into its object; every step of it may be repeated.

        Bytes still in the tail become the last part, or the whole object.
        """
        upload = self._held.upload
        if upload.multipart_id is None:
            async with self._budget.loan(upload.tail_bytes):
                tail = await self._records.read_tail(self._held)
                await self._put_object(tail)
            return
        if upload.tail_bytes:
            last = PlannedPart(upload.parts + 1, upload.tail_bytes, (), upload.tail_bytes)
            etag = await self._send(last, self._multipart.ready())
            await self._commit([etag], ())
        etags = await self._records.etags(self._held)
        length = self._held.upload.offset
        await self._objects.complete_multipart(upload.key, upload.multipart_id, etags, length)
        await self._record_completion()

    def secure(self, is_secure: bool) -> None:
        """Stop sending while the lease cannot be relied on; begin those parts again afterwards.

        Somebody else may get the lease and send the same parts. S3 would take ours late.
        """
        if is_secure or self._abandoned:
            self._secure.set()
            return
        self._secure.clear()
        for attempt in self._attempts:
            attempt.cancel()

    def abandon(self) -> None:
        """Send nothing any more: the lease is lost, or nothing of this body may stay."""
        self._abandoned = True
        self._secure.set()  # nobody need wait for the lease to come back
        for task in self._flights.tasks:
            task.cancel()

    async def stop(self) -> None:
        """`abandon`, and wait until nothing of this writer runs any more.

        The start of a multipart upload is waited for, not cancelled: its id would be lost.
        """
        self.abandon()
        tasks = self._flights.tasks
        if self._multipart.task is not None:
            tasks.append(self._multipart.task)
        if tasks:
            await asyncio.gather(*tasks, return_exceptions=True)
        self._account.clear()

    def _expect_more(self) -> None:
        missing = self._cutter.missing_bytes
        if self._body_bytes is not None:
            missing = min(missing, max(0, self._body_bytes - self._received))
        self._account.expect(missing)

    # --- sending ------------------------------------------------------------------------------

    async def _launch(self, part: PlannedPart) -> None:
        while len(running := self._flights.running) >= self._concurrent_parts:
            await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        await self._account.send(part.fresh_bytes)
        sending = self._send(part, self._multipart.ready())
        self._flights.begin(part, sending, self._account)
        if (failure := self._flights.failure) is not None:
            raise failure

    async def _launch_last(self) -> None:
        last = self._cutter.take_last()
        if last.size:
            try:
                await self._launch(last)
            except errors.UploadError:
                logger.debug("a part failed before the last one")  # settling reports it

    async def _send(self, part: PlannedPart, multipart: asyncio.Task[str]) -> str:
        """Store a part, beginning again whenever the lease could not be relied on for a while."""
        while True:
            await self._secure.wait()
            if self._abandoned:
                raise errors.LeaseLost
            attempt = asyncio.create_task(self._attempt(part, multipart))
            self._attempts.add(attempt)
            try:
                await asyncio.wait({attempt})
            except asyncio.CancelledError:
                attempt.cancel()
                await asyncio.wait({attempt})
                raise
            finally:
                self._attempts.discard(attempt)
            if not attempt.cancelled():
                return attempt.result()

    async def _attempt(self, part: PlannedPart, multipart: asyncio.Task[str]) -> str:
        # All parts wait for the one multipart upload; cancelling one must not cancel that.
        multipart_id = await asyncio.shield(multipart)
        async with self._budget.loan(part.tail_bytes):
            chunks: Sequence[Chunk] = part.chunks
            if part.tail_bytes:
                chunks = [*await self._records.read_tail(self._held), *chunks]
            return await self._objects.upload_part(
                self._held.upload.key, multipart_id, part.number, chunks, part.size
            )

    async def _store_single(self) -> None:
        last = self._cutter.take_last()
        try:
            async with self._budget.loan(last.tail_bytes):
                tail = await self._records.read_tail(self._held)
                await self._put_object([*tail, *last.chunks])
        except errors.StorageUnavailable:
            await self._commit((), last.chunks, release=True)
            raise

    async def _put_object(self, chunks: Sequence[Chunk]) -> None:
        length = sum(map(len, chunks))
        if length != self._declared.length:
            raise AssertionError("an object is stored whole or not at all")
        present = [chunk for chunk in chunks if chunk]
        key, attributes = self._held.upload.key, attributes_of(self._declared)
        try:
            await self._objects.put_object(key, present, length, attributes)
        except errors.ObjectExists as found:
            # A try of ours whose answer was lost, or of a holder that was overtaken. The commit
            # shows that nobody has overtaken us; the condition, that it is still the same object.
            await self._commit((), ())
            await self._objects.put_object(key, present, length, attributes, replacing=found.etag)
        await self._record_completion()

    # --- landing and recording ----------------------------------------------------------------

    async def _land_all(self) -> errors.UploadError | None:
        """Wait until nothing is in flight any more; the first failure in order.

        Also for the start of the multipart upload, which commits too: parts that were given up
        no longer wait for it, and two commits must not cross.
        """
        running = self._flights.running
        start = self._multipart.task
        if start is not None and not start.done():
            running.append(start)
        if running:
            await asyncio.wait(running)
        return self._flights.failure

    async def _commit(
        self,
        etags: Sequence[str],
        tail: Sequence[Chunk],
        *,
        state: UploadState | None = None,
        release: bool = False,
    ) -> None:
        if self._staging:
            raise AssertionError("nothing of a staged body is recorded")
        if etags:
            await self._vouch_for(etags)
        news = self._news()
        changes = Changes(etags=etags, tail=tail, length=self._new_length, state=state, **news)
        await self._records.commit(self._held, changes, release=release)

    async def _vouch_for(self, etags: Sequence[str]) -> None:
        await self._secure.wait()
        if self._abandoned:
            raise errors.LeaseLost  # what a newcomer has written there must stay
        await self._multipart.vouch_for(etags)

    async def _commit_start(self, changes: Changes) -> None:
        """Of a multipart upload. The length that a staged body declared has to wait for its bytes,
        the layout cannot: parts are about to be cut by it."""
        length = None if self._staging else self._new_length
        await self._records.commit(self._held, replace(changes, length=length, **self._news()))

    @property
    def _new_length(self) -> int | None:
        length = self._declared.length
        return length if self._held.upload.length != length else None

    def _news(self) -> dict[str, Any]:
        """What every commit says, as fields of `Changes`."""
        before, layout = self._held.upload, self._declared.layout
        stored = self._multipart.recovery_stored
        return {
            "layout": layout if before.layout != layout else None,
            "recovery_stored": None if before.recovery_stored is stored else stored,
            "expires_at_s": self._expiry(),
        }

    async def _record_completion(self) -> None:
        await self._commit((), (), state=UploadState.COMPLETE, release=True)
        if self._held.upload.has_recovery and not self._held.upload.is_partial:
            try:
                await self._objects.delete_recovery(self._held.upload.id)
            except errors.UploadError:
                logger.warning("upload %s: its recovery object stays", self._held.upload.id)
