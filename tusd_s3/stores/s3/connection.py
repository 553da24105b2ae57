"""One HTTP/1.1 connection to S3: a request out, an answer in, one after the other, no pipelining.

Written for the calls that make up the load: one future for each, a body that goes out as the
chunks it came in, and nothing beside. A connection is either known to be clean, or
it is closed: after an error, a cancellation, an answer that came too early or one with anything
behind it, nothing follows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, cast

from tusd_s3 import limits
from tusd_s3.model.chunk import Chunk
from tusd_s3.pace import Pace
from tusd_s3.stores.s3.answers import Answer, AnswerReader, DisconnectedError, ExchangeError

WRITE_BYTES: Final = limits.MIB
"""Handed to the transport at once, and what it may hold unsent before we wait: what a write costs
is for the most part the same however long it is."""

TLS_WRITE_BYTES: Final = 256 * limits.KIB
"""The same under TLS, which copies what it holds: this bounds the copies of one connection."""

_NOTHING: Final[Iterator[tuple[int, Sequence[Chunk]]]] = iter(())


@dataclass(frozen=True, slots=True)
class Request:
    """What goes out. head: up to and with the empty line; it says `size`, the sum of `chunks` in
    bytes. progressed: called now and then while the body moves."""

    head: bytes
    chunks: Sequence[Chunk]
    size: int
    progressed: Callable[[], None]

    def __post_init__(self) -> None:
        if sum(map(len, self.chunks)) != self.size:
            raise ValueError("what follows the body would be taken for the next request")


class Connection(asyncio.Protocol):
    """See above. opened_at_s, idle_since_s: on the loop's clock, for whoever keeps it.

    timeout_s: see `exchange`. pace: for bodies. write_bytes: `WRITE_BYTES`, or that of TLS.
    """

    def __init__(
        self,
        timeout_s: float,
        on_lost: Callable[[Connection], None],
        *,
        pace: Pace,
        write_bytes: int = WRITE_BYTES,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._timeout_s = timeout_s
        self._on_lost = on_lost
        self._pace = pace
        self._write_bytes = write_bytes
        self._transport: asyncio.Transport | None = None
        self._reader: AnswerReader | None = None
        self._outcome: asyncio.Future[Answer | Exception] | None = None
        self._request: Request | None = None
        self._pieces: Iterator[tuple[int, Sequence[Chunk]]] = _NOTHING
        self._timer: asyncio.TimerHandle | None = None
        self._moved_at_s = 0.0
        self._unsent_bytes = 0
        self._is_paused = False
        self.opened_at_s = self.idle_since_s = self._loop.time()

    @property
    def is_open(self) -> bool:
        """Whether a request may go out on it."""
        return self._transport is not None and not self._transport.is_closing()

    def close(self) -> None:
        """At once, whatever is unsent."""
        if self._transport is not None:
            self._transport.abort()

    async def exchange(self, request: Request) -> Answer:
        """Send `request` and wait for the answer; one at a time.

        An answer of success (2xx) came behind all bytes of the body. `is_open` says whether another
        request may follow. Raises DisconnectedError; TimeoutError when for `timeout_s` no byte of
        the body moved, or its answer was not whole so long after the last of them; ExchangeError
        for everything that is no answer to this request.
        """
        if not self.is_open:
            raise DisconnectedError(answered=False)
        self._request = request
        self._reader = AnswerReader()
        self._outcome = self._loop.create_future()
        self._unsent_bytes = request.size
        self._moved_at_s = self._loop.time()
        if self._timer is None:
            self._timer = self._loop.call_later(self._timeout_s, self._look)
        try:
            self._begin(request)
            outcome = await self._outcome
        except BaseException:
            self.close()  # cancelled: the rest of the answer is nobody's
            raise
        finally:
            self._request = self._reader = self._outcome = None
            self._pieces = _NOTHING
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def _begin(self, request: Request) -> None:
        """Send it. What is long goes on by itself, until the exchange ends."""
        assert self._transport is not None
        if request.size <= self._write_bytes:
            self._unsent_bytes = 0
            self._transport.writelines((request.head, *request.chunks))
            return
        self._transport.write(request.head)
        self._pieces = _pieces(request.chunks, self._write_bytes)
        self._go_on()

    def _go_on(self) -> None:
        """Write the next piece of the body, in this turn of the loop or a later one."""
        if (following := next(self._pieces, None)) is not None:
            size, piece = following
            self._pace.run(size, partial(self._write, size, piece))

    def _write(self, size: int, piece: Sequence[Chunk]) -> None:
        """What a turn allows ends the recursion by way of `_moved`, after a few pieces."""
        if not self.is_open:
            return  # the exchange has ended in the meantime, and the connection with it
        assert self._transport is not None
        self._unsent_bytes -= size
        self._transport.writelines(piece)
        if not self._is_paused:
            self._moved()

    def _moved(self) -> None:
        """There is room for more: what was written is under way."""
        if self._request is not None:
            self._moved_at_s = self._loop.time()
            self._request.progressed()
            self._go_on()

    def _look(self) -> None:
        """Whether nothing has moved for too long. One look serves many short exchanges: a timer
        anew for each costs nearly what its HMAC does."""
        self._timer = None
        if self._outcome is None:
            return
        left_s = self._moved_at_s + self._timeout_s - self._loop.time()
        if left_s > 0:
            self._timer = self._loop.call_later(left_s, self._look)
        else:
            self._settle(TimeoutError("S3 makes no progress"))

    def _settle(self, outcome: Answer | Exception) -> None:
        """End the exchange, and the connection unless it is clean."""
        if self._outcome is None or self._outcome.done():
            return
        if isinstance(outcome, Exception):
            self.close()
        else:
            assert self._transport is not None
            assert self._reader is not None
            is_early = self._unsent_bytes or self._transport.get_write_buffer_size()
            if is_early or not outcome.keeps_alive or self._reader.has_surplus:
                self.close()
            if is_early and outcome.status < 300:
                outcome = ExchangeError("the answer came before the body was sent")
        self._outcome.set_result(outcome)

    # Called by the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's does not derive from it
        self._transport.set_write_buffer_limits(high=self._write_bytes)

    def data_received(self, data: bytes) -> None:
        if self._reader is None:
            self.close()  # an answer that nobody asked for must not become the next one's
            return
        try:
            answer = self._reader.feed(data)
        except ExchangeError as error:
            self._settle(error)
        else:
            if answer is not None:
                self._settle(answer)

    def eof_received(self) -> None:
        if self._reader is not None and (answer := self._reader.end()) is not None:
            self._settle(answer)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's name
        answered = self._reader is not None and self._reader.has_begun
        self._settle(DisconnectedError(answered=answered))
        if self._timer is not None:
            self._timer.cancel()
        self._on_lost(self)

    def pause_writing(self) -> None:
        self._is_paused = True

    def resume_writing(self) -> None:
        self._is_paused = False
        self._moved()


def _pieces(chunks: Sequence[Chunk], most: int) -> Iterator[tuple[int, Sequence[Chunk]]]:
    """`chunks` in pieces of `most` bytes, the last one shorter; the size of each, and its parts."""
    piece, room = list[Chunk](), most
    for chunk in chunks:
        rest = memoryview(chunk)
        while rest:
            taken, rest = rest[:room], rest[room:]
            piece.append(taken)
            room -= len(taken)
            if not room:
                yield most, piece
                piece, room = [], most
    if piece:
        yield most - room, piece
