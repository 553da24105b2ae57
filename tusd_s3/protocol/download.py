"""A GET of an upload on the wire: what it asks, and the heads of what it is answered.

None of it is tus's, which leaves GET open. HTTP's own rules hold (RFC 9110), and those of whoever
must hand out what strangers brought: see `disposition`, and:

- `X-Content-Type-Options: nosniff`: the type is what the header says, whatever the bytes look like.
- `Content-Security-Policy`: a document made of an upload is nobody's origin, and runs and loads
  nothing. What browsers make of a video or a picture that is opened by itself is a document too; it
  may load that one thing.
- `Cache-Control: private, no-cache`: an upload's address is what opens it, so no cache in between
  may keep it; the browser may, but asks, since it can be terminated.
"""

from __future__ import annotations

from typing import Final

from tusd_s3.protocol.conditions import Validators
from tusd_s3.protocol.disposition import served_disposition, served_type
from tusd_s3.protocol.headers import http_date
from tusd_s3.protocol.message import Response
from tusd_s3.protocol.ranges import Span, content_range

CONTENT_SECURITY_POLICY: Final = (
    "sandbox; default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'"
)

_CACHING: Final = ("Cache-Control", "private, no-cache")


def render_content(
    span: Span,
    validators: Validators,
    *,
    is_partial: bool,
    content_type: str | None,
    content_disposition: str | None,
) -> Response:
    """200, or 206 with `is_partial`, without the body: bytes `span`. content_type,
    content_disposition: of the object, as it has them."""
    headers = [
        ("Content-Type", served_type(content_type)),
        ("Content-Disposition", served_disposition(content_type, content_disposition)),
        ("Content-Length", str(span.size)),
        ("Accept-Ranges", "bytes"),
        ("X-Content-Type-Options", "nosniff"),
        ("Content-Security-Policy", CONTENT_SECURITY_POLICY),
        *_state(validators),
    ]
    if is_partial:
        headers.append(("Content-Range", content_range(span)))
    return Response(206 if is_partial else 200, tuple(headers))


def render_not_modified(validators: Validators) -> Response:
    """304 (RFC 9110, 15.4.5)."""
    return Response(304, _state(validators))


def render_link(url: str) -> Response:
    """307 to where the store hands it out. The address opens it, for a while: nothing keeps it."""
    return Response(
        307, (("Location", url), ("Cache-Control", "no-store"), ("Content-Length", "0"))
    )


def _state(validators: Validators) -> tuple[tuple[str, str], ...]:
    headers = [_CACHING]
    if validators.etag is not None:
        headers.append(("ETag", validators.etag))
    if validators.modified_at_s is not None:
        headers.append(("Last-Modified", http_date(validators.modified_at_s)))
    return tuple(headers)
