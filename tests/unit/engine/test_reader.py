"""The body reader: interrupted at any time, it loses no byte."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest

from tests.support.bodies import MIB
from tusd_s3.budget import MemoryBudget
from tusd_s3.engine.reader import DRAIN_MAX_S, DRAIN_PAUSE_S, BodyReader
from tusd_s3.ports import BodyEnd, StopReason


class Source:
    """A body that a test feeds; cancelling a read loses nothing, as the port demands."""

    def __init__(self) -> None:
        self.account = MemoryBudget(64 * MIB, 5 * MIB).open()
        self._queue: asyncio.Queue[bytes | BodyEnd] = asyncio.Queue()
        self._end: BodyEnd | None = None

    def send(self, item: bytes | BodyEnd) -> None:
        self._queue.put_nowait(item)

    async def read(self) -> bytes | BodyEnd:
        return await self._queue.get()

    def trim(self) -> None:
        """It keeps no room."""


def reader_of(source: Source, *, silence_s: float = 60, housekeeping_s: float = 60) -> BodyReader:
    return BodyReader(source, silence_max_s=silence_s, housekeeping_s=housekeeping_s)


async def collect(reader: BodyReader) -> tuple[bytes, BodyEnd | StopReason]:
    body = bytearray()
    with reader:
        while True:
            item = await reader.read()
            if isinstance(item, bytes | memoryview):
                body += item
            elif item is not None:
                return bytes(body), item


async def test_chunks_and_the_end_come_through() -> None:
    source = Source()
    for item in (b"ab", b"c", BodyEnd.COMPLETE):
        source.send(item)
    assert await collect(reader_of(source)) == (b"abc", BodyEnd.COMPLETE)


async def test_what_is_unread_is_read_again_in_its_order_before_all_else() -> None:
    source = Source()
    for item in (b"ab", b"c", BodyEnd.COMPLETE):
        source.send(item)
    reader = reader_of(source)
    with reader:
        first = await reader.read()
    reader.stop(StopReason.LEASE_LOST)
    reader.unread([first, None])
    assert [await reader.read() for _ in range(3)] == [b"ab", None, StopReason.LEASE_LOST]


async def test_a_client_that_goes_away_ends_the_body() -> None:
    source = Source()
    source.send(b"ab")
    source.send(BodyEnd.DISCONNECTED)
    assert await collect(reader_of(source)) == (b"ab", BodyEnd.DISCONNECTED)


async def test_silence_ends_the_body_and_keeps_what_came() -> None:
    source = Source()
    source.send(b"ab")
    async with asyncio.timeout(5):
        assert await collect(reader_of(source, silence_s=0.05)) == (b"ab", StopReason.SILENCE)


async def test_bytes_that_keep_coming_are_no_silence() -> None:
    source = Source()

    async def trickle() -> None:
        for _ in range(8):
            source.send(b"x")
            await asyncio.sleep(0.05)
        source.send(BodyEnd.COMPLETE)

    async with asyncio.TaskGroup() as group:
        group.create_task(trickle())
        collected = group.create_task(collect(reader_of(source, silence_s=0.2)))
    assert collected.result() == (b"x" * 8, BodyEnd.COMPLETE)


@pytest.mark.parametrize("reason", [StopReason.RELEASE_REQUESTED, StopReason.SHUTDOWN])
async def test_a_request_to_let_go_ends_a_waiting_body_within_moments(reason: StopReason) -> None:
    source = Source()
    reader = reader_of(source)
    collecting = asyncio.create_task(collect(reader))
    source.send(b"ab")
    await asyncio.sleep(0)
    reader.stop(reason)
    async with asyncio.timeout(DRAIN_MAX_S):
        assert await collecting == (b"ab", reason)


async def test_what_is_at_hand_is_drained_before_letting_go() -> None:
    source = Source()
    reader = reader_of(source)
    for _ in range(1000):
        source.send(b"x")
    reader.stop(StopReason.RELEASE_REQUESTED)
    assert await collect(reader) == (b"x" * 1000, StopReason.RELEASE_REQUESTED)


async def test_a_pause_of_the_process_is_not_the_client_s() -> None:
    """While the loop stands still, bytes arrive and the timer runs out. Timers come first then."""
    source = Source()
    reader = reader_of(source)
    near, far = socket.socketpair()
    near.setblocking(False)
    loop = asyncio.get_running_loop()
    loop.add_reader(near, lambda: source.send(near.recv(10) or BodyEnd.COMPLETE))
    with near, far:
        collecting = asyncio.create_task(collect(reader))
        await asyncio.sleep(0)
        reader.stop(StopReason.RELEASE_REQUESTED)
        await asyncio.sleep(0)
        far.send(b"at hand")
        time.sleep(2 * DRAIN_PAUSE_S)  # noqa: ASYNC251 - the loop is to stand still
        body, end = await collecting
        loop.remove_reader(near)
    assert (body, end) == (b"at hand", StopReason.RELEASE_REQUESTED)


async def test_bytes_that_come_with_short_pauses_are_drained_too() -> None:
    source = Source()
    reader = reader_of(source)

    async def trickle() -> None:
        for _ in range(30):
            source.send(b"x")
            await asyncio.sleep(DRAIN_PAUSE_S / 10)
        source.send(BodyEnd.COMPLETE)

    async with asyncio.TaskGroup() as group:
        group.create_task(trickle())
        collecting = group.create_task(collect(reader))
        await asyncio.sleep(0)
        reader.stop(StopReason.SHUTDOWN)
    assert collecting.result() == (b"x" * 30, BodyEnd.COMPLETE)


async def test_a_body_that_goes_on_is_cut_when_the_drain_has_lasted_long_enough() -> None:
    source = Source()
    reader = reader_of(source)
    fed = 0

    async def feed() -> None:
        nonlocal fed
        while True:
            source.send(b"x")
            fed += 1
            await asyncio.sleep(0.001)

    feeding = asyncio.create_task(feed())
    reader.stop(StopReason.RELEASE_REQUESTED)
    async with asyncio.timeout(10 * DRAIN_MAX_S):
        body, end = await collect(reader)
    feeding.cancel()
    assert end is StopReason.RELEASE_REQUESTED
    assert 0 < len(body) <= fed


async def test_a_lost_lease_ends_the_body_at_once() -> None:
    source = Source()
    source.send(b"never read")
    reader = reader_of(source)
    reader.stop(StopReason.LEASE_LOST)
    assert await collect(reader) == (b"", StopReason.LEASE_LOST)


async def test_an_interrupted_read_loses_no_byte() -> None:
    """The chunk arrives in the very moment of the interruption: the next read yields it."""
    source = Source()
    reader = reader_of(source, housekeeping_s=0.01)
    got = bytearray()
    with reader:
        for _ in range(50):
            source.send(b"x")
            while not isinstance(item := await reader.read(), bytes):
                assert item is None
            got += item
            waiting = asyncio.create_task(asyncio.sleep(0.011))
            waiting.add_done_callback(lambda _: source.send(b"y"))
            while not isinstance(item := await reader.read(), bytes):
                assert item is None
            got += item
    assert bytes(got) == b"xy" * 50


async def test_housekeeping_is_due_only_after_bytes_came() -> None:
    source = Source()
    reader = reader_of(source, silence_s=0.5, housekeeping_s=0.05)
    seen: list[object] = []
    source.send(b"ab")
    with reader:
        while not isinstance(item := await reader.read(), StopReason):
            seen.append(item)
    assert seen == [b"ab", None]
    assert item is StopReason.SILENCE


async def test_a_cancellation_from_outside_is_not_swallowed() -> None:
    reading = asyncio.create_task(collect(reader_of(Source())))
    await asyncio.sleep(0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
