"""tus 1.0 on the wire: how requests are read and responses are written.

This file owns the dialect. What it settles, and why:

The version comes first. A request without `Tus-Resumable: 1.0.0` is answered 412 with the versions
this server speaks, before anything else of it is looked at: what its other headers mean is not
known. OPTIONS and GET do not take part, and HEAD may leave the header out, because it is also what
browsers, probes and curl send; a HEAD that names another version is refused like the rest.

What is not offered is refused, not overlooked. `EXTENSIONS` lists what this server does. A request
that leans on more would come out wrong if we ignored the header: a body whose `Upload-Checksum`
nobody computed passes for verified: an algorithm that is not ours gets 400, as tus wants. Only POST
gives `Upload-Concat` a meaning (`concat`); tus-js-client repeats it on every other request, where
it is ignored.

A checksum covers the body of its request: of a PATCH, or of a POST that brings the upload's first
chunk. On a POST without a chunk there is nothing to check, and the header means nothing.

A body counts by its Content-Type. On PATCH it must be `application/offset+octet-stream`, else 415.
On POST that type makes the body the upload's first chunk, and any other makes it nothing, since
some stacks force a type and a body onto each POST. The type is compared without regard to case and
to parameters: `; charset=utf-8`, which some stacks append, changes nothing about bytes.

The length of a body is `Content-Length`, or unknown: with `Transfer-Encoding` (which wins, RFC
9112, 6.3) and, on PATCH, without either, as HTTP/2 allows. An unknown body must be read to its end
and may prove empty. A PATCH whose bytes were overlooked would be answered 2xx without progress, and
clients then repeat it at full speed; a POST without both is the ordinary POST without a body.

Every response carries `Tus-Resumable`. HEAD answers 200, since two Go clients take nothing else.
`Upload-Offset` is on every 201, as tus-js-client wants, but for a final upload that is not whole
yet: that has none, on HEAD as well. `Upload-Expires` is on POST and PATCH responses while the
upload is unfinished; a finished one does not expire. `Tus-Extension` is written without spaces,
because TUSKit does not trim. 204 carries no Content-Length (RFC 9110, 8.6).
"""

from __future__ import annotations

from typing import Final

from tusd_s3 import limits
from tusd_s3.errors import (
    InvalidHeader,
    MethodNotAllowed,
    RangeNotSatisfiable,
    UnsupportedVersion,
    UploadError,
    UploadTooLarge,
    WrongContentType,
)
from tusd_s3.model.checksum import ALGORITHMS
from tusd_s3.model.concat import PARTIAL
from tusd_s3.model.upload import Upload, UploadState
from tusd_s3.protocol.checksum import Trailers, no_trailers, parse_verification
from tusd_s3.protocol.concat import concat_of, final_name, parse_final, refuse_bytes
from tusd_s3.protocol.fields import Fields
from tusd_s3.protocol.headers import http_date, parse_integer, parse_metadata
from tusd_s3.protocol.idempotency import creation_name
from tusd_s3.protocol.message import AppendRequest, CreateRequest, Response
from tusd_s3.protocol.ranges import unsatisfied_range

VERSION: Final = "1.0.0"

EXTENSIONS: Final = (
    "creation",
    "creation-with-upload",
    "creation-defer-length",
    "termination",
    "expiration",
    "checksum",
    "checksum-trailer",
    "concatenation",
)

_BODY_TYPE: Final = "application/offset+octet-stream"
_OVERRIDES: Final = ("PATCH", "DELETE", "HEAD")


def effective_method(method: str, fields: Fields) -> str:
    """The method a request means: `X-HTTP-Method-Override` replaces POST (tus core).

    It is for clients that cannot send PATCH, DELETE or HEAD; those three are what it may say, and
    beside any other method it is ignored. Raises InvalidHeader.
    """
    override = fields.get("X-HTTP-Method-Override") if method == "POST" else None
    if override is None:
        return method
    if override.upper() not in _OVERRIDES:
        raise InvalidHeader("X-HTTP-Method-Override", f"expected one of {', '.join(_OVERRIDES)}")
    return override.upper()


def check_version(method: str, fields: Fields) -> None:
    """Refuse what does not speak tus 1.0.0 (tus core, Tus-Resumable).

    `method`: the effective one. Raises UnsupportedVersion.
    """
    if method in ("OPTIONS", "GET"):
        return
    version = fields.get("Tus-Resumable")
    if version != VERSION and not (method == "HEAD" and version is None):
        raise UnsupportedVersion


def parse_create(
    fields: Fields, *, max_bytes: int, trailers: Trailers = no_trailers
) -> CreateRequest:
    """Read a POST (tus creation, creation-with-upload, creation-defer-length, checksum,
    concatenation).

    `max_bytes`: longest upload allowed. `trailers`: of the request, once its body was read.
    Raises InvalidHeader, HeaderTooLong, UploadTooLarge, BodyTooLong, FinalUpload.
    """
    concat = concat_of(fields)
    sources = () if concat in ("", PARTIAL) else parse_final(concat)
    body_length = _parse_first_chunk(fields)
    if sources:
        refuse_bytes(fields, has_body=body_length != 0)
    length = None if sources else _parse_declared(fields)
    if max(length or 0, body_length or 0) > max_bytes:
        raise UploadTooLarge(max_bytes)
    metadata = fields.get("Upload-Metadata", max_bytes=limits.METADATA_MAX_BYTES) or ""
    parse_metadata(metadata)
    return CreateRequest(
        length=length,
        metadata=metadata,
        body_length=body_length,
        name=final_name(fields, sources) if sources else creation_name(fields),
        verification=parse_verification(fields, trailers) if body_length != 0 else None,
        concat=concat,
        sources=sources,
    )


