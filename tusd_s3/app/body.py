"""A request body as `ports.BodySource`, from ASGI's `receive`.

`receive` is read directly: Starlette's `Request.stream()` raises when the client goes away in the
middle of a body, and what it had buffered would be lost with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from starlette.types import Receive, Scope

from tusd_s3 import limits
from tusd_s3.ports import BodyEnd
from tusd_s3.protocol.fields import Fields

UNREAD_KEY: Final = "tusd_s3.unread"
"""Scope key under which our own HTTP server leaves what it had read of a body when the connection
ended. ASGI has no place for it, and uvicorn drops it."""

TRAILERS_KEY: Final = "tusd_s3.trailers"
"""Scope key of the fields that followed a body, as pairs like the headers'; our own HTTP server
leaves there what may be read of them. ASGI has no place for them either."""

DISCARD_MAX_BYTES: Final = 16 * limits.MIB
"""What is read and thrown away of a refused body. Many clients look at the response only once
they have sent the body, and a connection closed in the middle of it may take the response along;
but nobody may keep the server busy with bytes it does not want."""

DISCARD_MAX_S: Final = 2.0
"""The same bound in time."""


class AsgiBody:
    """The body of one request.

    scope: the request's own; a server may leave the end of a cut body there (`UNREAD_KEY`).
    expected: whether the request's headers announce a body.
    awaits_continue: whether the client waits for `100 Continue` before it sends one; the server
        sends it with the first `read`.
    """

    def __init__(
        self, scope: Scope, receive: Receive, *, expected: bool, awaits_continue: bool
    ) -> None:
        self._scope = scope
        self._receive = receive
        self._awaits_continue = awaits_continue
        self._end: BodyEnd | None = None if expected else BodyEnd.COMPLETE
        self._headers_count = len(scope["headers"])

    @property
    def is_pending(self) -> bool:
        """Whether more of the body may come on the connection."""
        return self._end is None

    async def read(self) -> bytes | BodyEnd:
        """See `ports.BodySource`. Nothing is awaited after a message was taken: no byte is lost."""
        while self._end is None:
            self._awaits_continue = False
            message = await self._receive()
            if message["type"] == "http.disconnect":
                self._end = BodyEnd.DISCONNECTED
                unread: bytes = self._scope.pop(UNREAD_KEY, b"")
                return unread or self._end
            if not message.get("more_body", False):
                self._end = BodyEnd.COMPLETE
            chunk: bytes = message.get("body", b"")
            if chunk:
                return chunk
        return self._end

    def trailers(self) -> Fields:
        """What followed the body, once that was read to its end.

        uvicorn appends it to the headers of the scope. They were read before, so that nothing else
        that comes so late can mean anything."""
        headers: Sequence[tuple[bytes, bytes]] = self._scope["headers"]
        return Fields([*headers[self._headers_count :], *self._scope.get(TRAILERS_KEY, ())])

    async def discard(self) -> None:
        """Read what is left and drop it, within bounds."""
        if self._awaits_continue:
            return
        left = DISCARD_MAX_BYTES
        try:
            async with asyncio.timeout(DISCARD_MAX_S):
                while left > 0 and isinstance(chunk := await self.read(), bytes):
                    left -= len(chunk)
        except TimeoutError:
            pass
