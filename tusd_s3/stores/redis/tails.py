"""Tails on their way to Redis: the chunks of a body as one value, which nothing joins.

redis-py packs a command into one piece of memory, and wants its value in one piece before that.
Megabytes that are there twice more are what nobody has counted on, and fresh memory for them costs
more than sending them. On the wire a value is its length and its bytes (RESP, bulk strings).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ResponseError

from tusd_s3.blocks import Blocks
from tusd_s3.model.chunk import Chunk
from tusd_s3.stores.redis.cluster import ClusterClient
from tusd_s3.stores.redis.topology import Client


class TailCommand:
    """A command that stores `tail`, between its other arguments."""

    def __init__(
        self, before: Sequence[str | int], tail: Sequence[Chunk], after: Sequence[str | int] = ()
    ) -> None:
        self._before = before
        self._tail = tail
        self._after = after

    @property
    def joined(self) -> list[str | int | bytes]:
        """All arguments, for who needs them in one piece each."""
        return [*self._before, b"".join(self._tail), *self._after]

    def packed(self) -> list[Chunk]:
        """What goes out on the wire, in pieces."""
        count = len(self._before) + 1 + len(self._after)
        head = [b"*%d\r\n" % count, *map(_bulk, self._before)]
        head.append(b"$%d\r\n" % sum(map(len, self._tail)))
        end = [b"\r\n", *map(_bulk, self._after)]
        return [b"".join(head), *self._tail, b"".join(end)]


async def store_and_run(
    client: Client, command: TailCommand, script: Sequence[str | int]
) -> object:
    """Both in one round trip, one after the other; what the second one answers.

    script: the other command, whole. Repeated as redis-py repeats its pipelines. Raises one of
    `FAILURES`; a refusal of the first one before one of the second.
    """
    if isinstance(client, ClusterClient):
        calls = client.pipeline(transaction=False)
        calls.execute_command(*command.joined)
        calls.execute_command(*script)
        answers = await calls.execute()
        return answers[-1]
    pool = client.connection_pool
    connection = await pool.get_connection()  # type: ignore[no-untyped-call] # redis-py's

    async def exchange() -> list[object]:
        packed = [*command.packed(), *connection.pack_command(*script)]
        await connection.send_packed_command(packed)
        return [await _answer(connection), await _answer(connection)]

    async def leave(_: Exception) -> None:
        await connection.disconnect()

    try:
        answers = await connection.retry.call_with_retry(exchange, leave)
    finally:
        await pool.release(connection)
    for answer in answers:
        if isinstance(answer, ResponseError):
            raise answer
    return answers[-1]


async def fetch(client: Client, key: str, size: int, blocks: Blocks) -> list[Chunk]:
    """The first `size` bytes of a tail, or what is there of them, in blocks.

    Each piece that comes is copied where it stays before the next one is read: one piece of memory
    for all of it would be fresh, and there twice. Raises one of `FAILURES`.
    """
    ranges = [(start, min(start + blocks.size, size) - 1) for start in range(0, size, blocks.size)]
    if isinstance(client, ClusterClient):
        pieces: list[Any] = [await client.getrange(key, *both) for both in ranges]
        return pieces
    connection = await client.connection_pool.get_connection()  # type: ignore[no-untyped-call] # redis-py's

    async def exchange() -> list[Chunk]:
        calls = [("GETRANGE", key, *both) for both in ranges]
        await connection.send_packed_command(connection.pack_commands(calls))
        return [_kept(await connection.read_response(), blocks) for _ in calls]

    try:
        kept: list[Chunk] = await connection.retry.call_with_retry(
            exchange, lambda _: connection.disconnect()
        )
        return kept
    except ResponseError:
        await connection.disconnect()  # there are answers behind it
        raise
    finally:
        await client.connection_pool.release(connection)


def _kept(piece: bytes, blocks: Blocks) -> Chunk:
    if len(piece) < blocks.size:
        return piece
    block = blocks.take()
    block[:] = piece
    return block.toreadonly()


async def _answer(connection: AbstractConnection) -> object:
    """The next answer, or a refusal: what comes behind that has to be read, too."""
    try:
        return await connection.read_response()
    except ResponseError as error:
        return error


def _bulk(argument: str | int) -> bytes:
    data = str(argument).encode()
    return b"$%d\r\n%b\r\n" % (len(data), data)
