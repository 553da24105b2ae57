"""Small uploads that come whole in their creation (tus creation-with-upload): object, then record.

Until its POST is answered nobody knows an upload's id, so nobody can want it meanwhile: it needs no
lease, and no record that says how far it got. Its object is stored first and its record second,
complete from the start: one call to S3, one to Redis. The answer comes third.

A process that dies between the two leaves an object that no record knows, as one does that dies
between any object and the record of its completion.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Final

from tusd_s3 import errors
from tusd_s3.budget import READ_MAX_BYTES
from tusd_s3.engine.attributes import attributes_of
from tusd_s3.engine.reader import BodyReader, Item
from tusd_s3.model.chunk import Chunk
from tusd_s3.model.upload import Upload, UploadState
from tusd_s3.ports import BodyEnd, Changes, Objects, UploadRecords
from tusd_s3.protocol.message import CreateRequest

logger = logging.getLogger("tusd_s3.engine")

AT_ONCE_MAX_BYTES: Final = READ_MAX_BYTES
"""A body that may come with one read of its connection; far below a part. A longer one takes its
time, and saves less by comparison."""

READS_MAX: Final = 16
"""A body that comes in more pieces is slow, and held in pieces it would take far more memory than
it is charged for; the cutter joins small ones."""


class AtOnce:
    """See the module."""

    def __init__(self, records: UploadRecords, objects: Objects) -> None:
        self._records = records
        self._objects = objects

    def takes(self, request: CreateRequest) -> bool:
        """Whether what `request` makes can be made so.

        A creation with a name has to find out first whether it made something before, bytes with
        a checksum are looked at before anything is stored, and a partial upload this short is no
        object.
        """
        is_small = request.length is not None and request.length <= AT_ONCE_MAX_BYTES
        is_plain = request.name is None and request.verification is None and not request.concat
        return is_small and is_plain and request.body_length == request.length

    async def create(self, upload: Upload, reader: BodyReader) -> Upload | None:
        """The upload, complete. None if its body did not come whole: `reader` then gives it again.

        While S3 takes nothing, the bytes are kept in Redis: the upload is there with all of them,
        and its object is still to be made. Raises TemporaryError; nothing was made then that
        anybody could ask for.
        """
        chunks = await _whole(reader, upload)
        if chunks is None:
            return None
        try:
            await self._store(upload, chunks)
        except errors.StorageUnavailable as error:
            if not chunks:
                raise
            logger.warning("upload %s: its bytes stay in Redis: %s", upload.id, error.code)
            return await self._keep(upload, chunks)
        complete = replace(upload, state=UploadState.COMPLETE)
        try:
            await self._records.create(complete)
        except errors.UploadError:
            await self._take_back(upload)
            raise
        return complete

    async def _store(self, upload: Upload, chunks: list[Chunk]) -> None:
        size, attributes = sum(map(len, chunks)), attributes_of(upload)
        try:
            await self._objects.put_object(upload.key, chunks, size, attributes)
        except errors.ObjectExists as found:
            # A try of ours whose answer was lost: nobody else has this id.
            await self._objects.put_object(
                upload.key, chunks, size, attributes, replacing=found.etag
            )

    async def _keep(self, upload: Upload, chunks: list[Chunk]) -> Upload:
        held = await self._records.create_held(upload)
        try:
            await self._records.commit(held, Changes(tail=chunks), release=True)
        finally:
            if not held.released:
                await self._records.release(held)
        return held.upload

    async def _take_back(self, upload: Upload) -> None:
        """Remove the object of a creation that is answered with an error. Its record may be there:
        nobody ever learns of it, and it expires."""
        try:
            await self._objects.delete_object(upload.key)
        except errors.UploadError as error:
            logger.warning("upload %s: a refused creation stays: %s", upload.id, error.code)


async def _whole(reader: BodyReader, upload: Upload) -> list[Chunk] | None:
    """All bytes of the upload; None, and everything unread, if anything else came."""
    items: list[Item] = []
    chunks: list[Chunk] = []
    size = 0
    with reader:
        while size <= AT_ONCE_MAX_BYTES and len(items) < READS_MAX:
            items.append(item := await reader.read())
            if not isinstance(item, bytes | memoryview):
                break
            chunks.append(item)
            size += len(item)
    if items[-1] is BodyEnd.COMPLETE and size == upload.length:
        return chunks
    reader.unread(items)
    return None
