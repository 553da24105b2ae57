"""The four things that can be done with an upload.

Each request's writing runs in a task of its own, which nothing from outside cancels: not the
client's going away, not a middleware's timeout, not the server's impatience at shutdown. Those
make the body end; what has arrived is then recorded in good order.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import TypeVar

from tusd_s3 import errors
from tusd_s3.budget import MemoryBudget
from tusd_s3.engine import parking
from tusd_s3.engine.assembly import Desk
from tusd_s3.engine.at_once import AtOnce
from tusd_s3.engine.creation import new_upload
from tusd_s3.engine.finals import Finals
from tusd_s3.engine.intake import Intake, existing, vanished
from tusd_s3.engine.options import EngineOptions
from tusd_s3.engine.reader import BodyReader
from tusd_s3.engine.recovery import RecoveringRecords
from tusd_s3.engine.tasks import ProtectedTasks
from tusd_s3.model.upload import Upload, UploadId, UploadState
from tusd_s3.ports import BodySource, Changes, Held, Objects, ReceptionObserver, UploadRecords
from tusd_s3.ports_copies import Copies
from tusd_s3.protocol.message import AppendRequest, CreateRequest

logger = logging.getLogger("tusd_s3.engine")

T = TypeVar("T")


class Uploads:
    """Create, append, inspect, terminate. One per worker; use `drain` before it goes away.

    observer: is told of each body that is received.
    """

    def __init__(
        self,
        records: UploadRecords,
        objects: Objects,
        copies: Copies,
        options: EngineOptions,
        budget: MemoryBudget,
        observer: ReceptionObserver | None = None,
    ) -> None:
        self._records = records
        self._tasks = ProtectedTasks()
        self._recovering = RecoveringRecords(records, objects, self._tasks, options.lifetime_s)
        self._objects = objects
        self._options = options
        self._budget = budget
        self._intake = Intake(records, objects, options, budget, observer)
        self._at_once = AtOnce(records, objects)
        tasks, complete = self._tasks, self._complete_held
        desk = Desk.of(records, self._recovering, objects, copies, options, budget, tasks, complete)
        self._finals = Finals(desk, tasks, self._remove)

    async def create(self, request: CreateRequest, body: BodySource) -> Upload:
        """Make an upload, with its first bytes if the request has some (tus creation).

        An upload of no bytes is completed at once. When the body was cut short, the upload is
        there with what came. A request that repeats an earlier one (see `CreateRequest.name`) gets
        the upload that was made then, as it is now, and its body is not looked at. One that names
        sources is made of these (see `Finals.create`).
        Raises UploadTooLarge, BodyTooLong, UploadLocked, TemporaryError.
        """
        if request.sources:
            return await self._tasks.run(self._finals.create(request))
        upload = new_upload(request, self._options)
        if request.length != 0 and not request.has_body and request.name is None:
            await self._records.create(upload)
            return upload
        reader = self._intake.reader(body)
        return await self._tasks.run(self._create(upload, request, reader), reader)

    async def append(self, upload_id: UploadId, request: AppendRequest, body: BodySource) -> Upload:
        """Add a body to an upload (tus core, PATCH); the upload with its new offset.

        A request that is refused (RequestError) reads no byte and changes nothing. Otherwise the
        bytes that came are kept, whatever ended the body; errors tell what it was.
        """
        if self._tasks.draining:
            raise errors.ShuttingDown
        reader = self._intake.reader(body)
        return await self._tasks.run(self._append(upload_id, request, reader), reader)

    async def inspect(self, upload_id: UploadId) -> Upload:
        """The upload with its true offset (tus core, HEAD).

        A request that is writing it is interrupted first. An upload that has all its bytes but no
        object yet is completed. Raises UploadNotFound; UploadLocked when the truth cannot be had
        now: browsers' clients retry that one, and give the upload up on anything else.
        """
        try:
            upload = await self._recovering.inspect(upload_id)
            if upload.awaits_completion:
                upload = await self._complete_in_time(upload_id)
            elif upload.awaits_assembly:
                upload = await self._finals.drive(upload_id, self._options.completion_wait_s)
        except errors.TemporaryError as error:
            logger.warning("upload %s: HEAD has to wait: %s", upload_id, error.code)
            raise errors.UploadLocked from error
        return existing(upload)

    async def bring_back(self, upload_id: UploadId) -> None:
        """Make the record again that Redis lost of an upload which S3 still knows, unless there is
        one by now. Raises UploadNotFound, TemporaryError."""
        await self._recovering.restore(upload_id)

    async def terminate(self, upload_id: UploadId) -> None:
        """Remove an upload and everything of it (tus termination). Raises UploadNotFound."""
        await self._tasks.run(self._terminate(upload_id))

    async def complete_stuck(self, upload_id: UploadId) -> bool:
        """Complete an upload that has all its bytes but no object, unless somebody is writing it;
        whether it is complete now. Raises UploadNotFound, UploadLocked, TemporaryError."""
        upload = await self._tasks.run(self._maintain(upload_id, self._complete_held))
        return upload.state is UploadState.COMPLETE

    async def assemble_stuck(self, upload_id: UploadId) -> bool:
        """Put a final upload together that nobody is at; whether it is whole now. Work that takes
        longer goes on. Raises UploadNotFound, UploadLocked, TemporaryError."""
        upload = await self._finals.drive(upload_id, self._options.concatenation_wait_s)
        return upload.state is UploadState.COMPLETE

    async def park(self, upload_id: UploadId) -> bool:
        """Move the tail of a resting upload from Redis to S3, unless somebody is writing it;
        whether it was moved. Raises UploadNotFound, UploadLocked, TemporaryError."""
        return await self._tasks.run(self._maintain(upload_id, self._park_held))

    async def remove_if(self, upload_id: UploadId, is_due: Callable[[Upload], bool]) -> bool:
        """Remove an upload unless somebody is writing it or it is not due any more; whether it
        was removed. Raises UploadNotFound, UploadLocked, TemporaryError."""

        async def remove(held: Held) -> bool:
            if is_due(held.upload):
                await self._remove(held)
            return held.released

        return await self._tasks.run(self._maintain(upload_id, remove))

    async def abort_lost_start(self, upload_id: UploadId) -> bool:
        """Abort the multipart upload of a start whose outcome was lost, unless somebody is writing
        the upload; whether there was such a start.
        Raises UploadNotFound, UploadLocked, TemporaryError."""
        return await self._tasks.run(self._maintain(upload_id, self._abort_start_held))

    def begin_drain(self) -> None:
        """End all bodies that are being read; what came is recorded. Takes no new ones."""
        self._tasks.begin_drain()
        self._finals.begin_drain()

    async def drain(self) -> None:
        """`begin_drain`, and wait until everything is recorded."""
        self.begin_drain()
        await self._tasks.drain()

    # --- create -------------------------------------------------------------------------------

    async def _create(self, upload: Upload, request: CreateRequest, reader: BodyReader) -> Upload:
        if self._at_once.takes(request):
            made = await self._at_once.create(upload, reader)
            if made is not None:
                return _never_whole(made)
        return await self._create_held(upload, request, reader)

    async def _create_held(
        self, upload: Upload, request: CreateRequest, reader: BodyReader
    ) -> Upload:
        held, name = await self._records.create_held(upload), request.name
        try:
            if name is not None and (earlier := await self._made_earlier(name, upload)) is not None:
                await self._records.forget(held)
                return earlier
            return await self._intake.receive(held, upload, reader, request)
        except errors.RequestError:
            await self._remove_refused(held)
            raise
        except (errors.UploadInterrupted, errors.UploadLocked, errors.TemporaryError):
            # The client would never learn the address of what it has stored: tell it that, and
            # how far it got. Only with nothing stored is the error the better answer.
            if held.upload.offset == 0:
                await self._remove_refused(held)
                raise
            return _never_whole(held.upload)
        finally:
            await self._let_go(held)

    async def _made_earlier(self, name: str, upload: Upload) -> Upload | None:
        """The upload that a creation of this name has made; None if it is `upload` from now on.

        The record comes first, the name second: a name always means an upload that was there.
        """
        known = await self._records.claim(name, upload)
        if known == upload.id:
            return None
        try:
            return await self.inspect(known)
        except errors.UploadNotFound:  # terminated, expired or lost since
            known = await self._records.claim(name, upload, instead_of=known)
        return None if known == upload.id else await self.inspect(known)

    # --- append -------------------------------------------------------------------------------

    async def _append(
        self, upload_id: UploadId, request: AppendRequest, reader: BodyReader
    ) -> Upload:
        held = await self._recovering.acquire(upload_id)
        try:
            declared = self._intake.admit(held.upload, request)
            if declared.parked is not None:
                await parking.unpark(held, self._records, self._objects, self._budget)
                declared = self._intake.admit(held.upload, request)
            return await self._intake.receive(held, declared, reader, request)
        finally:
            await self._let_go(held)

    # --- complete, terminate ------------------------------------------------------------------

    async def _complete_in_time(self, upload_id: UploadId) -> Upload:
        """Drive a completion on; it goes on in the background when it takes too long."""
        task = self._tasks.spawn(self._complete(upload_id))
        done, _ = await asyncio.wait({task}, timeout=self._options.completion_wait_s)
        if not done:
            raise errors.UploadLocked
        return task.result()

    async def _complete(self, upload_id: UploadId) -> Upload:
        held = await self._recovering.acquire(upload_id)
        try:
            return await self._complete_held(held)
        finally:
            await self._let_go(held)

    async def _complete_held(self, held: Held) -> Upload:
        try:
            if held.upload.awaits_completion:
                await parking.unpark(held, self._records, self._objects, self._budget)
            if held.upload.awaits_completion:
                await self._intake.writer(held, held.upload).complete()
        except errors.UploadNotFound:
            await vanished(held, self._records, self._objects)
            raise
        return held.upload

    async def _maintain(
        self, upload_id: UploadId, work: Callable[[Held], Coroutine[object, object, T]]
    ) -> T:
        """`work` on an upload that nobody holds."""
        held = await self._recovering.acquire_idle(upload_id)
        try:
            return await work(held)
        finally:
            await self._let_go(held)

    async def _park_held(self, held: Held) -> bool:
        if not parking.can_be_parked(held.upload):
            return False
        await parking.park(held, self._records, self._objects, self._budget)
        return True

    async def _abort_start_held(self, held: Held) -> bool:
        if not held.upload.is_starting:
            return False
        await self._objects.abort_unknown(held.upload.key)
        await self._records.commit(held, Changes(is_starting=False), release=True)
        return True

    async def _terminate(self, upload_id: UploadId) -> None:
        held = await self._recovering.acquire(upload_id)
        try:
            await self._remove(held)
        finally:
            await self._let_go(held)

    async def _remove(self, held: Held) -> None:
        """Remove everything of an upload. May be repeated after it failed half-way."""
        upload = held.upload
        if upload.state is not UploadState.TERMINATING:
            # First of all: an upload that is half removed must not look alive.
            await self._records.commit(held, Changes(state=UploadState.TERMINATING))
        if upload.multipart_id is not None:
            await self._objects.abort_multipart(upload.key, upload.multipart_id)
        if upload.is_starting:
            await self._objects.abort_unknown(upload.key)
        if upload.parked is not None:
            await self._objects.delete_tail(upload.id, upload.parked)
        # Even of an unfinished upload: a crash may have left an object nobody recorded.
        await self._objects.delete_object(upload.key)
        if upload.has_recovery:  # after what it speaks of, so that the clean-up finds that again
            await self._objects.delete_recovery(upload.id)
        await self._records.forget(held)

    async def _remove_refused(self, held: Held) -> None:
        """Remove an upload whose creation is answered with an error, which stays the answer."""
        try:
            await self._remove(held)
        except errors.UploadError as error:
            logger.warning("upload %s: a refused creation stays: %s", held.upload.id, error.code)

    # --- keeping order ------------------------------------------------------------------------

    async def _let_go(self, held: Held) -> None:
        if not held.released:
            await self._records.release(held)


def _never_whole(upload: Upload) -> Upload:
    """`upload` as a client may see it while its object does not exist: short of its last bytes, so
    that the client does not take it for complete but asks for the offset."""
    if not upload.awaits_completion:
        return upload
    if upload.tail_bytes:
        return replace(upload, tail_bytes=0)
    return replace(upload, parts=upload.parts - 1)
