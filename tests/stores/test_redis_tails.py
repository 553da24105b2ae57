"""Tails on their way to Redis and back: whole, uncopied, and without leaving a trace on failure."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Sequence

import pytest
from redis.exceptions import ResponseError

from tests.support.bodies import KIB, body_of
from tests.support.memory import blocks
from tests.support.server import StoreSettings
from tusd_s3.model.chunk import Chunk
from tusd_s3.stores.redis import RedisOptions, open_redis
from tusd_s3.stores.redis.client import Client
from tusd_s3.stores.redis.tails import TailCommand, fetch, store_and_run

BLOCK = blocks().size
SIZES = [1, 2 * KIB, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK, 3 * BLOCK + 77]


@pytest.fixture
async def client(stores: StoreSettings) -> AsyncIterator[Client]:
    async with open_redis(RedisOptions(url=stores.redis_url, prefix="", timeout_s=5)) as client:
        yield client


@pytest.fixture
def key() -> str:
    return f"{{{secrets.token_hex(8)}}}:tail"


def script(key: str, value: str) -> Sequence[str | int]:
    """Says how long what is stored there is, and what it was told."""
    return ("EVAL", "return {redis.call('STRLEN', KEYS[1]), ARGV[1]}", 1, key, value)


def pieces_of(body: bytes) -> list[Chunk]:
    """In chunks of both kinds, none of them at a border of a block."""
    view = memoryview(body)
    cut = len(body) // 3
    return [chunk for chunk in (body[:cut], view[cut : 2 * cut], view[2 * cut :]) if len(chunk)]


@pytest.mark.parametrize("size", SIZES)
async def test_what_is_stored_is_what_comes_back(client: Client, key: str, size: int) -> None:
    body = body_of(size)
    told = await store_and_run(client, TailCommand(("SET", key), pieces_of(body)), script(key, "x"))
    assert told == [size, b"x"]
    found = await fetch(client, key, size, blocks())
    assert b"".join(found) == body
    assert max(map(len, found)) <= BLOCK


async def test_bytes_are_added_where_they_belong(client: Client, key: str) -> None:
    await store_and_run(
        client, TailCommand(("SET", key), [b"abc"], ("PX", 60_000)), script(key, "")
    )
    await store_and_run(client, TailCommand(("SETRANGE", key, 3), [b"d", b"ef"]), script(key, ""))
    assert b"".join(await fetch(client, key, 6, blocks())) == b"abcdef"
    assert b"".join(await fetch(client, key, 4, blocks())) == b"abcd"


async def test_of_a_tail_that_is_shorter_comes_what_is_there(client: Client, key: str) -> None:
    await client.set(key, b"abc")
    assert b"".join(await fetch(client, key, 3 * BLOCK, blocks())) == b"abc"
    assert b"".join(await fetch(client, f"{key}:none", 10, blocks())) == b""


async def test_a_refusal_leaves_the_connection_in_step(client: Client, key: str) -> None:
    """What comes behind it is read, or the connection is left."""
    other = f"{key}:list"
    await client.rpush(other, "x")
    for _ in range(3):
        command = TailCommand(("SETRANGE", other, 0), [b"abc"])
        with pytest.raises(ResponseError, match="WRONGTYPE"):
            await store_and_run(client, command, script(key, "unread"))
        with pytest.raises(ResponseError, match="WRONGTYPE"):
            await fetch(client, other, 3 * BLOCK, blocks())
        told = await store_and_run(client, TailCommand(("SET", key), [b"abc"]), script(key, "mine"))
        assert told == [3, b"mine"]


async def test_a_script_that_fails_is_told(client: Client, key: str) -> None:
    with pytest.raises(ResponseError):
        await store_and_run(client, TailCommand(("SET", key), [b"abc"]), ("EVAL", "nonsense(", 0))
    assert b"".join(await fetch(client, key, 3, blocks())) == b"abc"


async def test_what_comes_behind_a_refusal_is_read(client: Client, key: str) -> None:
    """Otherwise the next call would find it; redis-py leaves such a connection if it notices."""
    other = f"{key}:list"
    await client.rpush(other, "x")
    command, connection_id = TailCommand(("SET", key), [b"abc"]), ("CLIENT", "ID")
    before = await store_and_run(client, command, connection_id)
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        await store_and_run(client, TailCommand(("SETRANGE", other, 0), [b"abc"]), connection_id)
    assert await store_and_run(client, command, connection_id) == before
