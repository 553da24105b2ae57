"""Uploads whose record Redis lost, or may have lost a piece of.

The record of an upload that S3 has bytes of can be rebuilt from S3: the recovery object says what
the upload is, ListParts says what is stored. The tail is gone with Redis, so the client is taken
back to the last whole part. An upload that was still only a tail left nothing in S3: it is not
found.

A missing record may also mean that the upload never was, expired, or was terminated. Termination
and completion remove the recovery object. An expired upload's may still be there, so what S3 shows
of its last sign of life is held against the lifetime.

A Redis that restarted, or a replica that took over, may know an older state than it acknowledged.
Every record says in which run of Redis it was last known to be true; in another run it is doubtful
and held against S3 once, before anybody sees it. Whichever of the two has more is right: what S3
stores was sent, and what the record says was acknowledged.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final, TypeVar

from tusd_s3 import errors
from tusd_s3.engine.tasks import ProtectedTasks
from tusd_s3.model.upload import Upload, UploadId, UploadState
from tusd_s3.ports import Changes, Held, Objects, Recovered, UploadRecords

logger = logging.getLogger("tusd_s3.engine")

T = TypeVar("T")

LOOKUPS_MAX: Final = 16
"""Uploads looked up in S3 at once: requests for ids that never were must not crowd out the
uploads' own calls to S3."""


class RecoveringRecords:
    """`acquire` and `inspect` of the records, which rebuild what was lost."""

    def __init__(
        self, records: UploadRecords, objects: Objects, tasks: ProtectedTasks, lifetime_s: float
    ) -> None:
        self._records = records
        self._objects = objects
        self._tasks = tasks
        self._lifetime_s = lifetime_s
        self._lookups = asyncio.Semaphore(LOOKUPS_MAX)

    async def acquire(self, upload_id: UploadId) -> Held:
        """See `ports.UploadRecords.acquire`. Also raises StorageUnavailable: whether an unknown
        upload was lost cannot be told without S3."""
        return await self._verified(await self._found(self._records.acquire, upload_id))

    async def acquire_idle(self, upload_id: UploadId) -> Held:
        """As `acquire`, of an upload that has a record and that nobody holds; others are left
        alone (UploadNotFound, UploadLocked)."""
        return await self._verified(await self._records.acquire(upload_id, disturb=False))

    async def inspect(self, upload_id: UploadId) -> Upload:
        """See `ports.UploadRecords.inspect`, and `acquire`."""
        upload = await self._found(self._records.inspect, upload_id)
        if upload.is_doubtful:
            return await self._tasks.run(self._verify(upload_id))
        return upload

    async def _verify(self, upload_id: UploadId) -> Upload:
        held = await self.acquire(upload_id)
        await self._records.release(held)
        return held.upload

    async def _found(self, ask: Callable[[UploadId], Awaitable[T]], upload_id: UploadId) -> T:
        """What `ask` answers; if need be after the record was rebuilt."""
        try:
            return await ask(upload_id)
        except errors.UploadNotFound:
            await self.restore(upload_id)
        try:
            return await ask(upload_id)
        except errors.UploadNotFound as error:
            # Lost again within the moment, or terminated. A 404 would be final, so not now.
            raise errors.StateUnavailable from error

    async def restore(self, upload_id: UploadId) -> None:
        """Rebuild the record. Raises UploadNotFound when S3 knows nothing of the upload either."""
        async with self._lookups:
            recovered = await self._objects.recover(upload_id)
        now_s = time.time()
        if recovered is None or recovered.alive_until_s(self._lifetime_s) < now_s:
            raise errors.UploadNotFound
        upload = self._renewed(recovered.upload)
        logger.warning("upload %s: record rebuilt at offset %d", upload_id, upload.offset)
        await self._records.restore(upload, recovered.etags)

    async def _verified(self, held: Held) -> Held:
        """Hold a doubtful record against S3. Raises UploadNotFound when S3 dropped the upload."""
        if not held.upload.is_doubtful:
            return held
        try:
            async with self._lookups:
                recovered = await self._objects.recover(held.upload.id, held.upload)
            await self._reconcile(held, recovered)
        except BaseException:
            if not held.released:
                await self._records.release(held)
            raise
        return held

    async def _reconcile(self, held: Held, recovered: Recovered | None) -> None:
        upload = held.upload
        if recovered is None and upload.multipart_id is not None:
            logger.warning("upload %s: S3 no longer has its multipart upload", upload.id)
            await self._records.forget(held)
            raise errors.UploadNotFound
        if recovered is None or not _knows_more(recovered.upload, upload):
            lost = await self._has_lost_its_tail(upload, recovered)
            await self._records.commit(held, Changes(verified=True, unparked=lost))
            return
        found = self._renewed(recovered.upload)
        if found.length is None:  # declared after the recovery object was written
            found = replace(found, length=upload.length)
        logger.warning(
            "upload %s: record at offset %d brought to %d", upload.id, upload.offset, found.offset
        )
        await self._records.rebuild(held, found, recovered.etags)

    async def _has_lost_its_tail(self, upload: Upload, recovered: Recovered | None) -> bool:
        """Whether a tail that the record looks for in S3 is not there: it had come back to Redis,
        which has forgotten that."""
        name = upload.parked
        if name is None or (recovered is not None and recovered.upload.parked == name):
            return False
        if await self._objects.has_tail(upload.id, name, upload.tail_bytes):
            return False
        logger.warning("upload %s: Redis lost its tail", upload.id)
        return True

    def _renewed(self, upload: Upload) -> Upload:
        return replace(upload, expires_at_s=int(time.time() + self._lifetime_s))


def _knows_more(found: Upload, recorded: Upload) -> bool:
    """Whether what S3 has goes beyond the record."""
    if found.state is UploadState.COMPLETE:
        return True
    if found.multipart_id not in {None, recorded.multipart_id}:
        return found.offset >= recorded.offset
    return found.offset > recorded.offset
