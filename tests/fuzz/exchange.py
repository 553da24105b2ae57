"""Sends messages over connections of their own, several at once, and takes down what comes back."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from tests.fuzz.messages import Message

ANSWERED_WITHIN_S = 20.0
"""Far more than any answer takes, the timeout of a silent body (2 s) included."""

LINGER_S = 0.1
"""How long a connection that does not end at once waits for an answer first."""

_GAP_S = 0.001
_READ_BYTES = 256 * 1024
_RESET = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True)
class Reply:
    """All that the server sent on a connection. cut: it or we ended it by a reset, so that the end
    of what it sent may be missing."""

    data: bytes
    cut: bool


async def exchange(address: tuple[str, int], messages: Sequence[Message]) -> list[Reply]:
    """The replies to `messages`, in their order. TimeoutError if the server neither answers nor
    closes."""
    async with asyncio.timeout(ANSWERED_WITHIN_S):
        return await asyncio.gather(*(_one(address, message) for message in messages))


async def _one(address: tuple[str, int], message: Message) -> Reply:
    loop = asyncio.get_running_loop()
    with socket.socket() as connection:
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await loop.sock_connect(connection, address)
        received = bytearray()
        reading = asyncio.create_task(_read(connection, received))
        try:
            await _send(connection, message)
            if message.ending == "linger":
                await asyncio.wait([reading], timeout=LINGER_S)
            if message.ending == "reset":
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                return Reply(bytes(received), cut=True)
            _finish(connection)
            orderly = await reading
            return Reply(bytes(received), cut=not orderly)
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)


async def _send(connection: socket.socket, message: Message) -> None:
    loop = asyncio.get_running_loop()
    try:
        for number, piece in enumerate(message.pieces):
            if number:
                # So that the server reads the pieces apart. When it has read cannot be seen from
                # outside; that it mostly has is enough.
                await asyncio.sleep(_GAP_S)
            await loop.sock_sendall(connection, piece)
    except (BrokenPipeError, ConnectionResetError):
        pass  # it refused; what it said is what counts


def _finish(connection: socket.socket) -> None:
    with suppress(OSError):  # closed by the server already
        connection.shutdown(socket.SHUT_WR)


async def _read(connection: socket.socket, received: bytearray) -> bool:
    """Read to the end; whether it was an orderly one."""
    loop = asyncio.get_running_loop()
    try:
        while data := await loop.sock_recv(connection, _READ_BYTES):
            received += data
    except ConnectionResetError:
        return False
    return True
