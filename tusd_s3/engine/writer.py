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
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine, Sequence

from tusd_s3 import errors
from tusd_s3.model.metadata import ObjectAttributes
from tusd_s3.model.upload import Upload, UploadState
from tusd_s3.planner.cutter import PartCutter, PlannedPart
from tusd_s3.ports import Changes, Held, Objects, UploadRecords

logger = logging.getLogger("tusd_s3.engine")


class _Flight:
    """A part on its way to S3. Its chunks are kept only while they may have to be parked."""

    def __init__(self, part: PlannedPart, sending: Coroutine[object, object, str]) -> None:
        self.chunks = part.chunks
        self.task = asyncio.create_task(sending)
        self.task.add_done_callback(self._drop_chunks)

    @property
    def is_running(self) -> bool:
        return not self.task.done()

    @property
    def is_landed(self) -> bool:
        return self.task.done() and not self.task.cancelled() and self.task.exception() is None

    @property
    def failure(self) -> errors.UploadError | None:
        """Why the part could not be stored. Raises what is not an expected failure."""
        if not self.task.done():
            return None
        if self.task.cancelled():
            return errors.LeaseLost()
        if (error := self.task.exception()) is None:
            return None
        if isinstance(error, errors.UploadError):
            return error
        raise error

    def _drop_chunks(self, _: asyncio.Task[str]) -> None:
        if self.is_landed:
            self.chunks = ()


