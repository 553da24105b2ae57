"""A request body as `ports.BodySource`: from our own HTTP server's inbox, or from ASGI's `receive`.

`receive` is read directly: Starlette's `Request.stream()` raises when the client goes away in the
middle of a body, and what it had buffered would be lost with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from starlette.types import Receive, Scope

from tusd_s3 import limits
from tusd_s3.app.inbox import INBOX_KEY, Inbox
from tusd_s3.budget import MemoryBudget
from tusd_s3.model.chunk import Chunk
from tusd_s3.ports import BodyEnd
from tusd_s3.protocol.fields import Fields

TRAILERS_KEY: Final = "tusd_s3.trailers"
"""Scope key of the fields that followed a body, as pairs like the headers'; our own HTTP server
leaves there what may be read of them. ASGI has no place for them."""

DISCARD_MAX_BYTES: Final = 16 * limits.MIB
"""What is read and thrown away of a refused body. Many clients look at the response only once
they have sent the body, and a connection closed in the middle of it may take the response along;
but nobody may keep the server busy with bytes it does not want."""

DISCARD_MAX_S: Final = 2.0
"""The same bound in time."""


class AsgiBody:
    """The body of one request.

    scope: the request's own; our own HTTP server leaves the body there.
    budget: where a body that comes through `receive` is charged.
    expected: whether the request's headers announce a body.
    awaits_continue: whether the client waits for `100 Continue` before it sends one; the server
        sends it with the first `read`.
    """

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        budget: MemoryBudget,
        *,
        expected: bool,
        awaits_continue: bool,
    ) -> None:
        self._scope = scope
        self._receive = receive
        self._inbox: Inbox | None = scope.get(INBOX_KEY)
        self.account = budget.open() if self._inbox is None else self._inbox.account
        self._awaits_continue = awaits_continue
        self._end: BodyEnd | None = None if expected else BodyEnd.COMPLETE
        self._headers_count = len(scope["headers"])

    @property
    def is_pending(self) -> bool:
        """Whether more of the body may come on the connection."""
        return self._end is None

    async def read(self) -> Chunk | BodyEnd:
        """See `ports.BodySource`. Nothing is awaited after a message was taken: no byte is lost."""
        if self._end is not None:
            return self._end
        self._awaits_continue = False
        if self._inbox is None:
            await self.account.room()
            return await self._receive_some()
        if not self._inbox.has_some and not self._inbox.room_bytes:
            await self.account.room()
        item = await self._inbox.read()
        if isinstance(item, BodyEnd):
            self._end = item
        return item

    async def _receive_some(self) -> bytes | BodyEnd:
        while self._end is None:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                self._end = BodyEnd.DISCONNECTED
                break
            if not message.get("more_body", False):
                self._end = BodyEnd.COMPLETE
            chunk: bytes = message.get("body", b"")
            if chunk:
                self.account.charge(len(chunk))
                return chunk
        return self._end

    async def disconnected(self) -> None:
        """Wait until the client is gone, or has its answer. Only with nothing pending: what comes
        is dropped."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

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
                while left > 0 and not isinstance(chunk := await self.read(), BodyEnd):
                    left -= len(chunk)
                    self.account.release(len(chunk))
        except TimeoutError:
            pass

    def trim(self) -> None:
        """See `ports.BodySource`."""
        if self._inbox is not None:
            self._inbox.trim()

    def close(self) -> None:
        """Nobody reads any more."""
        if self._inbox is None:
            self.account.close()
        else:
            self._inbox.close()
