"""Uploads whose record Redis lost.

The record of an upload with parts can be rebuilt from S3: the recovery object says what the upload
is, ListParts says what is stored. The tail is gone with Redis, so the client is taken back to the
last whole part. An upload that was still only a tail left nothing in S3: it is not found.

A missing record may also mean that the upload never was, expired, or was terminated. Termination
and completion remove the recovery object. An expired upload's may still be there, so what S3 shows
of its last sign of life is held against the lifetime.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import replace
from typing import Final

from tusd_s3 import errors
from tusd_s3.model.upload import Upload, UploadId
from tusd_s3.ports import Held, Objects, UploadRecords

logger = logging.getLogger("tusd_s3.engine")

LOOKUPS_MAX: Final = 16
"""Recovery objects asked for at once: requests for ids that never were must not crowd out the
uploads' own calls to S3."""


class RecoveringRecords:
    """`acquire` and `inspect` of the records, which rebuild a record that was lost."""

    def __init__(self, records: UploadRecords, objects: Objects, lifetime_s: float) -> None:
        self._records = records
        self._objects = objects
        self._lifetime_s = lifetime_s
        self._lookups = asyncio.Semaphore(LOOKUPS_MAX)

    async def acquire(self, upload_id: UploadId) -> Held:
        """See `ports.UploadRecords.acquire`. Also raises StorageUnavailable: whether an unknown
        upload was lost cannot be told without S3."""
        try:
            return await self._records.acquire(upload_id)
        except errors.UploadNotFound:
            await self._restore(upload_id)
        return await self._records.acquire(upload_id)

    async def inspect(self, upload_id: UploadId) -> Upload:
        """See `ports.UploadRecords.inspect`, and `acquire`."""
        try:
            return await self._records.inspect(upload_id)
        except errors.UploadNotFound:
            await self._restore(upload_id)
        return await self._records.inspect(upload_id)

    async def _restore(self, upload_id: UploadId) -> None:
        """Rebuild the record. Raises UploadNotFound when S3 knows nothing of the upload either."""
        async with self._lookups:
            recovered = await self._objects.recover(upload_id)
        now_s = time.time()
        if recovered is None or recovered.changed_at_s + self._lifetime_s < now_s:
            raise errors.UploadNotFound
        upload = replace(recovered.upload, expires_at_s=int(now_s + self._lifetime_s))
        logger.warning("upload %s: record rebuilt at offset %d", upload_id, upload.offset)
        await self._records.restore(upload, recovered.etags)