class UploadWriter:
    """Takes a body's chunks for a held upload.

    upload: the held upload as it will be, with a length declared by this very request.
    concurrent_parts: how many parts may be in flight.
    expiry: the expiry time that a commit made now records (Unix seconds).
    """

    def __init__(
        self,
        held: Held,
        upload: Upload,
        records: UploadRecords,
        objects: Objects,
        attributes: ObjectAttributes,
        *,
        concurrent_parts: int,
        expiry: Callable[[], int],
    ) -> None:
        self._held = held
        self._declared = upload
        self._records = records
        self._objects = objects
        self._attributes = attributes
        self._concurrent_parts = concurrent_parts
        self._expiry = expiry
        self._received = 0
        self._flights: deque[_Flight] = deque()
        self._multipart: asyncio.Task[str] | None = None
        self._cutter = PartCutter(
            upload.layout, parts=upload.parts, tail_bytes=upload.tail_bytes, length=upload.length
        )
        self._offset = upload.offset
        self._recovery_stored = upload.recovery_stored
        self._secure = asyncio.Event()
        self._secure.set()
        self._attempts: set[asyncio.Task[str]] = set()
        self._abandoned = False

    @property
    def offset(self) -> int:
        """Where the next byte goes: the upload's offset at the start plus all bytes taken."""
        return self._offset + self._received

    @property
    def is_whole(self) -> bool:
        """Whether every byte of the upload has been taken."""
        return self._declared.length is not None and self.offset == self._declared.length

    async def start(self) -> None:
        """Send what is already a full part: a part parked in the tail by an earlier failure."""
        await self.write(b"")

    async def write(self, chunk: bytes) -> None:
        """Take a chunk; waits while enough parts are in flight.

        Raises the error of a part that could not be stored: stop, and `settle`.
        """
        self._received += len(chunk)
        for part in self._cutter.feed(chunk):
            await self._launch(part)

    async def checkpoint(self) -> None:
        """Record what landed, and make fresh bytes durable if nothing is in flight before them."""
        etags = self._take_landed()
        tail = [] if self._flights else self._cutter.take_tail()
        if etags or tail:
            await self._commit(etags, tail)

    async def settle(self) -> None:
        """Make durable what can be, record it, and give up the lease.

        Raises the error of the first part that could not be stored, after that.
        """
        failure = await self._land_all()
        etags = self._take_landed()
        if failure is None:
            await self._commit(etags, self._cutter.take_tail(), release=True)
            return
        if isinstance(failure, errors.UploadNotFound):
            raise failure
        await self._commit(etags, self._flights[0].chunks, release=True)
        raise failure

    async def settle_whole(self) -> None:
        """Store and record the last bytes; make the object. A short partial upload needs none."""
        if self._held.upload.awaits_completion:
            await self.complete()
        elif self._multipart is None and self._held.upload.multipart_id is None:
            await (self.settle() if self._declared.is_partial else self._store_single())
        else:
            await self._launch_last()
            if await self._land_all() is not None:
                await self.settle()
                return
            await self._commit(self._take_landed(), ())
            await self.complete()

    async def complete(self) -> None:
        """Turn a whole upload into its object; every step of it may be repeated.

        Bytes still in the tail become the last part, or the whole object.
        """
        upload = self._held.upload
        if upload.multipart_id is None:
            tail = await self._records.read_tail(self._held)
            await self._put_object([tail])
            return
        if upload.tail_bytes:
            last = PlannedPart(upload.parts + 1, upload.tail_bytes, (), upload.tail_bytes)
            etag = await self._send(last, self._shared_multipart())
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
        for flight in self._flights:
            flight.task.cancel()

    async def stop(self) -> None:
        """`abandon`, and wait until nothing of this writer runs any more.

        The start of a multipart upload is waited for, not cancelled: its id would be lost.
        """
        self.abandon()
        tasks = [flight.task for flight in self._flights]
        if self._multipart is not None:
            tasks.append(self._multipart)
        await asyncio.gather(*tasks, return_exceptions=True)

    # --- sending ------------------------------------------------------------------------------

    async def _launch(self, part: PlannedPart) -> None:
        while len(running := self._running) >= self._concurrent_parts:
            await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        self._flights.append(_Flight(part, self._send(part, self._shared_multipart())))
        if (failure := self._failure) is not None:
            raise failure

    @property
    def _running(self) -> list[asyncio.Task[str]]:
        return [flight.task for flight in self._flights if flight.is_running]

    async def _launch_last(self) -> None:
        last = self._cutter.take_last()
        if last.size:
            try:
                await self._launch(last)
            except errors.UploadError:
                logger.debug("a part failed before the last one")  # settling reports it

    def _shared_multipart(self) -> asyncio.Task[str]:
        if self._multipart is None:
            self._multipart = asyncio.create_task(self._ensure_multipart())
        return self._multipart

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
        chunks: Sequence[bytes] = part.chunks
        if part.tail_bytes:
            chunks = [await self._records.read_tail(self._held), *chunks]
        return await self._objects.upload_part(
            self._held.upload.key, multipart_id, part.number, chunks, part.size
        )

    async def _ensure_multipart(self) -> str:
        """Start the multipart upload unless there is one, and make it recoverable.

        Nothing else commits meanwhile: every part waits for this one, and commits wait for parts.
        """
        upload = self._held.upload
        multipart_id = upload.multipart_id
        if multipart_id is None:
            multipart_id = await self._start_multipart()
            self._recovery_stored = False  # one from a parked tail knows nothing of this
            await self._record_multipart(multipart_id)
        if not self._held.upload.recovery_stored:
            # Before any part is recorded, so that no recorded part depends on Redis alone.
            await self._objects.put_recovery(self._held.upload)
            self._recovery_stored = True
        return multipart_id

    async def _start_multipart(self) -> str:
        """Announce it first: should its id be lost, whoever comes next knows to look for it."""
        key = self._held.upload.key
        if self._held.upload.is_starting:
            await self._objects.abort_unknown(key)
        else:
            await self._commit((), (), is_starting=True)
        return await self._objects.create_multipart(key, self._attributes)

    async def _record_multipart(self, multipart_id: str) -> None:
        try:
            await self._commit((), (), multipart_id=multipart_id, is_starting=False)
        except errors.LeaseLost:
            await self._abort_unrecorded(multipart_id)
            raise

    async def _abort_unrecorded(self, multipart_id: str) -> None:
        """Unless a try of ours did record it whose answer was lost: then it is the newcomer's."""
        upload = self._held.upload
        try:
            now = await self._records.peek(upload.id)
            if now is None or now.multipart_id != multipart_id:
                await self._objects.abort_multipart(upload.key, multipart_id)
        except errors.UploadError:
            logger.warning("upload %s: an unused multipart upload stays", self._held.upload.id)

    async def _store_single(self) -> None:
        last = self._cutter.take_last()
        try:
            tail = await self._records.read_tail(self._held)
            await self._put_object([tail, *last.chunks])
        except errors.StorageUnavailable:
            await self._commit((), last.chunks, release=True)
            raise

    async def _put_object(self, chunks: Sequence[bytes]) -> None:
        length = sum(map(len, chunks))
        if length != self._declared.length:
            raise AssertionError("an object is stored whole or not at all")
        present = [chunk for chunk in chunks if chunk]
        key, attributes = self._held.upload.key, self._attributes
        try:
            await self._objects.put_object(key, present, length, attributes)
        except errors.ObjectExists as found:
            # A try of ours whose answer was lost, or of a holder that was overtaken. The commit
            # shows that nobody has overtaken us; the condition, that it is still the same object.
            await self._commit((), ())
            await self._objects.put_object(key, present, length, attributes, replacing=found.etag)
        await self._record_completion()

    # --- landing and recording ----------------------------------------------------------------

    @property
    def _failure(self) -> errors.UploadError | None:
        """The error of the first part in order that has failed so far."""
        failures = [flight.failure for flight in self._flights]
        return next((failure for failure in failures if failure is not None), None)

    async def _land_all(self) -> errors.UploadError | None:
        """Wait until nothing is in flight any more; the first failure in order.

        Also for the start of the multipart upload, which commits too: parts that were given up
        no longer wait for it, and two commits must not cross.
        """
        running = self._running
        if self._multipart is not None and not self._multipart.done():
            running.append(self._multipart)
        if running:
            await asyncio.wait(running)
        return self._failure

    def _take_landed(self) -> list[str]:
        """ETags of the parts that are stored and contiguous with the recorded ones."""
        etags: list[str] = []
        while self._flights and self._flights[0].is_landed:
            etags.append(self._flights.popleft().task.result())
        return etags

    async def _commit(
        self,
        etags: Sequence[str],
        tail: Sequence[bytes],
        *,
        multipart_id: str | None = None,
        is_starting: bool | None = None,
        state: UploadState | None = None,
        release: bool = False,
    ) -> None:
        before, declared = self._held.upload, self._declared
        changes = Changes(
            etags=etags,
            tail=tail,
            length=declared.length if before.length != declared.length else None,
            layout=declared.layout if before.layout != declared.layout else None,
            multipart_id=multipart_id,
            is_starting=is_starting,
            recovery_stored=self._changed_recovery,
            state=state,
            expires_at_s=self._expiry(),
        )
        await self._records.commit(self._held, changes, release=release)

    @property
    def _changed_recovery(self) -> bool | None:
        known = self._held.upload.recovery_stored
        return None if self._recovery_stored is known else self._recovery_stored

    async def _record_completion(self) -> None:
        await self._commit((), (), state=UploadState.COMPLETE, release=True)
        if self._held.upload.has_recovery and not self._held.upload.is_partial:
            try:
                await self._objects.delete_recovery(self._held.upload.id)
            except errors.UploadError:
                logger.warning("upload %s: its recovery object stays", self._held.upload.id)
