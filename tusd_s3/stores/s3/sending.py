"""The calls that uploads are made of: the first attempt is ours, everything after it the SDK's.

A plain success of ours is the end of it. Any other outcome is handed to the SDK as that of its own
first attempt (`handover`), so that attempts are counted, spaced and translated as if it had made
them all.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import partial
from typing import Any, Final, TypeVar

from botocore.exceptions import ClientError

from tusd_s3.deadlines import Deadlines
from tusd_s3.stores.s3.answers import Answer
from tusd_s3.stores.s3.client import ATTEMPTS_MAX, STALL_MARGIN_S, S3Clients, S3Options
from tusd_s3.stores.s3.failures import translated
from tusd_s3.stores.s3.handover import instead_of_sending, known
from tusd_s3.stores.s3.operations import Operation

logger = logging.getLogger("tusd_s3.s3")

T = TypeVar("T")

_RETRIES_COST_MAX: Final = (ATTEMPTS_MAX - 1) * 14
"""What the retries of one call can take of the SDK's quota for retries (botocore.retries.standard:
5 or 14 each)."""

_RETRY_QUOTA: Final = 500
"""All of that quota (botocore.retries.quota)."""

VAIN_ATTEMPTS_MAX: Final = 20
"""First attempts in a row that failed where the SDK then succeeded: perhaps the store's doing, but
if it is something about ours, every call would wait for its repetition."""


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
        self._deadlines = Deadlines()

    async def send(self, operation: Operation[T]) -> T:
        """What the answer says; given up when no byte moves for too long, or, where none is to
        move, after the time of all attempts. Raises errors of ours (`failures`)."""
        bound_s = self._patience_s * (1 if operation.moves_bytes else ATTEMPTS_MAX)
        async with self._sockets:
            with translated(), self._deadlines.within(bound_s) as deadline:
                return await self._send(operation, partial(deadline.postpone, bound_s))

    async def _send(self, operation: Operation[T], progressed: Callable[[], None]) -> T:
        first = await self._direct.attempt(operation.call, progressed)
        said = operation.plain(first) if isinstance(first, Answer) else None
        if said is not None:
            self._vain_attempts = 0
            if not self._owed_successes:
                return said
        progressed()
        with nullcontext() if first is None else instead_of_sending(known(first)):
            answer = await self._through_sdk(operation, progressed)
        if first is not None and _was_repeated(answer):
            self._count_vain()
        return operation.told(answer)

    def _count_vain(self) -> None:
        self._vain_attempts += 1
        if self._vain_attempts == VAIN_ATTEMPTS_MAX:
            self._vain_attempts = 0
            self._direct.rest()
            logger.warning(
                "%s first attempts in a row failed; the SDK goes alone for a while",
                VAIN_ATTEMPTS_MAX,
            )

    async def _through_sdk(
        self, operation: Operation[T], progressed: Callable[[], None]
    ) -> Mapping[str, Any]:
        call = operation.call
        try:
            answer: Mapping[str, Any] = await getattr(self._sdk, operation.method)(
                Bucket=self._bucket, Key=call.key, **call.params, **operation.body(progressed)
            )
        except BaseException as error:
            if _has_taken_quota(error):
                owed = self._owed_successes + _RETRIES_COST_MAX
                self._owed_successes = min(owed, _RETRY_QUOTA)
            raise
        self._owed_successes = max(0, self._owed_successes - 1)
        return answer


def _has_taken_quota(error: BaseException) -> bool:
    """Whether the call may have been repeated in vain."""
    if not isinstance(error, ClientError):
        return True
    return _was_repeated(error.response)


def _was_repeated(answer: Mapping[str, Any]) -> bool:
    return bool(answer.get("ResponseMetadata", {}).get("RetryAttempts"))
