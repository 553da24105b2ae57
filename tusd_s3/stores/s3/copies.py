"""`ports_copies.Copies` on S3.

Stores differ in what they make of UploadPartCopy: some refuse it, some take it for an UploadPart
without a body and answer without an ETag, one (rclone) answers with success and stores an empty
part. Whoever calls checks the sizes in the end, and does without copies from then on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any

from tusd_s3 import errors
from tusd_s3.ports_copies import ByteRange
from tusd_s3.stores.s3.client import S3Options
from tusd_s3.stores.s3.failures import UnknownConditionError

if TYPE_CHECKING:
    from types_aiobotocore_s3.client import S3Client

logger = logging.getLogger("tusd_s3.s3")

Calling = Callable[[], AbstractAsyncContextManager[None]]
"""What bounds a call, queues it for a socket, and translates its errors."""


class S3Copies:
    """See `ports_copies.Copies`. calling: of the `S3Objects` over the same client."""

    def __init__(self, client: S3Client, options: S3Options, calling: Calling) -> None:
        self._client = client
        self._bucket = options.bucket
        self._calling = calling
        self._work = True

    @property
    def work(self) -> bool:
        """See `Copies.work`."""
        return self._work

    async def copy_part(self, key: str, multipart_id: str, number: int, source: ByteRange) -> str:
        """See `Copies.copy_part`."""
        # Of an object of 5 MiB or less, Amazon copies the whole only.
        part: Any = {} if source.is_all else {"CopySourceRange": str(source)}
        try:
            async with self._calling():
                answer = await self._client.upload_part_copy(
                    Bucket=self._bucket,
                    Key=key,
                    UploadId=multipart_id,
                    PartNumber=number,
                    CopySource={"Bucket": self._bucket, "Key": source.key},
                    **part,
                )
        except UnknownConditionError:
            self._remember("it answers 501")
            raise
        etag = answer.get("CopyPartResult", {}).get("ETag")
        if not etag:
            self._remember("it answers without an ETag")
            raise errors.StorageRefused
        return etag

    async def read_range(self, source: ByteRange) -> bytes:
        """See `Copies.read_range`."""
        if not source.size:
            return b""
        async with self._calling():
            answer = await self._client.get_object(
                Bucket=self._bucket, Key=source.key, Range=str(source)
            )
            async with answer["Body"] as stream:
                # A store that does not know ranges answers with the whole object.
                wanted = f"bytes {source.start}-{source.start + source.size - 1}/"
                if not (source.is_all or answer.get("ContentRange", "").startswith(wanted)):
                    logger.error("S3 does not answer with the range that was asked for")
                    raise errors.StorageRefused
                content = bytearray()
                while piece := await stream.read(source.size - len(content)):
                    content += piece
        if len(content) != source.size:
            raise errors.StorageUnavailable
        return bytes(content)

    async def check_parts(self, key: str, multipart_id: str, sizes: Sequence[int]) -> None:
        """See `Copies.check_parts`."""
        pages = self._client.get_paginator("list_parts").paginate(
            Bucket=self._bucket, Key=key, UploadId=multipart_id
        )
        # A part that was sent twice may be listed twice.
        stored: dict[int, set[int]] = {}
        async with self._calling():
            async for page in pages:
                for item in page.get("Parts", ()):
                    stored.setdefault(item["PartNumber"], set()).add(item["Size"])
        for number, size in enumerate(sizes, start=1):
            if size not in stored.get(number, ()):
                self._remember("its copies do not have the size of what was copied")
                raise errors.StorageRefused

    def _remember(self, reason: str) -> None:
        if self._work:
            logger.warning("this S3 does not copy parts (%s); going on without copies", reason)
        self._work = False
