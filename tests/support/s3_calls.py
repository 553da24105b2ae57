"""S3 requests told apart by what is on the wire."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import parse_qs, unquote, urlsplit

RECOVERY_FOLDER = ".tus/"
"""In the key of every recovery object."""

PARTIAL_SUFFIX = ".partial"
"""Ends the key of a partial upload's object, which lies beside them."""


class S3Call(StrEnum):
    """Kinds of calls. Those on recovery objects are kinds of their own."""

    PUT_OBJECT = "PutObject"
    HEAD_OBJECT = "HeadObject"
    GET_OBJECT = "GetObject"
    DELETE_OBJECT = "DeleteObject"
    CREATE_MULTIPART = "CreateMultipartUpload"
    UPLOAD_PART = "UploadPart"
    COPY_PART = "UploadPartCopy"
    COMPLETE_MULTIPART = "CompleteMultipartUpload"
    ABORT_MULTIPART = "AbortMultipartUpload"
    LIST_PARTS = "ListParts"
    PUT_RECOVERY = "PutObject of a recovery object"
    GET_RECOVERY = "GetObject of a recovery object"
    DELETE_RECOVERY = "DeleteObject of a recovery object"
    BUCKET = "a call on the bucket"
    OTHER = "another call"


@dataclass(slots=True, eq=False)
class Call:
    """One S3 request. `status` is the store's (or the proxy's) answer, None while there is none.

    sent_bytes, answered_bytes: of the bodies, as announced.
    """

    kind: S3Call
    key: str
    part_number: int | None = None
    status: int | None = None
    sent_bytes: int = 0
    answered_bytes: int = 0


_MULTIPART = {
    "PUT": S3Call.UPLOAD_PART,
    "POST": S3Call.COMPLETE_MULTIPART,
    "DELETE": S3Call.ABORT_MULTIPART,
    "GET": S3Call.LIST_PARTS,
}
_RECOVERY = {
    "PUT": S3Call.PUT_RECOVERY,
    "GET": S3Call.GET_RECOVERY,
    "DELETE": S3Call.DELETE_RECOVERY,
}
_OBJECT = {
    "PUT": S3Call.PUT_OBJECT,
    "GET": S3Call.GET_OBJECT,
    "HEAD": S3Call.HEAD_OBJECT,
    "DELETE": S3Call.DELETE_OBJECT,
}


def classify(method: str, target: str, headers: dict[str, str]) -> Call:
    """The call behind a request line (path-style addressing). Header names in lower case."""
    split = urlsplit(target)
    query = parse_qs(split.query, keep_blank_values=True)
    _, _, key = unquote(split.path).removeprefix("/").partition("/")
    if not key:
        return Call(S3Call.BUCKET, "")
    if "uploadId" in query:
        kind = _MULTIPART.get(method, S3Call.OTHER)
        if kind is S3Call.UPLOAD_PART and "x-amz-copy-source" in headers:
            kind = S3Call.COPY_PART
        number = query.get("partNumber")
        return Call(kind, key, part_number=int(number[0]) if number else None)
    if method == "POST" and "uploads" in query:
        return Call(S3Call.CREATE_MULTIPART, key)
    is_recovery = RECOVERY_FOLDER in key and not key.endswith(PARTIAL_SUFFIX)
    table = _RECOVERY if is_recovery and method in _RECOVERY else _OBJECT
    return Call(table.get(method, S3Call.OTHER), key)
