"""What the clean-up needs of S3: `ports_cleanup.Leftovers`. Lists only; `S3Objects` removes."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from tusd_s3 import limits
from tusd_s3.model.upload import UploadId
from tusd_s3.ports_cleanup import ListedMultipart, StoredLeftover
from tusd_s3.stores.s3.client import ATTEMPTS_MAX, S3Options
from tusd_s3.stores.s3.failures import translated
from tusd_s3.stores.s3.recovery import DIRECTORY

if TYPE_CHECKING:
    from types_aiobotocore_s3.client import S3Client

PAGE_MAX: Final = 1000
"""Entries of a page: the most S3 gives (ListObjectsV2, ListMultipartUploads)."""

PAGES_MAX: Final = 10_000
"""Pages of one listing: ten million entries. A store whose markers lead in circles must not keep
the clean-up for ever."""

_PAUSES_S: Final = 10.0
"""What a call may take beyond its attempts' timeouts: connecting, and the pauses between them."""

_NAME = re.compile(rf"([A-Za-z0-9_-]{{{limits.UPLOAD_ID_CHARS}}})\.(?:json|([A-Za-z0-9_-]+)\.tail)")


class S3Leftovers:
    """See `ports_cleanup.Leftovers`."""

    def __init__(self, client: S3Client, options: S3Options) -> None:
        self._client = client
        self._bucket = options.bucket
        self._prefix = options.prefix
        self._call_max_s = ATTEMPTS_MAX * options.timeout_s + _PAUSES_S

    async def stored(self) -> AsyncIterator[Sequence[StoredLeftover]]:
        """See `Leftovers.stored`."""
        folder = f"{self._prefix}{DIRECTORY}"
        after: dict[str, Any] = {}
        for _ in range(PAGES_MAX):
            async with self._call():
                page = await self._client.list_objects_v2(
                    Bucket=self._bucket, Prefix=folder, MaxKeys=PAGE_MAX, **after
                )
            yield [
                StoredLeftover(
                    upload_id=UploadId(name[1]),
                    tail=name[2],
                    size_bytes=item["Size"],
                    modified_at_s=item["LastModified"].timestamp(),
                )
                for item in page.get("Contents", ())
                if (name := _NAME.fullmatch(item["Key"].removeprefix(folder)))
            ]
            if not page.get("IsTruncated") or not page.get("NextContinuationToken"):
                return
            after = {"ContinuationToken": page["NextContinuationToken"]}

    async def multiparts(self) -> AsyncIterator[Sequence[ListedMultipart]]:
        """See `Leftovers.multiparts`."""
        after: dict[str, Any] = {}
        for _ in range(PAGES_MAX):
            async with self._call():
                page = await self._client.list_multipart_uploads(
                    Bucket=self._bucket, Prefix=self._prefix, MaxUploads=PAGE_MAX, **after
                )
            yield [
                ListedMultipart(
                    key=item["Key"],
                    multipart_id=item["UploadId"],
                    started_at_s=item["Initiated"].timestamp(),
                )
                for item in page.get("Uploads", ())
                # Not every store dates them; what has no age is never old enough.
                if item.get("Initiated") and item["Key"].startswith(self._prefix)
            ]
            if not page.get("IsTruncated") or not page.get("NextKeyMarker"):
                return
            after = {
                "KeyMarker": page["NextKeyMarker"],
                "UploadIdMarker": page.get("NextUploadIdMarker", ""),
            }

    @asynccontextmanager
    async def _call(self) -> AsyncIterator[None]:
        with translated():
            async with asyncio.timeout(self._call_max_s):
                yield
