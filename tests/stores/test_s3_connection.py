"""How the body of a request to S3 goes out: piece by piece, in turns, as fast as S3 takes it.

In place of the transport is one that notes what it is given and says when it is full.
"""

from __future__ import annotations

import asyncio
import ctypes
import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest

from tests.support.bodies import KIB, MIB, body_of
from tests.support.scripted_s3 import STORED
from tusd_s3.model.chunk import Chunk
from tusd_s3.pace import TURN_BYTES, Pace
from tusd_s3.stores.s3.answers import DisconnectedError, ExchangeError
from tusd_s3.stores.s3.connection import TLS_WRITE_BYTES, WRITE_BYTES, Connection, Request

HEAD = b"PUT / HTTP/1.1\r\n\r\n"
TIMEOUT_S = 5.0


class Notes(asyncio.Transport):
    """`writes`: what each write was given. `late_count`: how many of them came after the end. It is
    full after so many bytes as `room` says."""

    def __init__(self, connection: Connection, room: int) -> None:
        self._connection, self._room = connection, room
        self.writes = list[bytes]()
        self.late_count = 0
        self.changed = asyncio.Event()
        self._held = 0
        self._is_closing = False

    @property
    def body(self) -> bytes:
        assert self.writes[0] == HEAD
        return b"".join(self.writes[1:])

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """They are the test's."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.writelines([data])

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        self.changed.set()
        self.late_count += self._is_closing
        self.writes.append(b"".join(list_of_data))
        if self.writes[-1] != HEAD:
            self._held += len(self.writes[-1])
        if self._held >= self._room:
            self._connection.pause_writing()

    def get_write_buffer_size(self) -> int:
        return self._held

    def drain(self) -> None:
        """S3 took everything."""
        was_full = self._held >= self._room
        self._held = 0
        if was_full:
            self._connection.resume_writing()

    def is_closing(self) -> bool:
        return self._is_closing

    def abort(self) -> None:
        self._is_closing = True


class Clock:
    """An event loop as a connection sees it, whose time is told."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._now_s = 0.0
        self._timers = list[tuple[float, Callable[[], None]]]()

    def time(self) -> float:
        return self._now_s

    def create_future(self) -> asyncio.Future[Any]:
        return self._loop.create_future()

    def call_later(self, delay_s: float, call: Callable[[], None]) -> object:
        self._timers.append((self._now_s + delay_s, call))
        return object()

    def advance(self, by_s: float) -> None:
        self._now_s += by_s
        due = [timer for timer in self._timers if timer[0] <= self._now_s]
        self._timers = [timer for timer in self._timers if timer[0] > self._now_s]
        for _, call in due:
            call()


class Exchange:
    """One under way, begun in a turn of the event loop of which nothing is spent."""

    def __init__(
        self,
        chunks: Sequence[Chunk],
        *,
        room: int = 10**12,
        write_bytes: int = WRITE_BYTES,
        pace: Pace | None = None,
    ) -> None:
        self.progress = 0
        self.pace = pace or Pace()
        self.connection = Connection(
            TIMEOUT_S, lambda _: None, pace=self.pace, write_bytes=write_bytes
        )
        self.notes = Notes(self.connection, room)
        self.connection.connection_made(self.notes)
        self.begin(chunks)

    def begin(self, chunks: Sequence[Chunk]) -> None:
        """Another one, on the same connection."""
        self.notes.writes.clear()
        request = Request(HEAD, chunks, sum(map(len, chunks)), self._progressed)
        self.task = asyncio.ensure_future(self.connection.exchange(request))

    def _progressed(self) -> None:
        self.progress += 1

    async def written(self, size: int) -> None:
        """Return once so much of the body was."""
        async with asyncio.timeout(10):
            while not self.notes.writes or len(self.notes.body) < size:
                await self.notes.changed.wait()
                self.notes.changed.clear()
        await turns(3)  # it must not be more, either
        assert len(self.notes.body) == size

    async def answered(self) -> None:
        """S3 takes the rest, and says that it is stored."""
        self.notes.drain()
        self.connection.data_received(STORED)
        async with asyncio.timeout(10):
            assert (await self.task).status == 200


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def cut(body: bytes, size: int) -> list[bytes]:
    return [body[start : start + size] for start in range(0, len(body), size)]