def parse_append(fields: Fields, *, trailers: Trailers = no_trailers) -> AppendRequest:
    """Read a PATCH (tus core, checksum; creation-defer-length for a length it declares).

    `trailers`: of the request, once its body was read. The maximum is the engine's to check, which
    knows whether the length is news. Raises WrongContentType, InvalidHeader, HeaderTooLong,
    LengthConflict, BodyTooLong.
    """
    if not _is_body_type(fields):
        raise WrongContentType
    offset = _integer(fields, "Upload-Offset")
    if offset is None:
        raise InvalidHeader("Upload-Offset", "expected on every PATCH, but it is missing")
    return AppendRequest(
        offset=offset,
        declared_length=_integer(fields, "Upload-Length"),
        body_length=_parse_body_length(fields),
        verification=parse_verification(fields, trailers),
    )


def _integer(fields: Fields, name: str) -> int | None:
    text = fields.get(name)
    return None if text is None else parse_integer(name, text)


def _parse_declared(fields: Fields) -> int | None:
    """The length a POST declares, None when it is deferred; it must do exactly one of the two."""
    length = _integer(fields, "Upload-Length")
    deferred = fields.get("Upload-Defer-Length")
    if deferred not in (None, "1"):
        raise InvalidHeader("Upload-Defer-Length", "expected 1")
    if (length is None) == (deferred is None):
        raise InvalidHeader("Upload-Length", "expected either this or Upload-Defer-Length: 1")
    return length


def _parse_first_chunk(fields: Fields) -> int | None:
    """Bytes of the first chunk on a POST: 0 for none, None for unknown."""
    if not _is_body_type(fields):
        return 0
    if "Content-Length" not in fields and "Transfer-Encoding" not in fields:
        return 0
    return _parse_body_length(fields)


def _parse_body_length(fields: Fields) -> int | None:
    if "Transfer-Encoding" in fields:
        return None
    return _integer(fields, "Content-Length")


def _is_body_type(fields: Fields) -> bool:
    media_type, _, _ = (fields.get("Content-Type") or "").partition(";")
    return media_type.strip(" \t").lower() == _BODY_TYPE


def render_created(location: str, upload: Upload) -> Response:
    """201 to a POST. `location`: the upload's absolute URL (tus creation, expiration)."""
    headers = (("Location", location), *_known_offset(upload), *_expires(upload))
    return _respond(201, *headers, ("Content-Length", "0"))


def render_appended(upload: Upload) -> Response:
    """204 to a PATCH (tus core, expiration)."""
    return _respond(204, _offset(upload.offset), *_expires(upload))


def render_status(upload: Upload) -> Response:
    """200 to a HEAD (tus core, creation, concatenation): offset, length, and what the client said
    of the upload as it was sent."""
    headers = [*_known_offset(upload), ("Cache-Control", "no-store")]
    if upload.length is not None:
        headers.append(("Upload-Length", str(upload.length)))
    elif not upload.is_final:
        headers.append(("Upload-Defer-Length", "1"))
    if upload.concat:
        headers.append(("Upload-Concat", upload.concat))
    if upload.metadata:
        headers.append(("Upload-Metadata", upload.metadata))
    return _respond(200, *headers)


def render_terminated() -> Response:
    """204 to a DELETE (tus termination)."""
    return _respond(204)


def render_options(*, max_bytes: int) -> Response:
    """204 to an OPTIONS: what this server can do (tus core). `max_bytes`: longest upload."""
    return _respond(
        204,
        ("Tus-Version", VERSION),
        ("Tus-Extension", ",".join(EXTENSIONS)),
        ("Tus-Max-Size", str(max_bytes)),
        ("Tus-Checksum-Algorithm", ",".join(ALGORITHMS)),
    )


def render_error(error: UploadError) -> Response:
    """The response to a failed request; its body is `<code>: <sentence>` and a line feed.

    `nosniff` and text/plain, because a browser might otherwise read a sentence as a page.
    """
    body = f"{error.code}: {error.text}\n".encode()
    return _respond(
        error.status,
        *_error_headers(error),
        ("Content-Type", "text/plain; charset=utf-8"),
        ("Content-Length", str(len(body))),
        ("Cache-Control", "no-store"),
        ("X-Content-Type-Options", "nosniff"),
        body=body,
    )


def _error_headers(error: UploadError) -> tuple[tuple[str, str], ...]:
    """What the status obliges to say (405, 412, 416), and the true offset where it is known."""
    offset = () if error.offset is None else (_offset(error.offset),)
    if isinstance(error, UnsupportedVersion):
        return (*offset, ("Tus-Version", VERSION))
    if isinstance(error, RangeNotSatisfiable):
        return (*offset, ("Content-Range", unsatisfied_range(error.length)))
    if isinstance(error, MethodNotAllowed):
        return (*offset, ("Allow", ", ".join(error.allow)))
    return offset


def _respond(status: int, *headers: tuple[str, str], body: bytes = b"") -> Response:
    return Response(status, (("Tus-Resumable", VERSION), *headers), body)


def _offset(offset: int) -> tuple[str, str]:
    return "Upload-Offset", str(offset)


def _known_offset(upload: Upload) -> tuple[tuple[str, str], ...]:
    return () if upload.awaits_assembly else (_offset(upload.offset),)


def _expires(upload: Upload) -> tuple[tuple[str, str], ...]:
    if upload.state is UploadState.COMPLETE:
        return ()
    return (("Upload-Expires", http_date(upload.expires_at_s)),)
