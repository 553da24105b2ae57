"""Puts one final upload together, under its lease.

Like a body, its parts go to S3 several at once and are recorded in order, so that whoever goes on
after a crash begins behind what was recorded. The plan is recorded with the announcement of the
multipart upload. Nothing here is lost with this process: the sources stay, and everything can be
made again from them. That is also why work may simply be dropped when somebody else wants the
upload (to terminate it), when the lease is in doubt, or when the server stops:
`AssemblyInterruptedError` tells that there is more to do.

A store that does not copy is noticed at the first copy, or by the sizes of the parts in the end.
Then all begins anew with parts of equal size, which pass through the server, a bounded number of
them at a time, whatever the length.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Self

from tusd_s3 import errors, limits
from tusd_s3.budget import MemoryBudget
from tusd_s3.engine.attributes import attributes_of
from tusd_s3.engine.multipart import Multipart
from tusd_s3.engine.options import EngineOptions
from tusd_s3.engine.recovery import RecoveringRecords
from tusd_s3.engine.sources import SourceGoneError, Sources, as_source, byte_range, kept_s
from tusd_s3.engine.tasks import ProtectedTasks
from tusd_s3.model.upload import Upload, UploadId, UploadState
from tusd_s3.planner.join import JoinedPart, JoinPlan, choose_plan
from tusd_s3.ports import Changes, Held, Objects, UploadRecords
from tusd_s3.ports_copies import Copies

logger = logging.getLogger("tusd_s3.engine")

STARTS_MAX: Final = 3
"""How often one run begins anew: once because the multipart upload was gone, once because the
store does not copy after all, and once more."""

_KEEP_ALIVE_SHARE: Final = 0.25
"""Of the time for which used partial uploads stay: another final upload of the same ones may end
in the middle of this one and shorten their lives."""


class AssemblyInterruptedError(Exception):
    """The work was dropped before its end; it can be taken up again."""


@dataclass(frozen=True, slots=True)
class Desk:
    """What all assemblies of a worker share.

    copying, streaming: how many parts may be copied, and how many held in memory, at once.
    """

    records: UploadRecords
    recovering: RecoveringRecords
    objects: Objects
    copies: Copies
    sources: Sources
    options: EngineOptions
    budget: MemoryBudget
    copying: asyncio.Semaphore
    streaming: asyncio.Semaphore

    @classmethod
    def of(
        cls,
        records: UploadRecords,
        recovering: RecoveringRecords,
        objects: Objects,
        copies: Copies,
        options: EngineOptions,
        budget: MemoryBudget,
        tasks: ProtectedTasks,
        complete: Callable[[Held], Awaitable[Upload]],
    ) -> Self:
        """With room for as much as `options` allow. tasks: of the worker. complete: makes the
        object of a held upload that has all its bytes."""
        return cls(
            records=records,
            recovering=recovering,
            objects=objects,
            copies=copies,
            sources=Sources(records, recovering, objects, copies, tasks, complete, options),
            options=options,
            budget=budget,
            copying=asyncio.Semaphore(options.copies_at_once),
            streaming=asyncio.Semaphore(options.concurrent_parts),
        )


class Assembly:
    """One run on one held final upload."""

    def __init__(self, desk: Desk, held: Held, ids: Sequence[UploadId]) -> None:
        self._desk = desk
        self._held = held
        self._ids = ids
        self._sources: list[Upload] = []
        self._stopped = asyncio.Event()
        self._plan = JoinPlan(limits.S3_PART_SIZE_MIN_BYTES)
        self._may_copy = True
        self._recorded_at_s = self._taken_at_s = 0.0
        held.listen(lambda _: self.stop(), self._secure)

    def stop(self) -> None:
        """Drop the work soon: `run` then raises AssemblyInterruptedError."""
        self._stopped.set()

    async def run(self) -> Upload:
        """Make the object; the upload, complete.

        Raises SourceGoneError, AssemblyInterruptedError, and what the sources and stores raise;
        what was stored until then is recorded, unless the lease is lost.
        """
        await self._take_sources()
        for _ in range(STARTS_MAX):
            self._plan = self._recorded_plan() or self._best_plan()
            if not self._plan.is_equal and not self._copies_parts:
                # Its parts are too long to pass through the server.
                await self._start_over()
                continue
            copied = self._copies_parts  # before this try shows whether the store can
            try:
                return await self._put_together()
            except errors.UploadNotFound:  # S3 dropped the multipart upload on its own
                await self._start_over()
            except errors.NoSuchObject as error:
                raise SourceGoneError from error
            except errors.StorageRefused as error:
                if self._plan.is_equal and not copied:
                    raise
                logger.warning("upload %s: goes on without copies: %s", self._id, error.code)
                self._may_copy = False
                await self._start_over()
        raise errors.StorageUnavailable

    @property
    def _id(self) -> UploadId:
        return self._held.upload.id

    @property
    def _copies_parts(self) -> bool:
        return self._may_copy and self._desk.copies.work

    def _secure(self, is_secure: bool) -> None:
        if not is_secure:
            self.stop()

    async def _take_sources(self) -> None:
        try:
            self._sources = await self._desk.sources.take(self._ids)
        except (errors.UnusablePartial, errors.UnfinishedPartial) as error:
            raise SourceGoneError from error  # it was there, and whole, when the upload was made
        self._taken_at_s = time.monotonic()

    def _recorded_plan(self) -> JoinPlan | None:
        """That of the parts which are stored, if there may be some."""
        upload = self._held.upload
        return JoinPlan.parse(upload.join) if upload.join and upload.multipart_id else None

    def _best_plan(self) -> JoinPlan:
        sources = [as_source(source) for source in self._sources]
        return choose_plan(sources, self._desk.options.policy, can_copy=self._copies_parts)

    async def _put_together(self) -> Upload:
        parts = self._plan.parts([as_source(source) for source in self._sources])
        is_one = len(parts) <= 1 and not any(self._is_copied(part) for part in parts)
        if is_one and self._held.upload.multipart_id is None:
            await self._put_object(parts)
        else:
            await self._send_all(parts, await self._ensure_multipart())
        return self._held.upload

    def _is_copied(self, part: JoinedPart) -> bool:
        """What lies within one object is copied. Equal parts can do without; others may be too
        long to be held in memory."""
        return part.may_copy and (self._copies_parts or not self._plan.is_equal)

    # --- one part -------------------------------------------------------------------------------

    async def _put_object(self, parts: Sequence[JoinedPart]) -> None:
        size = sum(part.size for part in parts)
        async with self._desk.streaming, self._desk.budget.loan(size):
            chunks = [chunk for part in parts for chunk in await self._read(part)]
            size, key = sum(map(len, chunks)), self._held.upload.key
            put, attributes = self._desk.objects.put_object, attributes_of(self._held.upload)
            try:
                await put(key, chunks, size, attributes)
            except errors.ObjectExists as found:
                # Of an earlier run, whose answer was lost. The commit shows that nobody has
                # overtaken us; the condition, that it is still the same object.
                await self._commit(Changes())
                await put(key, chunks, size, attributes, replacing=found.etag)
        await self._record_completion()

    async def _read(self, part: JoinedPart) -> list[bytes]:
        return [
            await self._desk.sources.read(self._sources[piece.index], piece)
            for piece in part.pieces
        ]

    # --- many parts -----------------------------------------------------------------------------

    async def _ensure_multipart(self) -> str:
        """Start the multipart upload unless there is one, and make it known to the clean-up."""
        return await Multipart(
            self._held,
            self._desk.records,
            self._desk.objects,
            self._commit,
            staging=False,
        ).ready()

    async def _send_all(self, parts: Sequence[JoinedPart], multipart_id: str) -> None:
        upload = self._held.upload
        await self._send_missing(parts[upload.parts :], multipart_id)
        if self._held.upload.parts != len(parts):
            raise AssertionError("an object is completed from all its parts or not at all")
        sizes = [part.size for part in parts]
        if any(part.may_copy for part in parts):  # also by an earlier run
            await self._desk.copies.check_parts(upload.key, multipart_id, sizes)
        etags = await self._desk.records.etags(self._held)
        await self._desk.objects.complete_multipart(upload.key, multipart_id, etags, sum(sizes))
        await self._record_completion()

    async def _send_missing(self, parts: Sequence[JoinedPart], multipart_id: str) -> None:
        """Send and record these parts. What landed in a row is recorded whatever happens."""
        flights: deque[asyncio.Task[str]] = deque()
        stop = asyncio.create_task(self._stopped.wait())
        at_once = self._desk.options.copies_at_once
        try:
            for part in parts:
                await self._until_fewer(flights, at_once, stop)
                flights.append(asyncio.create_task(self._send(part, multipart_id)))
            await self._until_fewer(flights, 1, stop)
        finally:
            for task in (*flights, stop):
                task.cancel()
            await asyncio.gather(*flights, stop, return_exceptions=True)
            if not self._held.released:
                await self._record(flights)

    async def _until_fewer(
        self, flights: deque[asyncio.Task[str]], count: int, stop: asyncio.Task[bool]
    ) -> None:
        """Wait until fewer than `count` are under way, and record what landed now and then."""
        interval_s = self._desk.options.checkpoint_interval_s
        while True:
            if self._stopped.is_set():
                raise AssemblyInterruptedError
            for task in flights:
                if task.done() and not task.cancelled() and (error := task.exception()):
                    raise error
            running = [task for task in flights if not task.done()]
            if time.monotonic() - self._recorded_at_s >= interval_s:
                await self._record(flights)
                await self._keep_sources()
            if len(running) < count:
                return
            await asyncio.wait(
                (*running, stop), timeout=interval_s, return_when=asyncio.FIRST_COMPLETED
            )

    async def _record(self, flights: deque[asyncio.Task[str]]) -> None:
        etags: list[str] = []
        while flights and _has_landed(flights[0]):
            etags.append(flights.popleft().result())
        self._recorded_at_s = time.monotonic()
        if etags:
            expires_at_s = int(time.time() + self._desk.options.lifetime_s)
            await self._commit(Changes(etags=etags, expires_at_s=expires_at_s))

    async def _keep_sources(self) -> None:
        pause_s = kept_s(self._desk.options.lifetime_s) * _KEEP_ALIVE_SHARE
        if time.monotonic() - self._taken_at_s >= pause_s:
            await self._take_sources()

    async def _send(self, part: JoinedPart, multipart_id: str) -> str:
        """Store one part; its ETag."""
        desk, key = self._desk, self._held.upload.key
        if self._is_copied(part):
            [piece] = part.pieces
            source = byte_range(self._sources[piece.index], piece)
            async with desk.copying:
                return await desk.copies.copy_part(key, multipart_id, part.number, source)
        async with desk.streaming, desk.budget.loan(part.size):
            chunks = await self._read(part)
            return await desk.objects.upload_part(key, multipart_id, part.number, chunks, part.size)

    # --- recording ------------------------------------------------------------------------------

    async def _start_over(self) -> None:
        """Forget what was stored of the final upload."""
        upload, objects = self._held.upload, self._desk.objects
        logger.warning("upload %s: begins anew, without plan %s", upload.id, self._plan.dump())
        if upload.multipart_id is not None:
            await objects.abort_multipart(upload.key, upload.multipart_id)
        if upload.has_recovery:
            await objects.delete_recovery(upload.id)
        anew = replace(upload, multipart_id=None, recovery_stored=False, parts=0, join="")
        await self._desk.records.rebuild(self._held, anew, ())

    async def _record_completion(self) -> None:
        expires_at_s = int(time.time() + self._desk.options.lifetime_s)
        changes = Changes(state=UploadState.COMPLETE, expires_at_s=expires_at_s)
        await self._desk.records.commit(self._held, changes, release=True)
        if self._held.upload.has_recovery:
            try:
                await self._desk.objects.delete_recovery(self._id)
            except errors.UploadError:
                logger.warning("upload %s: its recovery object stays", self._id)

    async def _commit(self, changes: Changes) -> None:
        """With the plan that the parts belong to, from the announcement of their multipart upload
        on."""
        plan = self._plan.dump()
        if changes.is_starting is not None and plan != self._held.upload.join:
            changes = replace(changes, join=plan)
        await self._desk.records.commit(self._held, changes)


def _has_landed(task: asyncio.Task[str]) -> bool:
    return task.done() and not task.cancelled() and task.exception() is None
