"""A request body as `ports.BodySource`, from ASGI's `receive`.

`receive` is read directly: Starlette's `Request.stream()` raises when the client goes away in the
middle of a body, and what it had buffered would be lost with it.
"""

from __future__ import annotations

import asyncio
from typing import Final

from starlette.types import Receive

from tusd_s3 import limits
from tusd_s3.ports import BodyEnd

DISCARD_MAX_BYTES: Final = 16 * limits.MIB
"""What is read and thrown away of a refused body. Many clients look at the response only once
they have sent the body, and a connection closed in the middle of it may take the response along;
but nobody may keep the server busy with bytes it does not want."""

DISCARD_MAX_S: Final = 2.0
"""The same bound in time."""


class AsgiBody:
    """The body of one request.

    expected: whether the request's headers announce a body.
    awaits_continue: whether the client waits for `100 Continue` before it sends one; the server
        sends it with the first `read`.
    """

    def __init__(self, receive: Receive, *, expected: bool, awaits_continue: bool) -> None:
        self._receive = receive
        self._awaits_continue = awaits_continue
        self._end: BodyEnd | None = None if expected else BodyEnd.COMPLETE

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
                break
            if not message.get("more_body", False):
                self._end = BodyEnd.COMPLETE
            chunk: bytes = message.get("body", b"")
            if chunk:
                return chunk
        return self._end

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
