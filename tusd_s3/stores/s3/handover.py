"""What went before is told to the SDK: the outcome of a request that it did not send itself.

The SDK emits `before-send` for every request it is about to send, and takes what a handler gives
back for the answer (botocore, "Events"; its own test doubles work like this). So an answer that we
have already becomes the outcome of the SDK's first attempt, and all that follows from it is the
SDK's: whether to repeat it, when, how often in all, where to, and which error it is in the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from aiobotocore.awsrequest import AioAWSResponse
from botocore.exceptions import HTTPClientError

from tusd_s3.stores.s3.answers import Answer

if TYPE_CHECKING:
    from botocore.awsrequest import AWSPreparedRequest
    from types_aiobotocore_s3.client import S3Client

Sending = Callable[["AWSPreparedRequest"], Answer]
"""Stands in for sending a request: gives the answer, or raises why there is none."""

_HOT_OPERATIONS = (
    *("PutObject", "CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"),
    *("DeleteObject", "GetObject"),
)

_stand_ins: ContextVar[list[Sending] | None] = ContextVar("stand_ins", default=None)


def allow_handover(client: S3Client) -> None:
    """From now on `instead_of_sending` works for this client."""
    for operation in _HOT_OPERATIONS:
        client.meta.events.register_first(f"before-send.s3.{operation}", _before_send)


@contextmanager
def instead_of_sending(sending: Sending) -> Iterator[None]:
    """Within the block, the first request of a hot operation of this task is not sent: `sending`
    has its outcome."""
    token = _stand_ins.set([sending])
    try:
        yield
    finally:
        _stand_ins.reset(token)


def known(outcome: Answer | Exception) -> Sending:
    """An outcome that is there already."""

    def send(_: AWSPreparedRequest) -> Answer:
        if isinstance(outcome, Exception):
            # The SDK repeats what its HTTP client could not do, and knows no other's errors.
            raise HTTPClientError(error=outcome)
        return outcome

    return send


def _before_send(request: AWSPreparedRequest, **_: object) -> Any:  # noqa: ANN401 - has no types
    stand_ins = _stand_ins.get()
    if not stand_ins:
        return None
    answer = stand_ins.pop()(request)
    return AioAWSResponse(request.url, answer.status, answer.headers, _Raw(answer.body))


class _Raw:
    """A body as the SDK reads it."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def read(self) -> bytes:
        return self._body
