"""The way of a response's body to the client, as far as a server lets us see it.

ASGI's `send` takes bytes and waits until the server wants more. Our own HTTP server also shows the
connection itself: then nothing is copied, what the client has not taken is known to the byte, and
a response can be broken off at once.
"""

from __future__ import annotations

import asyncio
import fcntl
import socket
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from starlette.types import Scope, Send

from tusd_s3 import limits

TRANSPORT_KEY: Final = "tusd_s3.transport"
"""Scope key under which our own HTTP server leaves the connection of a request."""

UNSENT_MAX_BYTES: Final = 128 * limits.KIB
"""What the kernel takes of a download before it is on its way to the client. Without a bound it
takes megabytes, and says that it can take more only when a third of them is gone: a reader at
10 KB/s would seem to stand still for minutes."""

_LOOKS: Final = 4
"""So many looks in a row that see nothing move make a stall."""

_OUTGOING: Final = 0x5411 if sys.platform == "linux" else None
"""TIOCOUTQ: how many bytes the client has not acknowledged (tcp(7))."""


class Outlet:
    """Of one response. is_ours: whether `send` leads straight to our own HTTP server, so that what
    it is given goes out as it is, and what stays behind is seen."""

    def __init__(self, scope: Scope, send: Send, *, is_ours: bool) -> None:
        self._send = send
        self._transport: asyncio.Transport | None = scope.get(TRANSPORT_KEY) if is_ours else None
        self._socket: socket.socket | None = None
        self._is_waiting = False
        self._written = 0
        self._on_stall: Callable[[], None] = lambda: None
        self._look_every_s = 0.0
        self._seen: tuple[int, int, int] | None = None
        self._still = 0
        self._timer: asyncio.TimerHandle | None = None
        if self._transport is not None and self._transport.is_closing():
            self._transport = None  # the client has left already; nothing can be set any more
        if self._transport is not None:
            self._transport.set_write_buffer_limits(high=0)  # a write is over when all is written
            self._socket = self._transport.get_extra_info("socket")
            _bound_unsent(self._socket)

    async def write(self, piece: memoryview) -> None:
        """Send it, and wait until it may be overwritten."""
        self._is_waiting = True
        self._written += len(piece)
        body = bytes(piece) if self._transport is None else piece
        await self._send({"type": "http.response.body", "body": body, "more_body": True})
        if self._transport is not None and self._transport.get_write_buffer_size():
            await self._send({"type": "http.response.body", "body": b"", "more_body": True})
        self._is_waiting = False

    async def end(self) -> None:
        """The body is whole."""
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    def abort(self) -> None:
        """Break the connection off, if it is in sight."""
        if self._transport is not None:
            self._transport.abort()

    @contextmanager
    def watched(self, stall_s: float, on_stall: Callable[[], None]) -> Iterator[None]:
        """Call `on_stall` if within the block the client takes nothing for `stall_s`."""
        self._on_stall, self._look_every_s = on_stall, stall_s / _LOOKS
        self._look()
        try:
            yield
        finally:
            if self._timer is not None:
                self._timer.cancel()

    def _look(self) -> None:
        state = (self._written, self._buffered(), self._on_its_way())
        is_still = self._is_waiting and state == self._seen
        self._still, self._seen = self._still + 1 if is_still else 0, state
        if self._still >= _LOOKS:
            self._on_stall()
        else:
            self._timer = asyncio.get_running_loop().call_later(self._look_every_s, self._look)

    def _buffered(self) -> int:
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def _on_its_way(self) -> int:
        if self._socket is None or _OUTGOING is None:
            return 0
        try:
            answer = fcntl.ioctl(self._socket.fileno(), _OUTGOING, bytes(4))
        except (OSError, ValueError):  # it was closed; uvloop's has a negative number then
            return 0
        return int(struct.unpack("i", answer)[0])


def _bound_unsent(connection: socket.socket | None) -> None:
    option = getattr(socket, "TCP_NOTSENT_LOWAT", None)
    if connection is not None and option is not None and connection.family != socket.AF_UNIX:
        connection.setsockopt(socket.IPPROTO_TCP, option, UNSENT_MAX_BYTES)
