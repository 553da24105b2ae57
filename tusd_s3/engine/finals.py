"""Final uploads: made, driven on, and answered for in time (tus concatenation).

Putting a final upload together may take longer than a client or a proxy waits for an answer. So it
is work of its own, which no request carries: a POST begins it, and it goes on when the POST has
been answered. POST, HEAD and the clean-up only wait for it, each as long as it can, and begin it
again where nobody is at it any more, because a server died or something failed.

Whoever repeats a POST gets the same upload: what it says is its name (`protocol.concat`).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from typing import Final

from tusd_s3 import errors
from tusd_s3.engine.assembly import Assembly, AssemblyInterruptedError, Desk
from tusd_s3.engine.creation import new_upload
from tusd_s3.engine.intake import existing
from tusd_s3.engine.sources import SourceGoneError
from tusd_s3.engine.tasks import ProtectedTasks
from tusd_s3.model.concat import source_ids
from tusd_s3.model.upload import Upload, UploadId
from tusd_s3.ports import Changes, Held
from tusd_s3.protocol.message import CreateRequest
from tusd_s3.waiting import event_or_timeout

logger = logging.getLogger("tusd_s3.engine")

LOOK_AGAIN_S: Final = 0.25
"""While another process has an upload, to put it together or to terminate it, whoever waits for it
looks this often."""


class Finals:
    """See the module. remove: removes everything of a held upload."""

    def __init__(
        self, desk: Desk, tasks: ProtectedTasks, remove: Callable[[Held], Awaitable[None]]
    ) -> None:
        self._desk = desk
        self._records = desk.records
        self._tasks = tasks
        self._remove = remove
        self._work: dict[UploadId, asyncio.Task[Upload]] = {}
        self._assemblies: set[Assembly] = set()
        self._draining = asyncio.Event()

    async def create(self, request: CreateRequest) -> Upload:
        """Make a final upload of finished partial ones; as whole as it gets in the time that a
        client waits. A request that repeats an earlier one gets what that one made.

        Raises UnusablePartial, UnfinishedPartial, UploadTooLarge; UploadLocked, TemporaryError.
        """
        assert request.name is not None
        due_s = time.monotonic() + self._desk.options.concatenation_wait_s
        if (known := await self._records.named(request.name)) is not None:
            try:
                return await self._drive_until(known, due_s)
            except errors.UploadNotFound:
                pass  # terminated, expired, lost or refused since
        await self._length_of(request.sources)  # before anything is made: a refusal leaves nothing
        upload = new_upload(request, self._desk.options)
        # The record first, so that a name always means an upload that was there. Its length last:
        # a final upload without one has no name, perhaps, and nobody drives it on by himself,
        # since whoever repeats its POST may get another.
        held = await self._records.create_held(upload)
        try:
            known = await self._records.claim(request.name, upload, instead_of=known)
        except errors.UploadError:
            await self._forget(held)
            raise
        if known == upload.id:
            self._begin(upload.id, self._work_on(held))
        else:
            await self._forget(held)
        return await self._drive_until(known, due_s)

    async def drive(self, upload_id: UploadId, patience_s: float) -> Upload:
        """Wait for at most `patience_s` until the upload is put together, beginning that again if
        nobody is at it; the upload as it is then.

        Raises UploadNotFound: it is gone, or what it was to be made of is. UploadLocked: whether
        it can be made is not known yet. TemporaryError: it cannot be put together now.
        """
        return await self._drive_until(upload_id, time.monotonic() + patience_s)

    def begin_drain(self) -> None:
        """Drop all work soon; what was stored is recorded, and others can go on."""
        self._draining.set()
        for assembly in self._assemblies:
            assembly.stop()

    # --- create ---------------------------------------------------------------------------------

    async def _length_of(self, ids: Sequence[UploadId]) -> int:
        length, most = await self._desk.sources.length_of(ids), self._desk.options.max_upload_bytes
        if length > most:
            raise errors.UploadTooLarge(most)
        return length

    async def _note_length(self, held: Held, ids: Sequence[UploadId]) -> None:
        length = await self._length_of(ids)
        layout = self._desk.options.policy.layout_for(length)
        await self._records.commit(held, Changes(length=length, layout=layout))

    async def _forget(self, held: Held) -> None:
        """Nothing of it was stored anywhere else."""
        try:
            await self._records.forget(held)
        except errors.UploadError as error:
            logger.warning("upload %s: a refused creation stays: %s", held.upload.id, error.code)
        finally:
            await self._let_go(held)

    # --- waiting --------------------------------------------------------------------------------

    def _begin(self, upload_id: UploadId, work: Coroutine[object, object, Upload]) -> None:
        task = self._tasks.spawn(work)
        self._work[upload_id] = task
        task.add_done_callback(partial(self._ended, upload_id))

    def _ended(self, upload_id: UploadId, task: asyncio.Task[Upload]) -> None:
        # A repeated POST may have found the name, and begun to wait, before its owner began.
        if self._work.get(upload_id) is task:
            del self._work[upload_id]
        # Whoever waits gets the error; but perhaps nobody does any more.
        if not task.cancelled() and isinstance(error := task.exception(), errors.UploadError):
            logger.info("upload %s: not put together: %s", upload_id, error.code)

    async def _drive_until(self, upload_id: UploadId, due_s: float) -> Upload:
        if upload_id not in self._work:
            self._begin(upload_id, self._take_up(upload_id))
        task = self._work[upload_id]
        done, _ = await asyncio.wait({task}, timeout=max(0.0, due_s - time.monotonic()))
        if done and not isinstance(task.exception(), errors.UploadLocked):
            return task.result()
        # It goes on, here or in another process.
        upload = await self._records.peek(upload_id)
        if upload is None:
            raise errors.UploadNotFound
        if upload.length is None:
            raise errors.UploadLocked  # whether it can be made is not known yet
        return existing(upload)

    # --- working --------------------------------------------------------------------------------

    async def _take_up(self, upload_id: UploadId) -> Upload:
        return await self._work_on(await self._acquire(upload_id))

    async def _acquire(self, upload_id: UploadId) -> Held:
        """The lease, once nobody else has it: whoever has it is left alone.

        Raises UploadLocked, or StateUnavailable, when that takes longer than anybody waits.
        """
        due_s = time.monotonic() + self._desk.options.concatenation_wait_s
        while not self._draining.is_set():
            try:
                return await self._desk.recovering.acquire_idle(upload_id)
            except (errors.UploadLocked, errors.StateUnavailable):
                if time.monotonic() >= due_s:
                    raise
            await event_or_timeout(self._draining, LOOK_AGAIN_S)
        raise errors.ShuttingDown

    async def _work_on(self, held: Held) -> Upload:
        """Put the upload together, however often somebody interrupts that for a moment."""
        while True:
            try:
                return await self._assemble(held)
            except (AssemblyInterruptedError, errors.LeaseLost):
                # Whoever wanted it comes first.
                await event_or_timeout(self._draining, LOOK_AGAIN_S)
                held = await self._acquire(held.upload.id)

    async def _assemble(self, held: Held) -> Upload:
        upload = held.upload
        try:
            if not upload.awaits_assembly:
                return existing(upload)
            ids = source_ids(upload.concat)
            try:
                if upload.length is None:
                    await self._note_length(held, ids)
                whole = await self._run(Assembly(self._desk, held, ids))
            except (SourceGoneError, errors.RequestError) as error:
                logger.warning("upload %s: cannot be made of what there is", upload.id)
                await self._remove(held)
                raise errors.UploadNotFound from error
        finally:
            await self._let_go(held)
        # They go when their time is over, not while the answer is on its way.
        self._tasks.spawn(self._desk.sources.let_go(ids))
        return whole

    async def _let_go(self, held: Held) -> None:
        if not held.released:
            await self._records.release(held)

    async def _run(self, assembly: Assembly) -> Upload:
        self._assemblies.add(assembly)
        try:
            if self._draining.is_set():
                assembly.stop()
            return await assembly.run()
        finally:
            self._assemblies.discard(assembly)
