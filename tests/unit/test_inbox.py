"""A body between the HTTP server and the application: nothing lost, nothing counted twice."""

from __future__ import annotations

import asyncio
import random

import pytest

from tests.support.bodies import KIB, MIB
from tusd_s3.app.inbox import TINY_BYTES, Inbox
from tusd_s3.blocks import LARGE_BLOCK_BYTES, SMALL_BLOCK_BYTES
from tusd_s3.budget import READ_MAX_BYTES, MemoryBudget
from tusd_s3.model.chunk import Chunk
from tusd_s3.ports import BodyEnd


def budget_of(total: int = 64 * MIB) -> MemoryBudget:
    return MemoryBudget(total, 5 * MIB)


def inbox_of(budget: MemoryBudget | None = None) -> Inbox:
    return Inbox(budget_of() if budget is None else budget, lambda: None)


async def next_chunk(inbox: Inbox) -> Chunk:
    chunk = await inbox.read()
    assert not isinstance(chunk, BodyEnd)
    return chunk


@pytest.mark.parametrize("seed", range(20))
async def test_what_comes_out_is_what_went_in_and_what_is_charged(seed: int) -> None:
    rng = random.Random(seed)
    budget = budget_of()
    inbox = inbox_of(budget)
    buffer = bytearray(READ_MAX_BYTES)
    sent, got, kept = bytearray(), bytearray(), list[Chunk]()
    for _ in range(60):
        most = inbox.room_bytes or READ_MAX_BYTES
        size = rng.choice([1, 100, TINY_BYTES, 20 * KIB, SMALL_BLOCK_BYTES, READ_MAX_BYTES])
        size = rng.randint(1, min(size, most))
        buffer[:size] = rng.randbytes(size)
        sent += buffer[:size]
        inbox.push(memoryview(buffer)[:size])
        buffer[:] = bytes(READ_MAX_BYTES)  # whoever read it uses the memory again
        kept.append(await next_chunk(inbox))
        assert inbox.account.held_bytes == len(sent) + inbox.room_bytes
        if rng.random() < 0.1:
            inbox.trim()
            assert inbox.account.held_bytes == len(sent)
    for chunk in kept:
        got += chunk
    assert got == sent


async def test_the_end_gives_back_what_was_charged_for_bytes_that_did_not_come() -> None:
    inbox = inbox_of()
    inbox.push(bytes(100 * KIB))
    assert inbox.account.held_bytes == READ_MAX_BYTES
    inbox.end(BodyEnd.COMPLETE)
    assert inbox.account.held_bytes == 100 * KIB
    assert len(await next_chunk(inbox)) == 100 * KIB
    assert await inbox.read() is BodyEnd.COMPLETE


@pytest.mark.parametrize(
    ("size", "charged"),
    [
        (1, 1),
        (TINY_BYTES - 1, TINY_BYTES - 1),
        (TINY_BYTES, SMALL_BLOCK_BYTES),
        (SMALL_BLOCK_BYTES, SMALL_BLOCK_BYTES),
        (SMALL_BLOCK_BYTES + 1, READ_MAX_BYTES),
        (READ_MAX_BYTES - TINY_BYTES, READ_MAX_BYTES),
        (READ_MAX_BYTES - TINY_BYTES + 1, READ_MAX_BYTES - TINY_BYTES + 1),
        (READ_MAX_BYTES, READ_MAX_BYTES),
    ],
)
async def test_a_block_fits_what_comes_at_once(size: int, charged: int) -> None:
    inbox = inbox_of()
    inbox.push(bytes(size))
    assert inbox.account.held_bytes == charged


async def test_where_there_is_no_room_for_a_block_only_what_came_is_charged() -> None:
    budget = budget_of(10 * MIB)
    budget.book().charge(5 * MIB)
    inbox = inbox_of(budget)
    inbox.push(bytes(20 * KIB))
    assert (inbox.account.held_bytes, inbox.room_bytes) == (20 * KIB, 0)


