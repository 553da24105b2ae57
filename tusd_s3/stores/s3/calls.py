"""Calls to S3: as the SDK's parameters name them, and as bytes of HTTP.

No I/O.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tusd_s3.model.chunk import Chunk
from tusd_s3.stores.s3.route import Route
from tusd_s3.stores.s3.signing import (
    EMPTY_PAYLOAD,
    UNSIGNED_PAYLOAD,
    Credentials,
    Signable,
    encode_path,
    encode_query,
)

_HEADERS: Final = {
    "ContentType": "content-type",
    "ContentDisposition": "content-disposition",
    "IfMatch": "if-match",
    "IfNoneMatch": "if-none-match",
    "Range": "range",
}
"""Parameters that are headers (S3 API, PutObject, CreateMultipartUpload, GetObject)."""

_QUERY: Final = {"PartNumber": "partNumber", "UploadId": "uploadId"}
"""Parameters that stand in the query (S3 API, UploadPart, CompleteMultipartUpload)."""

_METADATA_PREFIX: Final = "x-amz-meta-"

_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
"""What the name of a header is made of (RFC 9110, 5.1)."""


@dataclass(frozen=True, slots=True)
class Call:
    """What is asked of the object under `key`.

    params: as the SDK takes them, without bucket, key and body. chunks: the body, of `size` bytes.
    subresource: a name in the query that has no value. is_repeatable: whether it may be sent again
    when nobody knows whether it was acted upon.
    """

    method: str
    key: str
    params: Mapping[str, Any]
    chunks: Sequence[Chunk] = ()
    size: int = 0
    subresource: str = ""
    is_repeatable: bool = True


class UnsayableError(ValueError):
    """A parameter that has no header of ours, or a value that none can hold."""


def build_head(route: Route, credentials: Credentials, call: Call, timestamp: str) -> bytes:
    """The signed request up to and with the empty line. timestamp: see `signing`.

    Raises UnsayableError for what is better left to the SDK.
    """
    headers, query = _said(call.params)
    if call.subresource:
        query.append((call.subresource, ""))
    headers.append(("content-length", str(call.size)))
    target = _Target(call.method, call.key, UNSIGNED_PAYLOAD)
    return _signed(route, credentials, target, headers, query, timestamp)


def build_get(
    route: Route, credentials: Credentials, key: str, params: Mapping[str, Any], timestamp: str
) -> bytes:
    """The same for a GetObject. Raises UnsayableError."""
    headers, query = _said(params)
    target = _Target("GET", key, EMPTY_PAYLOAD)
    return _signed(route, credentials, target, headers, query, timestamp)


@dataclass(frozen=True, slots=True)
class _Target:
    method: str
    key: str
    payload: str


def _signed(
    route: Route,
    credentials: Credentials,
    target: _Target,
    headers: list[tuple[str, str]],
    query: list[tuple[str, str]],
    timestamp: str,
) -> bytes:
    headers += (
        ("host", route.host),
        ("x-amz-content-sha256", target.payload),
        ("x-amz-date", timestamp),
    )
    if credentials.token:
        headers.append(("x-amz-security-token", credentials.token))
    headers.sort()
    path = route.path + encode_path(target.key)
    request = Signable(
        target.method, path, encode_query(query) if query else "", headers, target.payload
    )
    signature = route.signer.authorization(credentials, request, timestamp)
    address = f"{path}?{request.query}" if query else path
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers])
    return (
        f"{target.method} {address} HTTP/1.1\r\n{lines}user-agent: {route.user_agent}\r\n"
        f"accept-encoding: identity\r\nauthorization: {signature}\r\n\r\n"
    ).encode("ascii")


def _said(params: Mapping[str, Any]) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Headers and query, in no order."""
    headers: list[tuple[str, str]] = []
    query: list[tuple[str, str]] = []
    for name, value in params.items():
        if name in _HEADERS:
            headers.append((_HEADERS[name], _checked(value)))
        elif name in _QUERY:
            query.append((_QUERY[name], str(value)))
        elif name == "Metadata":
            headers += [
                (_METADATA_PREFIX + _named(key), _checked(text)) for key, text in value.items()
            ]
        else:
            raise UnsayableError(name)
    if len(dict(headers)) != len(headers):
        raise UnsayableError("a header twice")
    return headers, query


def _named(key: str) -> str:
    if not _NAME.fullmatch(key):
        raise UnsayableError("a header's name that is none")
    return key.lower()


def _checked(text: str) -> str:
    """Refuses what would end the line, and what two readers could take for two things."""
    if not (text.isascii() and text.isprintable()):
        raise UnsayableError("a header that is not printable ASCII")
    return text
