"""`ports_downloads.ObjectReads` on S3.

As with `sending`, the first attempt at a GetObject is ours and everything after it the SDK's: an
answer that is not plainly an object, or plainly none, is handed to the SDK as that of its own first
attempt.

Stores differ in what they make of `Range`. Most answer 206. rclone sends the range and says 200;
others know no ranges and send the whole, of which the beginning is then thrown away.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Protocol, Self

from botocore.exceptions import ClientError

from tusd_s3 import errors, limits
from tusd_s3.ports_downloads import BehindTheEnd, NotModified, ObjectChanged, ObjectInfo
from tusd_s3.protocol.conditions import Validators, parse_http_date, strong_tag
from tusd_s3.protocol.ranges import RangeSpec, Span, parse_content_range
from tusd_s3.stores.s3.answers import ExchangeError, Head
from tusd_s3.stores.s3.client import ATTEMPTS_MAX, STALL_MARGIN_S, S3Clients, S3Options
from tusd_s3.stores.s3.failures import translated
from tusd_s3.stores.s3.handover import instead_of_sending, known
from tusd_s3.stores.s3.opening import Opener, Stream

logger = logging.getLogger("tusd_s3.s3")

SKIP_MAX_BYTES: Final = 64 * limits.MIB
"""What is read and thrown away to come to a range of a store that knows none: about a second. Who
asks for something farther behind gets the whole, which is a sound answer too."""

_SKIP_ROOM_BYTES: Final = 64 * limits.KIB

_SDK_BUFFERS_BYTES: Final = 384 * limits.KIB
"""What the SDK's HTTP client may read ahead of one body: two of its low-water marks and a read."""


class _Source(Protocol):
    """Where bytes come from. May raise any error of the network."""

    async def read_into(self, room: memoryview) -> int: ...
    def close(self) -> None: ...


class S3Body:
    """See `ports_downloads.ObjectBody`."""

    def __init__(self, source: _Source, info: ObjectInfo, span: Span, own_bytes: int) -> None:
        self._source = source
        self.info = info
        self.span = span
        self.own_bytes = own_bytes

    async def read_into(self, room: memoryview) -> int:
        """See `ObjectBody.read_into`."""
        try:
            size = await self._source.read_into(room)
        except (ExchangeError, OSError, TimeoutError) as error:
            logger.warning("S3 broke off in the middle of an object: %s", type(error).__name__)
            raise errors.StorageUnavailable from error
        if not size:
            logger.warning("S3 ended an object too early")
            raise errors.StorageUnavailable
        return size

    def close(self) -> None:
        """See `ObjectBody.close`."""
        self._source.close()


class S3Reads:
    """See `ports_downloads.ObjectReads`. clients: with connections of their own, so that slow
    readers take none from uploads. public: of the address at which others reach the store."""

    def __init__(self, clients: S3Clients, options: S3Options, *, public: S3Clients) -> None:
        self._client = clients.sdk
        self._public = public.sdk
        self._opener = Opener(clients.direct, options)
        self._bucket = options.bucket
        self._timeout_s = options.timeout_s
        self._bound_s = ATTEMPTS_MAX * (options.timeout_s + STALL_MARGIN_S)

    async def close(self) -> None:
        """Close what is kept for later."""
        await self._opener.close()

    async def open(
        self,
        key: str,
        wanted: RangeSpec | None,
        *,
        if_match: str | None = None,
        if_none_match: str | None = None,
    ) -> S3Body:
        """See `ObjectReads.open`."""
        asked = {
            "Range": None if wanted is None else str(wanted),
            "IfMatch": if_match,
            "IfNoneMatch": if_none_match,
        }
        params = {name: value for name, value in asked.items() if value is not None}
        first = await self._opener.open(key, params)
        if isinstance(first, Stream):
            return await _come_to(first, _Said.by_headers(first.head), wanted, first.own_bytes)
        with nullcontext() if first is None else instead_of_sending(known(first)):
            answer = await self._call(
                self._client.get_object, Bucket=self._bucket, Key=key, **params
            )
        source = _SdkSource(answer["Body"], self._timeout_s)
        return await _come_to(source, _Said.by_sdk(answer), wanted, _SDK_BUFFERS_BYTES)

    async def look(self, key: str) -> ObjectInfo:
        """See `ObjectReads.look`."""
        head = await self._call(self._client.head_object, Bucket=self._bucket, Key=key)
        return _Said.by_sdk(head).info(head["ContentLength"])

    async def keys_of(self, beginning: str, most: int) -> Sequence[str]:
        """See `ObjectReads.keys_of`."""
        listed = await self._call(
            self._client.list_objects_v2, Bucket=self._bucket, Prefix=beginning, MaxKeys=most
        )
        return [item["Key"] for item in listed.get("Contents", ())]

    async def link(self, key: str, *, life_s: int, content_type: str, disposition: str) -> str:
        """See `ObjectReads.link`."""
        with translated():
            return await self._public.generate_presigned_url(
                "get_object",
                Params={
                    "Bucket": self._bucket,
                    "Key": key,
                    "ResponseContentType": content_type,
                    "ResponseContentDisposition": disposition,
                },
                ExpiresIn=life_s,
            )

    async def _call(self, call: Callable[..., Awaitable[Any]], **params: Any) -> Any:  # noqa: ANN401
        """A call of the SDK's, bounded as a whole, its errors as ours."""
        with translated():
            try:
                async with asyncio.timeout(self._bound_s):
                    return await call(**params)
            except ClientError as error:
                if (ours := _about_the_object(error)) is not None:
                    raise ours from error
                raise


