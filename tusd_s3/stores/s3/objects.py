"""`ports.Objects` on S3."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tusd_s3 import errors, limits
from tusd_s3.model.chunk import Chunk
from tusd_s3.model.metadata import ObjectAttributes
from tusd_s3.model.upload import Upload, UploadId, UploadState
from tusd_s3.ports import Recovered
from tusd_s3.stores.s3 import operations
from tusd_s3.stores.s3.client import ATTEMPTS_MAX, STALL_MARGIN_S, S3Clients, S3Options
from tusd_s3.stores.s3.failures import UnknownConditionError, translated
from tusd_s3.stores.s3.recovery import (
    DOCUMENT_MAX_BYTES,
    Statement,
    StoredPart,
    contiguous_parts,
    dump_recovery,
    load_recovery,
    recovery_key,
    tail_key,
)
from tusd_s3.stores.s3.sending import Sender

if TYPE_CHECKING:
    from types_aiobotocore_s3.type_defs import HeadObjectOutputTypeDef

logger = logging.getLogger("tusd_s3.s3")

_ABORT_ATTEMPTS_MAX = 10
"""An abort races with parts in flight and must be repeated until none is listed (S3 API,
AbortMultipartUpload)."""

_ABORT_PAUSE_S = 0.2

_DOCUMENT_TYPE = "application/json"

_MD5_ETAG = re.compile(r'"?([0-9a-f]{32})"?')


class S3Objects:
    """See `ports.Objects`."""

    def __init__(self, clients: S3Clients, options: S3Options) -> None:
        self._client = clients.sdk
        self._bucket = options.bucket
        self._prefix = options.prefix
        self._timeout_s = options.timeout_s
        self._conditional = options.conditional_writes
        # Waiting for a socket must not count as a stall, so the line forms here, not in the pool.
        self._sockets = asyncio.Semaphore(options.connections_max)
        self._sender = Sender(clients, options, self._sockets)

    async def put_object(
        self,
        key: str,
        chunks: Sequence[Chunk],
        size: int,
        attributes: ObjectAttributes,
        *,
        replacing: str | None = None,
    ) -> None:
        """See `ports.Objects.put_object`."""
        params = _attributes(attributes)
        if self._conditional:
            params |= {"IfMatch": replacing} if replacing else {"IfNoneMatch": "*"}
        try:
            await self._sender.send(operations.put_object(key, chunks, size, params))
        except errors.ObjectExists:
            head = await self._head(key)
            raise errors.ObjectExists(None if head is None else head["ETag"]) from None
        except UnknownConditionError:
            logger.warning("this S3 knows no conditional writes; going on without them")
            self._conditional = False
            await self.put_object(key, chunks, size, attributes)

    async def create_multipart(self, key: str, attributes: ObjectAttributes) -> str:
        """See `ports.Objects.create_multipart`."""
        created = await self._sender.send(operations.create_multipart(key, _attributes(attributes)))
        if created.was_repeated:
            await self._abort_all_but(created.multipart_id, key)
        return created.multipart_id

    async def upload_part(
        self, key: str, multipart_id: str, number: int, chunks: Sequence[Chunk], size: int
    ) -> str:
        """See `ports.Objects.upload_part`."""
        part = operations.upload_part(key, multipart_id, number, chunks, size)
        return await self._sender.send(part)

    async def complete_multipart(
        self, key: str, multipart_id: str, etags: Sequence[str], length: int
    ) -> None:
        """See `ports.Objects.complete_multipart`."""
        try:
            await self._sender.send(operations.complete_multipart(key, multipart_id, etags))
        except errors.UploadNotFound:
            # S3 forgets the id after success as after an abort: the object itself decides.
            if not await self._is_ours(key, etags, length):
                raise

    async def abort_multipart(self, key: str, multipart_id: str) -> None:
        """See `ports.Objects.abort_multipart`."""
        for _ in range(_ABORT_ATTEMPTS_MAX):
            try:
                async with self.calling():
                    await self._client.abort_multipart_upload(
                        Bucket=self._bucket, Key=key, UploadId=multipart_id
                    )
                    listed = await self._client.list_parts(
                        Bucket=self._bucket, Key=key, UploadId=multipart_id, MaxParts=1
                    )
            except errors.UploadNotFound:
                return
            if not listed.get("Parts"):
                return
            await asyncio.sleep(_ABORT_PAUSE_S)
        raise errors.StorageUnavailable

    async def abort_unknown(self, key: str) -> None:
        """See `ports.Objects.abort_unknown`."""
        await self._abort_all_but("", key)

    async def _abort_all_but(self, known_id: str, key: str) -> None:
        pages = self._client.get_paginator("list_multipart_uploads").paginate(
            Bucket=self._bucket, Prefix=key
        )
        async with self.calling():
            unknown = [
                item["UploadId"]
                async for page in pages
                for item in page.get("Uploads", ())
                if item["Key"] == key and item["UploadId"] != known_id
            ]
        for multipart_id in unknown:
            await self.abort_multipart(key, multipart_id)

    async def delete_object(self, key: str) -> None:
        """See `ports.Objects.delete_object`."""
        await self._sender.send(operations.delete_object(key))

    async def put_recovery(self, upload: Upload, vouched: Sequence[str] | None) -> None:
        """See `ports.Objects.put_recovery`."""
        document = dump_recovery(upload, vouched)
        key, attributes = recovery_key(self._prefix, upload.id), {"ContentType": _DOCUMENT_TYPE}
        await self._sender.send(operations.put_object(key, [document], len(document), attributes))

    async def recover(self, upload_id: UploadId, known: Upload | None = None) -> Recovered | None:
        """See `ports.Objects.recover`."""
        stated = await self._read_recovery(upload_id)
        if stated is not None and (found := await self._survey(stated)) is not None:
            return found
        if known is None or known.multipart_id is None:
            return None
        if stated is not None and stated.upload.multipart_id == known.multipart_id:
            return None
        # Of a staged upload nobody vouches for any part then, but those that the record has.
        return await self._survey(Statement(known, vouched=() if known.is_staged else None))

    async def _read_recovery(self, upload_id: UploadId) -> Statement | None:
        document = await self._read(recovery_key(self._prefix, upload_id), DOCUMENT_MAX_BYTES)
        if document is None:
            return None
        try:
            return load_recovery(upload_id, document)
        except ValueError:
            logger.error("upload %s: its recovery object cannot be read", upload_id)
            return None

    async def _survey(self, stated: Statement) -> Recovered | None:
        """What is stored of an upload; None if nothing."""
        upload, tail = stated.upload, stated.tail
        listed = await self._list_parts(upload)
        if listed is None:
            return await self._recover_complete(upload)
        parts = contiguous_parts(stated, listed)
        found = replace(upload, parts=len(parts), tail_bytes=0, parked=None)
        if (
            tail is not None
            and tail.base == found.parts_bytes
            and await self.has_tail(upload.id, tail.name, tail.size)
        ):
            found = replace(found, tail_bytes=tail.size, parked=tail.name)
        elif upload.multipart_id is None:
            return await self._recover_complete(upload)
        return Recovered(
            upload=found,
            etags=[part.etag for part in parts],
            changed_at_s=max((part.modified.timestamp() for part in parts), default=0.0),
        )

    async def _recover_complete(self, upload: Upload) -> Recovered | None:
        """Its bytes are gone: completed, which the object shows, or dropped."""
        head = await self._head(upload.key)
        if head is None or upload.length not in {None, head["ContentLength"]}:
            return None
        return Recovered(
            upload=replace(
                upload,
                length=head["ContentLength"],
                state=UploadState.COMPLETE,
                tail_bytes=0,
                parked=None,
            ),
            etags=(),
            changed_at_s=head["LastModified"].timestamp(),
        )

    async def has_tail(self, upload_id: UploadId, name: str, size: int) -> bool:
        """See `ports.Objects.has_tail`."""
        head = await self._head(tail_key(self._prefix, upload_id, name))
        return head is not None and head["ContentLength"] == size

    async def _head(self, key: str) -> HeadObjectOutputTypeDef | None:
        try:
            async with self.calling():
                return await self._client.head_object(Bucket=self._bucket, Key=key)
        except errors.NoSuchObject:
            return None

    async def put_tail(
        self, upload_id: UploadId, name: str, chunks: Sequence[Chunk], size: int
    ) -> None:
        """See `ports.Objects.put_tail`."""
        await self.put_object(
            tail_key(self._prefix, upload_id, name), chunks, size, ObjectAttributes()
        )

    async def read_tail(self, upload_id: UploadId, name: str) -> bytes | None:
        """See `ports.Objects.read_tail`."""
        key = tail_key(self._prefix, upload_id, name)
        return await self._read(key, limits.PART_SIZE_MAX_BYTES)

    async def delete_tail(self, upload_id: UploadId, name: str) -> None:
        """See `ports.Objects.delete_tail`."""
        await self.delete_object(tail_key(self._prefix, upload_id, name))

    async def _read(self, key: str, most_bytes: int) -> bytes | None:
        """The object under `key`, or as much of it as may be held; None if there is none."""
        try:
            async with self.calling():
                answer = await self._client.get_object(Bucket=self._bucket, Key=key)
                content = bytearray()
                async with answer["Body"] as stream:
                    # A read gives what has come so far, not all of what was asked for.
                    while piece := await stream.read(most_bytes - len(content)):
                        content += piece
                return bytes(content)
        except errors.NoSuchObject:
            return None

    async def _list_parts(self, upload: Upload) -> list[StoredPart] | None:
        """All stored parts, in as many pages as it takes; None if S3 knows no such upload."""
        listed: list[StoredPart] = []
        if upload.multipart_id is None:
            return listed
        pages = self._client.get_paginator("list_parts").paginate(
            Bucket=self._bucket, Key=upload.key, UploadId=upload.multipart_id
        )
        try:
            async with self.calling():
                async for page in pages:
                    listed += [
                        StoredPart(
                            item["PartNumber"], item["Size"], item["ETag"], item["LastModified"]
                        )
                        for item in page.get("Parts", ())
                    ]
        except errors.UploadNotFound:
            return None
        return listed

    async def delete_recovery(self, upload_id: UploadId) -> None:
        """See `ports.Objects.delete_recovery`."""
        await self.delete_object(recovery_key(self._prefix, upload_id))

    async def _is_ours(self, key: str, etags: Sequence[str], length: int) -> bool:
        head = await self._head(key)
        if head is None or head["ContentLength"] != length:
            return False
        expected = multipart_etag(etags)
        # Stores that encrypt or that use other ETags cannot be compared beyond the length.
        comparable = expected is not None and "-" in head["ETag"]
        return not comparable or head["ETag"].strip('"') == expected

    @asynccontextmanager
    async def calling(self) -> AsyncIterator[None]:
        """A call without a body worth watching: bounded as a whole, its errors as ours."""
        bound_s = ATTEMPTS_MAX * (self._timeout_s + STALL_MARGIN_S)
        with translated():
            async with self._sockets, asyncio.timeout(bound_s):
                yield


def multipart_etag(etags: Sequence[str]) -> str | None:
    """The ETag S3 gives an object made of parts with these ETags: MD5 of their MD5s, dash, count.

    None when some are not MD5s (encrypted with KMS, or a store's own kind).
    """
    digests = [_MD5_ETAG.fullmatch(etag) for etag in etags]
    if not all(digests):
        return None
    joined = b"".join(bytes.fromhex(match[1]) for match in digests if match)
    return f"{hashlib.md5(joined, usedforsecurity=False).hexdigest()}-{len(etags)}"


def _attributes(attributes: ObjectAttributes) -> dict[str, Any]:
    given: dict[str, Any] = {
        "ContentType": attributes.content_type,
        "ContentDisposition": attributes.content_disposition,
        "Metadata": attributes.user_metadata,
    }
    return {name: value for name, value in given.items() if value}
