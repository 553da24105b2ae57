"""What a browser may do with an upload that it is handed (RFC 6266, RFC 8187).

An upload's type is whatever its client claimed. A page, an SVG, an XML document or a PDF can run
script, and it would run on the address of this server. So only types that cannot are shown inline,
from a list; everything else is saved as a file.

Being an attachment does not keep another page from naming it as its script or style: `nosniff`
leaves that to the type. Those types are not passed on at all.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote_to_bytes

from tusd_s3.model.media_type import is_media_type

INLINE_TYPES: Final = frozenset(
    {
        *("video/mp4", "video/webm", "video/ogg", "video/quicktime", "video/x-matroska"),
        *("video/mpeg", "video/mp2t", "video/3gpp", "video/x-m4v"),
        *("audio/mpeg", "audio/mp4", "audio/aac", "audio/ogg", "audio/opus", "audio/webm"),
        *("audio/flac", "audio/x-flac", "audio/wav", "audio/x-wav", "audio/wave", "audio/x-m4a"),
        *("image/png", "image/jpeg", "image/gif", "image/webp", "image/avif", "image/bmp"),
        *("image/apng", "image/heic", "image/heif", "image/tiff", "image/x-icon"),
        "text/plain",
    }
)
"""Not image/svg+xml, which is a document with script; not application/pdf, whose viewers run it."""

UNKNOWN_TYPE: Final = "application/octet-stream"

_RUNS_WHERE_IT_IS_NAMED = re.compile(r"\w+/(?:[a-z.+-]*script[a-z0-9.+-]*|css|wasm)", re.ASCII)
"""JavaScript by all its names, style sheets, WebAssembly."""

_STORED_NAME = re.compile(
    r"attachment; filename\*=UTF-8''((?:[A-Za-z0-9!#$&+^`|_.~-]|%[0-9A-F]{2})+)"
)
"""As `model.objects.object_attributes` writes it; nothing else is passed on."""

_NOT_PLAIN = re.compile(r"[^ !#$&-\[\]-~]")


def served_type(stored: str | None) -> str:
    """The Content-Type of an answer, from that of the object."""
    if stored is None or not is_media_type(stored):
        return UNKNOWN_TYPE
    return UNKNOWN_TYPE if _RUNS_WHERE_IT_IS_NAMED.fullmatch(_essence(stored)) else stored


def served_disposition(stored_type: str | None, stored: str | None) -> str:
    """The Content-Disposition of an answer, from type and disposition of the object.

    The name stands there twice: in ASCII for clients that know no `filename*`, such as curl -J,
    and whole (RFC 6266, appendix D).
    """
    kind = "inline" if is_inline(stored_type) else "attachment"
    found = _STORED_NAME.fullmatch(stored or "")
    if found is None:
        return kind
    name = unquote_to_bytes(found[1]).decode(errors="replace")
    plain = _NOT_PLAIN.sub("_", name)
    return f"{kind}; filename=\"{plain}\"; filename*=UTF-8''{found[1]}"


def is_inline(media_type: str | None) -> bool:
    """Whether a browser may show it where it stands."""
    return (
        media_type is not None
        and is_media_type(media_type)
        and _essence(media_type) in INLINE_TYPES
    )


def _essence(media_type: str) -> str:
    return media_type.partition(";")[0].strip(" \t").lower()