class _SdkSource:
    """A body as the SDK hands it out."""

    def __init__(self, body: Any, timeout_s: float) -> None:  # noqa: ANN401 - aiohttp's, wrapped
        self._body = body
        self._timeout_s = timeout_s

    async def read_into(self, room: memoryview) -> int:
        # The SDK's own timeout goes on while nobody reads; this one does not.
        with translated():
            async with asyncio.timeout(self._timeout_s):
                piece: bytes = await self._body.read(len(room))
        room[: len(piece)] = piece
        return len(piece)

    def close(self) -> None:
        self._body.close()


@dataclass(frozen=True, slots=True)
class _Said:
    """What an answer says. size: of its body. content_range: None if it does not say."""

    size: int
    content_range: str | None
    etag: str
    modified_at_s: int | None
    content_type: str | None
    content_disposition: str | None

    @classmethod
    def by_headers(cls, head: Head) -> Self:
        """Of an answer of ours, which has a size."""
        return cls(
            size=head.size or 0,
            content_range=head.headers.get("content-range"),
            etag=head.headers.get("etag", ""),
            modified_at_s=parse_http_date(head.headers.get("last-modified", "")),
            content_type=head.headers.get("content-type"),
            content_disposition=head.headers.get("content-disposition"),
        )

    @classmethod
    def by_sdk(cls, answer: Mapping[str, Any]) -> Self:
        """Of an answer as the SDK parses it."""
        modified: datetime | None = answer.get("LastModified")
        return cls(
            size=answer["ContentLength"],
            content_range=answer.get("ContentRange"),
            etag=answer.get("ETag", ""),
            modified_at_s=None if modified is None else int(modified.timestamp()),
            content_type=answer.get("ContentType"),
            content_disposition=answer.get("ContentDisposition"),
        )

    def info(self, length: int) -> ObjectInfo:
        """Of the object."""
        validators = Validators(etag=strong_tag(self.etag), modified_at_s=self.modified_at_s)
        return ObjectInfo(
            length=length,
            validators=validators,
            content_type=self.content_type,
            content_disposition=self.content_disposition,
        )

    def span(self) -> Span:
        """Which bytes come, whatever the status. Raises StorageRefused."""
        if self.content_range is None:
            return Span(0, self.size, self.size)
        span = parse_content_range(self.content_range)
        if span is None or span.size != self.size:
            logger.error("S3 does not say which bytes it sends")
            raise errors.StorageRefused
        return span


async def _come_to(source: _Source, said: _Said, wanted: RangeSpec | None, own: int) -> S3Body:
    """What of `source` is wanted. It is closed if that fails."""
    try:
        coming = said.span()
        span = coming if wanted is None else wanted.of(coming.length)
        if span is None:
            raise BehindTheEnd
        if not coming.start <= span.start <= span.stop <= coming.stop:
            logger.error("S3 sends other bytes than it was asked for")
            raise errors.StorageRefused
        beginning = span.start - coming.start
        if beginning > SKIP_MAX_BYTES:
            span, beginning = coming, 0
        body = S3Body(source, said.info(coming.length), span, own)
        await _skip(body, beginning)
    except BaseException:
        source.close()
        raise
    return body


async def _skip(body: S3Body, size: int) -> None:
    room = memoryview(bytearray(min(size, _SKIP_ROOM_BYTES)))
    while size:
        size -= await body.read_into(room[:size])


def _about_the_object(error: ClientError) -> errors.UploadError | None:
    """A refusal that says something of the object and nothing of the store."""
    metadata: Mapping[str, Any] = error.response.get("ResponseMetadata", {})
    headers: Mapping[str, str] = metadata.get("HTTPHeaders", {})
    status = metadata.get("HTTPStatusCode")
    if status == 304:
        validators = Validators(
            etag=strong_tag(headers.get("etag", "")),
            modified_at_s=parse_http_date(headers.get("last-modified", "")),
        )
        return NotModified(validators)
    if status == 412:
        return ObjectChanged()
    return BehindTheEnd() if status == 416 else None