@pytest.mark.parametrize("write_bytes", [WRITE_BYTES, TLS_WRITE_BYTES], ids=["plain", "tls"])
@pytest.mark.parametrize("chunk", [KIB, 100_000, 4 * MIB, 64 * MIB])
async def test_however_it_is_cut_it_goes_out_in_pieces_of_one_size(
    chunk: int, write_bytes: int
) -> None:
    body = body_of(8 * MIB + 12_345)
    exchange = Exchange(cut(body, chunk), write_bytes=write_bytes)
    await exchange.written(len(body))
    assert exchange.notes.body == body
    *whole, last = (len(write) for write in exchange.notes.writes[1:])
    assert whole == [write_bytes] * (len(body) // write_bytes)
    assert last == len(body) % write_bytes
    assert exchange.progress == len(whole) + 1
    await exchange.answered()
    assert exchange.connection.is_open


async def test_what_fits_one_write_goes_out_with_its_head() -> None:
    exchange = Exchange([b"abc", b"", b"de"])
    await turns(1)
    assert exchange.notes.writes == [HEAD + b"abcde"]
    await exchange.answered()
    exchange.connection.resume_writing()  # uvloop may say so yet
    assert exchange.progress == 0


async def test_a_turn_of_the_loop_writes_no_more_than_its_allowance() -> None:
    exchange = Exchange([body_of(5 * MIB)])
    seen = []
    for _ in range(4):
        await turns(1)
        seen.append(len(exchange.notes.body))
    assert seen == [TURN_BYTES, 2 * TURN_BYTES, 5 * MIB, 5 * MIB]
    await exchange.answered()


async def test_bodies_at_once_take_turns() -> None:
    pace = Pace()
    bodies = [body_of(6 * MIB), body_of(6 * MIB)[::-1]]
    exchanges = [Exchange([body], pace=pace) for body in bodies]
    seen = list[list[int]]()
    while not seen or sum(seen[-1]) < 12 * MIB:
        await turns(1)
        seen.append([len(each.notes.body) for each in exchanges])
    assert max(abs(one - other) for one, other in seen) <= TURN_BYTES
    assert [each.notes.body for each in exchanges] == bodies
    for each in exchanges:
        await each.answered()


async def test_nothing_is_written_as_long_as_the_transport_is_full() -> None:
    body = body_of(4 * MIB)
    exchange = Exchange([body], room=MIB)
    for count in range(1, 5):
        await exchange.written(count * MIB)
        assert exchange.progress == count - 1
        exchange.notes.drain()
        assert exchange.progress == count
    assert exchange.notes.body == body
    await exchange.answered()


async def test_what_waits_for_its_turn_when_the_call_is_cancelled_is_not_written() -> None:
    exchange = Exchange([body_of(9 * MIB)])
    await turns(1)
    exchange.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await exchange.task
    await turns(9)
    assert exchange.notes.late_count == 0
    assert len(exchange.notes.body) < 9 * MIB
    assert not exchange.connection.is_open


async def test_a_cancelled_call_keeps_no_memory() -> None:
    memory = (ctypes.c_char * (4 * MIB)).from_buffer(bytearray(4 * MIB))
    is_kept = weakref.ref(memory)
    exchange = Exchange([memoryview(memory)], room=MIB)
    del memory
    await exchange.written(MIB)
    assert is_kept() is not None
    exchange.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await exchange.task
    del exchange.task  # and its traceback
    await turns(3)
    assert is_kept() is None


async def test_what_waits_when_the_connection_is_lost_is_not_written() -> None:
    exchange = Exchange([body_of(9 * MIB)])
    await turns(1)
    exchange.notes.abort()
    exchange.connection.connection_lost(None)
    with pytest.raises(DisconnectedError):
        await exchange.task
    await turns(9)
    assert len(exchange.notes.body) == TURN_BYTES


async def test_a_refusal_in_the_midst_of_the_body_ends_the_body() -> None:
    exchange = Exchange([body_of(9 * MIB)], room=MIB)
    await exchange.written(MIB)
    exchange.connection.data_received(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n")
    exchange.notes.drain()  # uvloop may say so yet
    assert (await exchange.task).status == 403
    await turns(9)
    assert len(exchange.notes.body) == MIB
    assert not exchange.connection.is_open


async def test_a_success_before_the_end_of_the_body_is_none() -> None:
    exchange = Exchange([body_of(9 * MIB)], room=MIB)
    await exchange.written(MIB)
    exchange.connection.data_received(STORED)
    with pytest.raises(ExchangeError):
        await exchange.task
    assert not exchange.connection.is_open


async def test_the_next_body_on_the_same_connection_begins_at_its_beginning() -> None:
    exchange = Exchange([body_of(3 * MIB)], room=3 * MIB)
    await exchange.written(3 * MIB)
    await exchange.answered()
    body = body_of(2 * MIB)[::-1]
    exchange.begin([body])
    await exchange.written(len(body))
    assert exchange.notes.body == body
    await exchange.answered()


def with_clock(exchange: Exchange, monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(exchange.connection, "_loop", clock)
    return clock


async def test_a_store_that_takes_a_little_now_and_then_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    exchange = Exchange([body_of(4 * MIB)], room=MIB)
    clock = with_clock(exchange, monkeypatch)
    for count in range(1, 5):
        await exchange.written(count * MIB)
        clock.advance(TIMEOUT_S - 0.01)
        exchange.notes.drain()
    clock.advance(TIMEOUT_S - 0.01)
    await exchange.answered()


async def test_a_long_wait_for_turns_is_not_held_against_the_store(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    exchange = Exchange([body_of(6 * MIB)])
    clock = with_clock(exchange, monkeypatch)
    for _ in range(3):
        await turns(1)
        clock.advance(TIMEOUT_S - 0.01)
    await exchange.answered()


@pytest.mark.parametrize("taken", [1, 4], ids=["of the body", "of the answer"])
async def test_a_store_that_takes_nothing_is_given_up(
    monkeypatch: pytest.MonkeyPatch, taken: int
) -> None:
    exchange = Exchange([body_of(4 * MIB)], room=MIB)
    clock = with_clock(exchange, monkeypatch)
    for count in range(1, taken + 1):
        await exchange.written(count * MIB)
        if count < taken:
            clock.advance(TIMEOUT_S - 0.01)
            exchange.notes.drain()
    for _ in range(3):  # a look comes when the oldest movement is old, and looks again then
        clock.advance(TIMEOUT_S)
    with pytest.raises(TimeoutError):
        await exchange.task
    assert not exchange.connection.is_open
    assert len(exchange.notes.body) == taken * MIB
