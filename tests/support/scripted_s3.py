"""An S3 that answers with what a test tells it to, byte by byte, on the test's own event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum, auto

ETAG = '"0123456789abcdef0123456789abcdef"'
STORED = f"HTTP/1.1 200 OK\r\nETag: {ETAG}\r\nContent-Length: 0\r\n\r\n".encode()
"""The answer to a request that nothing else was told for."""

_LATE_S = 0.05
_WITHIN_S = 10.0


class Then(Enum):
    """What becomes of the connection behind an answer."""

    STAY = auto()
    CLOSE = auto()
    HANG = auto()
    """It stays, and the rest of the answer never comes."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer. early: given as soon as the head is there; nothing of the body is read.
    drip_s: pause before each byte. late: comes some time behind the answer, asked for by nobody."""

    raw: bytes = STORED
    then: Then = Then.STAY
    early: bool = False
    drip_s: float = 0.0
    late: bytes = b""


def refusal(status: int, code: str, headers: str = "") -> Reply:
    """An error as S3 words it. headers: each with its line end."""
    body = f"<Error><Code>{code}</Code><Message>Told to.</Message></Error>".encode()
    head = f"HTTP/1.1 {status} Told\r\n{headers}Content-Length: {len(body)}\r\n\r\n"
    return Reply(head.encode() + body)


@dataclass(frozen=True, slots=True)
class Got:
    """A request that came. connection: counted from 1. body: what was read of it."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    connection: int

    @property
    def is_sdks(self) -> bool:
        """Whether the SDK sent it: ours do not count attempts."""
        return "amz-sdk-request" in self.headers


@dataclass(slots=True, eq=False)
class ScriptedS3:
    """Gives `replies` one by one, then `STORED` for ever; notes what it got, in order."""

    port: int = 0
    replies: list[Reply] = field(default_factory=list)
    got: list[Got] = field(default_factory=list)
    connections: int = 0
    _open: int = 0
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def all_closed(self) -> None:
        """Return once no client is connected."""
        await self._until(lambda: self._open == 0)

    async def has_got(self, count: int) -> None:
        """Return once so many requests came."""
        await self._until(lambda: len(self.got) >= count)

    async def _until(self, is_so: Callable[[], bool]) -> None:
        async with asyncio.timeout(_WITHIN_S), self._changed:
            await self._changed.wait_for(is_so)

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client."""
        self.connections += 1
        self._open += 1
        number = self.connections
        try:
            while await self._exchange(reader, writer, number):
                pass
        except (OSError, asyncio.IncompleteReadError):
            pass  # the client left; that is what some tests are about
        finally:
            writer.transport.abort()
            self._open -= 1
            await self._notify()

    async def _exchange(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.removesuffix("\r\n\r\n").split("\r\n")
        method, target, _ = first.split(" ")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        reply = self.replies.pop(0) if self.replies else Reply()
        length = 0 if reply.early else int(headers.get("content-length", "0"))
        body = await reader.readexactly(length)
        self.got.append(Got(method, target, headers, body, number))
        await self._notify()
        pieces = [reply.raw] if not reply.drip_s else [bytes([byte]) for byte in reply.raw]
        for piece in pieces:
            await asyncio.sleep(reply.drip_s)
            writer.write(piece)
            await writer.drain()
        if reply.late:
            await asyncio.sleep(_LATE_S)
            writer.write(reply.late)
        if reply.then is Then.HANG or reply.early:
            while reply.then is Then.HANG and await reader.read(65536):
                pass
            return False
        return reply.then is Then.STAY


@asynccontextmanager
async def scripted_s3() -> AsyncIterator[ScriptedS3]:
    """One that listens for the time of the block."""
    s3 = ScriptedS3()
    server = await asyncio.start_server(s3.serve, "127.0.0.1", 0)
    s3.port = server.sockets[0].getsockname()[1]
    try:
        yield s3
    finally:
        server.close()


def who(s3: ScriptedS3) -> str:
    """Who sent what came, in order: `d` for ours, `s` for the SDK's."""
    return "".join("s" if got.is_sdks else "d" for got in s3.got)
