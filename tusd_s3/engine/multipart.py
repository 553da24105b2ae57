"""The multipart upload that a writer's parts go to, and the recovery object that leads to it.

Both must be there before any part is: a part in a multipart upload whose id only Redis knows would
be lost with Redis, and one whose id nobody knows would stay in S3 for ever.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence

from tusd_s3 import errors
from tusd_s3.engine.attributes import attributes_of
from tusd_s3.engine.vouching import write_recovery
from tusd_s3.ports import Changes, Held, Objects, UploadRecords

logger = logging.getLogger("tusd_s3.engine")

Commit = Callable[[Changes], Coroutine[object, object, None]]
"""Commits these and whatever else the writer has to say, without giving up the lease."""


class Multipart:
    """Of one writer.

    staging: whether the first parts may hold bytes that will not count.
    recovery_stored: whether the recovery object is in S3, and says what it should.
    """

    def __init__(
        self,
        held: Held,
        records: UploadRecords,
        objects: Objects,
        commit: Commit,
        *,
        staging: bool,
    ) -> None:
        self._held = held
        self._records = records
        self._objects = objects
        self._commit = commit
        self._staging = staging
        self._task: asyncio.Task[str] | None = None
        self.recovery_stored = held.upload.recovery_stored

    @property
    def task(self) -> asyncio.Task[str] | None:
        """What `ready` returned; None if nobody asked for the multipart upload."""
        return self._task

    @property
    def exists(self) -> bool:
        """Whether the upload has one, or is about to."""
        return self._task is not None or self._held.upload.multipart_id is not None

    def ready(self) -> asyncio.Task[str]:
        """Its id, once parts can be sent to it. All parts wait for the one task."""
        if self._task is None:
            self._task = asyncio.create_task(self._ensure())
        return self._task

    async def _ensure(self) -> str:
        """Start the multipart upload unless there is one, and make it recoverable.

        Nothing else commits meanwhile: every part waits for this one, and commits wait for parts.
        """
        multipart_id = self._held.upload.multipart_id
        if multipart_id is None:
            multipart_id = await self._start()
            self.recovery_stored = False  # one from a parked tail knows nothing of this
            await self._record(multipart_id)
        if self._staging and not self._held.upload.is_staged:
            self.recovery_stored = False
            await self._commit(Changes(is_staged=True))
        if not self.recovery_stored:
            # Before any part is recorded, so that no recorded part depends on Redis alone.
            await write_recovery(self._held, self._records, self._objects)
            self.recovery_stored = True
        return multipart_id

    async def _start(self) -> str:
        """Announce it first: should its id be lost, whoever comes next knows to look for it."""
        key = self._held.upload.key
        if self._held.upload.is_starting:
            await self._objects.abort_unknown(key)
        else:
            await self._commit(Changes(is_starting=True))
        return await self._objects.create_multipart(key, attributes_of(self._held.upload))

    async def _record(self, multipart_id: str) -> None:
        try:
            await self._commit(Changes(multipart_id=multipart_id, is_starting=False))
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

    async def vouch_for(self, etags: Sequence[str]) -> None:
        """Let parts that are about to be recorded be adopted, if that needs our word.

        First there, then in the record: should Redis forget the record the moment after, they are
        acknowledged. Where it cannot be written they are recorded all the same, and the next
        writer sees to it.
        """
        if not self._held.upload.is_staged:
            return
        try:
            await write_recovery(self._held, self._records, self._objects, etags=etags)
        except errors.StorageUnavailable:
            self.recovery_stored = False
