"""PutObject and UploadPart: the first attempt is ours, everything after it the SDK's.

A plain success of ours is the end of it. Any other outcome is handed to the SDK as that of its own
first attempt (`handover`), so that attempts are counted, spaced and translated as if it had made
them all.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, Final

from botocore.exceptions import ClientError

from tusd_s3 import errors
from tusd_s3.model.chunk import Chunk
from tusd_s3.stores.s3.body import ChunkedBody
from tusd_s3.stores.s3.client import ATTEMPTS_MAX, STALL_MARGIN_S, S3Clients, S3Options
from tusd_s3.stores.s3.direct import stored_etag
from tusd_s3.stores.s3.failures import translated
from tusd_s3.stores.s3.handover import instead_of_sending, known
from tusd_s3.stores.s3.puts import Put

logger = logging.getLogger("tusd_s3.s3")

_RETRIES_COST_MAX: Final = (ATTEMPTS_MAX - 1) * 14
"""What the retries of one call can take of the SDK's quota for retries (botocore.retries.standard:
5 or 14 each)."""

_RETRY_QUOTA: Final = 500
"""All of that quota (botocore.retries.quota)."""

VAIN_ATTEMPTS_MAX: Final = 20
"""First attempts in a row that failed where the SDK then succeeded: perhaps the store's doing, but
if it is something about ours, every call would wait for its repetition."""

_Call = Callable[..., Awaitable[Mapping[str, Any]]]


class Sender:
    """Sends to one bucket. sockets: bounds how many calls are under way."""

    def __init__(self, clients: S3Clients, options: S3Options, sockets: asyncio.Semaphore) -> None:
        self._sdk = clients.sdk
        self._direct = clients.direct
        self._bucket = options.bucket
        self._patience_s = options.timeout_s + STALL_MARGIN_S
        self._sockets = sockets
        # A retry takes from a quota of the SDK's, and a success gives back to it. So after calls
        # that failed for good, the SDK must be told of as many successes as they have taken.
        self._owed_successes = 0
        self._vain_attempts = 0

    async def put_object(
        self, key: str, chunks: Sequence[Chunk], size: int, params: Mapping[str, Any]
    ) -> None:
        """Store `size` bytes, the sum of `chunks`, as an object. params: the SDK's, beside key and
        body. Raises errors of ours (`failures`)."""
        await self._send(self._sdk.put_object, Put(key, params, chunks, size))

    async def upload_part(
        self, key: str, multipart_id: str, number: int, chunks: Sequence[Chunk], size: int
    ) -> str:
        """Store a part; its ETag. Raises errors of ours (`failures`)."""
        params = {"UploadId": multipart_id, "PartNumber": number}
        return await self._send(self._sdk.upload_part, Put(key, params, chunks, size))

    async def _send(self, call: _Call, put: Put) -> str:
        """The ETag of what was stored; given up when no byte moves for too long."""
        loop = asyncio.get_running_loop()
        async with self._sockets, translated(), asyncio.timeout(self._patience_s) as watchdog:

            def progressed() -> None:
                if not watchdog.expired():
                    watchdog.reschedule(loop.time() + self._patience_s)

            first = await self._direct.attempt(put, progressed)
            etag = stored_etag(first)
            if etag is not None:
                self._vain_attempts = 0
                if not self._owed_successes:
                    return etag
            progressed()
            with nullcontext() if first is None else instead_of_sending(known(first)):
                stored = await self._through_sdk(call, put, ChunkedBody(put.chunks, progressed))
            if first is not None and etag is None:
                self._count_vain()
            return stored

    def _count_vain(self) -> None:
        self._vain_attempts += 1
        if self._vain_attempts == VAIN_ATTEMPTS_MAX:
            self._vain_attempts = 0
            self._direct.rest()
            logger.warning(
                "%s first attempts in a row failed; the SDK goes alone for a while",
                VAIN_ATTEMPTS_MAX,
            )

    async def _through_sdk(self, call: _Call, put: Put, body: ChunkedBody) -> str:
        try:
            answer = await call(
                Bucket=self._bucket,
                Key=put.key,
                # An empty async body would go out chunked, which S3 refuses.
                Body=body if put.size else b"",
                ContentLength=put.size,
                **put.params,
            )
        except BaseException as error:
            if _has_taken_quota(error):
                owed = self._owed_successes + _RETRIES_COST_MAX
                self._owed_successes = min(owed, _RETRY_QUOTA)
            raise
        self._owed_successes = max(0, self._owed_successes - 1)
        etag: str | None = answer.get("ETag")
        if not etag:
            raise errors.StorageUnavailable  # whatever this was, it is no proof
        return etag


def _has_taken_quota(error: BaseException) -> bool:
    """Whether the call may have been repeated in vain."""
    if not isinstance(error, ClientError):
        return True
    return bool(error.response.get("ResponseMetadata", {}).get("RetryAttempts"))