async def test_nothing_is_kept_for_whoever_has_gone() -> None:
    budget = budget_of()
    inbox = inbox_of(budget)
    inbox.push(bytes(MIB // 8))
    inbox.close()
    inbox.push(bytes(MIB // 8))
    assert (budget.used_bytes, budget.blocks.used_count, budget.body_count) == (0, 0, 0)


async def test_a_chunk_cannot_be_written_to() -> None:
    inbox = inbox_of()
    inbox.push(bytes(100 * KIB))
    chunk = await next_chunk(inbox)
    assert isinstance(chunk, memoryview)
    assert chunk.readonly


async def test_a_read_that_was_cancelled_loses_nothing() -> None:
    inbox = inbox_of()
    waiting = asyncio.create_task(inbox.read())
    await asyncio.sleep(0)
    inbox.push(b"abc")
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert await inbox.read() == b"abc"


async def wanting(inbox: Inbox) -> asyncio.Task[Chunk]:
    """Somebody who waits for the next chunk."""
    waiting = asyncio.create_task(next_chunk(inbox))
    await asyncio.sleep(0)
    return waiting


async def fast_inbox(budget: MemoryBudget) -> Inbox:
    """One that has just been read from as much as is read at once."""
    inbox = inbox_of(budget)
    inbox.push(bytes(READ_MAX_BYTES))
    await next_chunk(inbox)
    return inbox


@pytest.mark.parametrize("seed", range(20))
async def test_what_is_read_straight_into_blocks_comes_out_as_it_came(seed: int) -> None:
    rng = random.Random(seed)
    budget = budget_of()
    inbox = await fast_inbox(budget)
    sent, kept, direct = bytearray(), list[Chunk](), 0
    for _ in range(40):
        waiting = await wanting(inbox)
        left = rng.choice([5000, READ_MAX_BYTES, 8 * MIB, 8 * MIB])
        room = inbox.buffer(left)
        if room is None:
            size = min(
                rng.choice([1, READ_MAX_BYTES, READ_MAX_BYTES]), inbox.room_bytes or READ_MAX_BYTES
            )
            data = rng.randbytes(size)
            inbox.push(data)
        else:
            direct += 1
            assert len(room) <= left
            size = rng.choice([1, len(room) // 2 or 1, len(room)])
            data = rng.randbytes(size)
            room[:size] = data
            inbox.filled(size)
        sent += data
        kept.append(await waiting)
        assert inbox.account.held_bytes == READ_MAX_BYTES + len(sent) + inbox.room_bytes
    assert b"".join(kept) == sent
    assert direct > 5


async def test_only_a_body_that_comes_fast_is_read_straight_into_its_block() -> None:
    inbox = inbox_of()
    waiting = await wanting(inbox)
    assert inbox.buffer(8 * MIB) is None
    inbox.push(bytes(READ_MAX_BYTES - 1))
    await waiting
    waiting = await wanting(inbox)
    assert inbox.buffer(8 * MIB) is None
    inbox.push(bytes(READ_MAX_BYTES))
    await waiting
    waiting = await wanting(inbox)
    room = inbox.buffer(8 * MIB)
    assert room is not None
    assert len(room) == LARGE_BLOCK_BYTES
    inbox.filled(SMALL_BLOCK_BYTES - 1)
    await waiting
    waiting = await wanting(inbox)
    assert inbox.buffer(8 * MIB) is None
    waiting.cancel()


async def test_nothing_is_read_straight_while_nobody_waits() -> None:
    inbox = await fast_inbox(budget_of())
    assert inbox.buffer(8 * MIB) is None


@pytest.mark.parametrize(
    ("free", "left", "length"),
    [
        (LARGE_BLOCK_BYTES, 8 * MIB, LARGE_BLOCK_BYTES),
        (LARGE_BLOCK_BYTES - 1, 8 * MIB, READ_MAX_BYTES),
        (READ_MAX_BYTES, 8 * MIB, READ_MAX_BYTES),
        (READ_MAX_BYTES - 1, 8 * MIB, None),
        (8 * MIB, READ_MAX_BYTES + 1, READ_MAX_BYTES + 1),
        (8 * MIB, READ_MAX_BYTES, READ_MAX_BYTES),
        (8 * MIB, 1, 1),
    ],
)
async def test_how_much_is_read_at_once_follows_room_and_need(
    free: int, left: int, length: int | None
) -> None:
    budget = budget_of()
    inbox = await fast_inbox(budget)
    budget.book().charge(budget.free_bytes - free)
    waiting = await wanting(inbox)
    room = inbox.buffer(left)
    assert (None if room is None else len(room)) == length
    is_large = length is not None and length > READ_MAX_BYTES
    block = LARGE_BLOCK_BYTES if is_large else READ_MAX_BYTES if length is not None else 0
    assert inbox.account.held_bytes == READ_MAX_BYTES + block
    waiting.cancel()


async def test_of_a_block_that_was_read_into_the_rest_is_used_first_and_given_back_at_the_end() -> (
    None
):
    budget = budget_of()
    inbox = await fast_inbox(budget)
    waiting = await wanting(inbox)
    assert inbox.buffer(8 * MIB) is not None
    inbox.filled(LARGE_BLOCK_BYTES - 10_000)
    await waiting
    waiting = await wanting(inbox)
    room = inbox.buffer(8 * MIB)
    assert room is not None
    assert len(room) == 10_000
    inbox.end(BodyEnd.DISCONNECTED)
    waiting.cancel()
    assert inbox.account.held_bytes == READ_MAX_BYTES + LARGE_BLOCK_BYTES - 10_000


async def test_many_bodies_have_no_large_blocks_which_parts_would_share() -> None:
    budget = budget_of(64 * MIB)
    silent = [inbox_of(budget) for _ in range(100)]  # who holds nothing does not count
    others = [inbox_of(budget) for _ in range(64 * MIB // 16 // LARGE_BLOCK_BYTES)]
    for other in others:
        other.push(b"1")
    inbox = await fast_inbox(budget)
    waiting = await wanting(inbox)
    room = inbox.buffer(8 * MIB)
    assert room is not None
    assert len(room) == READ_MAX_BYTES
    inbox.filled(len(room))
    await waiting
    others[0].close()
    assert len(silent) == 100
    waiting = await wanting(inbox)
    room = inbox.buffer(8 * MIB)
    assert room is not None
    assert len(room) == LARGE_BLOCK_BYTES
    waiting.cancel()
