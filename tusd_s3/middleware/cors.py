"""Cross-origin access: what a page on another origin may send here, and read of the answer.

Starlette's CORSMiddleware does the work. What was checked of it, because clients depend on it: a
preflight is answered 200 with a full Vary, without reaching the application; every response of the
application gets its headers, errors included; a listed origin is compared whole and echoed, with
`Vary: Origin`. Its 400 to a preflight for something that is not allowed changes nothing for
browsers, which refuse either way, and tells a person with curl which part it is.

A response that the application did not send gets no headers: what turns unexpected exceptions into
responses must stand inside this layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

ALLOW_METHODS: Final = ("POST", "GET", "HEAD", "PATCH", "DELETE", "OPTIONS")

ALLOW_HEADERS: Final = (
    "Authorization",
    "Content-Type",
    "Idempotency-Key",
    "Last-Event-ID",
    "Cache-Control",
    "Tus-Resumable",
    "Upload-Length",
    "Upload-Offset",
    "Upload-Metadata",
    "Upload-Defer-Length",
    "Upload-Concat",
    "Upload-Checksum",
    "X-HTTP-Method-Override",
    "X-Request-ID",
    "X-Requested-With",
    "Upload-Complete",
    "Upload-Draft-Interop-Version",
    "Range",
    "If-Match",
    "If-None-Match",
    "If-Modified-Since",
    "If-Unmodified-Since",
    "If-Range",
)
"""Request headers of the tus clients, of the IETF draft that follows tus, of downloads, and of
scripts that read event streams by themselves (an EventSource needs no permission for its own)."""

EXPOSE_HEADERS: Final = (
    "Location",
    "Upload-Offset",
    "Upload-Length",
    "Upload-Defer-Length",
    "Upload-Metadata",
    "Upload-Concat",
    "Upload-Expires",
    "Tus-Resumable",
    "Tus-Version",
    "Tus-Extension",
    "Tus-Max-Size",
    "Tus-Checksum-Algorithm",
    "Upload-Complete",
    "Upload-Limit",
    "Upload-Draft-Interop-Version",
    "Accept-Ranges",
    "Content-Disposition",
    "Content-Length",
    "Content-Range",
    "ETag",
)
"""Response headers that a page's script could not read otherwise."""


def with_cors(
    app: ASGIApp,
    *,
    allow_origin: Sequence[str],
    allow_credentials: bool,
    allow_headers: Sequence[str],
    expose_headers: Sequence[str],
    max_age_s: float,
) -> ASGIApp:
    """`app`, open to pages of `allow_origin`: exact origins, or `*` for all, or none.

    `allow_headers` and `expose_headers` come on top of the protocol's own.
    Raises ValueError for `*` with credentials: any page could then act as its visitor.
    """
    if "*" in allow_origin and allow_credentials:
        raise ValueError("credentials need a list of origins")
    if not allow_origin:
        return app
    cors = CORSMiddleware(
        app,
        allow_origins=tuple(allow_origin),
        allow_methods=ALLOW_METHODS,
        allow_headers=(*ALLOW_HEADERS, *allow_headers),
        allow_credentials=allow_credentials,
        expose_headers=(*EXPOSE_HEADERS, *expose_headers),
        max_age=int(max_age_s),
    )
    return _OnlyWithOrigin(app, cors)


class _OnlyWithOrigin:
    """Starlette's layer for requests that name an origin. The others, of all clients but browsers,
    need nothing but the word that the answer to a browser would differ."""

    def __init__(self, app: ASGIApp, cors: ASGIApp) -> None:
        self._app = app
        self._cors = cors

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or b"origin" in dict(scope["headers"]):
            await self._cors(scope, receive, send)
            return

        async def send_with_vary(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (b"vary", b"Origin")]
            await send(message)

        await self._app(scope, receive, send_with_vary)
