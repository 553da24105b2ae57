"""`Tus-Resumable` on every response (tus core), also on those that other layers make."""

from __future__ import annotations

from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_NAME: Final = b"tus-resumable"


class ResumableMiddleware:
    """Adds the header where the application did not, such as on a CORS preflight."""

    def __init__(self, app: ASGIApp, version: str) -> None:
        self.app = app
        self._version = version.encode("ascii")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything on; complete the head of an HTTP response."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def complete(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = message.get("headers", ())
                if _NAME not in dict(headers):  # whose names are in lower case (ASGI, HTTP)
                    message["headers"] = [*headers, (_NAME, self._version)]
            await send(message)

        await self.app(scope, receive, complete)
