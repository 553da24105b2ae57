"""The calls that uploads are made of, each as a request of ours and as a call of the SDK's.

Of the answers to ours, only a plain success is read here: one that says what it should and nothing
else. Every other is for the SDK to judge. No I/O.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar
from xml.sax.saxutils import escape

from tusd_s3 import errors
from tusd_s3.model.chunk import Chunk
from tusd_s3.stores.s3.answers import Answer
from tusd_s3.stores.s3.body import ChunkedBody
from tusd_s3.stores.s3.calls import Call

T = TypeVar("T")

_NAMESPACE: Final = "http://s3.amazonaws.com/doc/2006-03-01/"

_CREATED: Final = re.compile(
    rb"\s*(?:<\?xml[^>]*\?>)?\s*<InitiateMultipartUploadResult[\s>].*"
    rb"<UploadId>([^<&\s]+)</UploadId>.*</InitiateMultipartUploadResult>\s*",
    re.DOTALL,
)

_COMPLETED: Final = re.compile(
    rb"\s*(?:<\?xml[^>]*\?>)?\s*<CompleteMultipartUploadResult[\s>].*"
    rb"<ETag>[^<]+</ETag>.*</CompleteMultipartUploadResult>\s*",
    re.DOTALL,
)
"""S3 answers 200 before it knows how it will end, keeps the connection alive with white space, and
may name an error then (S3 API, CompleteMultipartUpload)."""


@dataclass(frozen=True, slots=True)
class Operation(Generic[T]):
    """One call, and how its answers are read.

    method: of the SDK's client. call: ours, whose parameters are the SDK's as well. body: the
    SDK's argument for it; what it is given is to be told whenever bytes move. moves_bytes: whether
    that happens in every attempt. plain: what a plain success says, None for every other answer.
    told: the same of the SDK's answers; raises StorageUnavailable for what is no proof.
    """

    method: str
    call: Call
    body: Callable[[Callable[[], None]], Mapping[str, Any]]
    moves_bytes: bool
    plain: Callable[[Answer], T | None]
    told: Callable[[Mapping[str, Any]], T]


@dataclass(frozen=True, slots=True)
class Created:
    """A multipart upload. was_repeated: whether an attempt before may have made another one."""

    multipart_id: str
    was_repeated: bool


def put_object(
    key: str, chunks: Sequence[Chunk], size: int, params: Mapping[str, Any]
) -> Operation[str]:
    """Store `size` bytes, the sum of `chunks`; the object's ETag. params: as in `Call`."""
    return _storing("put_object", Call("PUT", key, params, chunks, size))


def upload_part(
    key: str, multipart_id: str, number: int, chunks: Sequence[Chunk], size: int
) -> Operation[str]:
    """Store a part; its ETag."""
    params = {"UploadId": multipart_id, "PartNumber": number}
    return _storing("upload_part", Call("PUT", key, params, chunks, size))


def create_multipart(key: str, params: Mapping[str, Any]) -> Operation[Created]:
    """Begin a multipart upload."""
    return Operation(
        "create_multipart_upload",
        Call("POST", key, params, subresource="uploads", is_repeatable=False),
        body=_none,
        moves_bytes=False,
        plain=_plainly_created,
        told=_created,
    )


def complete_multipart(key: str, multipart_id: str, etags: Sequence[str]) -> Operation[bool]:
    """Make an object of parts 1, 2, ... with these ETags."""
    parts = list(enumerate(etags, start=1))
    listed = "".join(
        f"<Part><PartNumber>{number}</PartNumber><ETag>{escape(etag)}</ETag></Part>"
        for number, etag in parts
    )
    document = (
        f'<CompleteMultipartUpload xmlns="{_NAMESPACE}">{listed}</CompleteMultipartUpload>'.encode()
    )
    for_sdk = {"Parts": [{"PartNumber": number, "ETag": etag} for number, etag in parts]}
    return Operation(
        "complete_multipart_upload",
        Call("POST", key, {"UploadId": multipart_id}, [document], len(document)),
        body=lambda _: {"MultipartUpload": for_sdk},
        moves_bytes=False,
        plain=_plainly_completed,
        told=_done,
    )


def delete_object(key: str) -> Operation[bool]:
    """Remove an object, if there is one."""
    return Operation(
        "delete_object",
        Call("DELETE", key, {}),
        body=_none,
        moves_bytes=False,
        plain=_plainly_deleted,
        told=_done,
    )


def _storing(method: str, call: Call) -> Operation[str]:
    def body(progressed: Callable[[], None]) -> Mapping[str, Any]:
        # An empty async body would go out chunked, which S3 refuses.
        content = ChunkedBody(call.chunks, progressed) if call.size else b""
        return {"Body": content, "ContentLength": call.size}

    return Operation(method, call, body=body, moves_bytes=True, plain=_plainly_stored, told=_stored)


def _none(_: Callable[[], None]) -> Mapping[str, Any]:
    return {}


def _plainly_stored(answer: Answer) -> str | None:
    if answer.status != 200 or answer.body or not answer.is_framed:
        return None
    return answer.headers.get("etag") or None


def _stored(answer: Mapping[str, Any]) -> str:
    etag: str | None = answer.get("ETag")
    if not etag:
        raise errors.StorageUnavailable  # whatever this was, it is no proof
    return etag


def _plainly_created(answer: Answer) -> Created | None:
    found = _CREATED.fullmatch(answer.body) if _is_whole_success(answer) else None
    return None if found is None else Created(found[1].decode("latin-1"), was_repeated=False)


def _created(answer: Mapping[str, Any]) -> Created:
    multipart_id: str | None = answer.get("UploadId")
    if not multipart_id:
        raise errors.StorageUnavailable
    return Created(multipart_id, was_repeated=bool(answer["ResponseMetadata"]["RetryAttempts"]))


def _plainly_completed(answer: Answer) -> bool | None:
    is_so = _is_whole_success(answer) and _COMPLETED.fullmatch(answer.body)
    return True if is_so else None


def _plainly_deleted(answer: Answer) -> bool | None:
    return True if answer.status == 204 and not answer.body else None


def _done(_: Mapping[str, Any]) -> bool:
    return True


def _is_whole_success(answer: Answer) -> bool:
    return answer.status == 200 and answer.is_framed
