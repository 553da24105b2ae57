"""One HTTP/1.1 connection over which S3 sends an object, read only as fast as somebody takes it.

What comes goes from the kernel straight to where the reader wants it; between two reads nothing is
read, so that a connection whose reader is slow holds nothing but the end of a head's read. As with
`connection`, it is used again only when it is known to be clean.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, cast

from tusd_s3 import limits
from tusd_s3.stores.s3.answers import Answer, AnswerReader, DisconnectedError, ExchangeError, Head

_HEAD_ROOM: Final = memoryview(bytearray(4 * limits.KIB))
"""Of all connections: what is read of a head is copied out before anything else is read."""

_STREAMED: Final = frozenset({200, 206})


class StreamConnection(asyncio.BufferedProtocol):
    """See above. timeout_s: how long S3 may say nothing while it is waited for."""

    def __init__(self, timeout_s: float, on_lost: Callable[[StreamConnection], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._timeout_s = timeout_s
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self._reader: AnswerReader | None = None
        self._head: Head | None = None
        self._room: memoryview | None = None
        self._begun = memoryview(b"")
        self._left_bytes = 0
        self._waiter: asyncio.Future[int] | None = None
        self._waiting_since_s = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._is_lost = False
        self.opened_at_s = self.idle_since_s = self._loop.time()

    @property
    def is_open(self) -> bool:
        """Whether a request may go out on it."""
        return self._transport is not None and not self._transport.is_closing()

    def close(self) -> None:
        """At once, whatever is still to come."""
        self._disarm()
        if self._transport is not None:
            self._transport.abort()

    async def request(self, head: bytes) -> Head | Answer:
        """Send a request without a body. The head of an object of known size, to be followed by
        `read_into`; or any other answer, as a whole.

        Raises DisconnectedError, TimeoutError; ExchangeError for everything that is no answer. The
        connection is closed then, and after any answer that is not followed by a clean end."""
        if not self.is_open:
            raise DisconnectedError(answered=False)
        assert self._transport is not None
        self._reader = AnswerReader()
        try:
            self._transport.write(head)
            self._waiting_since_s = self._loop.time()
            self._arm()
            await self._wait()
            answer = self._whole
        except BaseException:
            self.close()
            raise
        if answer is None:
            assert self._head is not None
            return self._head
        self._end_of_answer(keeps_alive=answer.keeps_alive and not self._reader.has_surplus)
        return answer

    _whole: Answer | None = None

    async def read_into(self, room: memoryview) -> int:
        """The next bytes of the body; how many, at least one. Not behind its end.

        Raises DisconnectedError, TimeoutError."""
        if self._begun:
            size = min(len(self._begun), len(room))
            room[:size] = self._begun[:size]
            self._begun = self._begun[size:]
        else:
            self._room = room[: self._left_bytes]
            try:
                self._waiting_since_s = self._loop.time()
                size = await self._wait()
            except BaseException:
                self.close()
                raise
            finally:
                self._room = None
        self._left_bytes -= size
        return size

    def end(self) -> bool:
        """No more is wanted; whether the connection may be used again. If not, it is closed."""
        head, self._head = self._head, None
        self._end_of_answer(
            keeps_alive=head is not None and head.keeps_alive and self._left_bytes == 0
        )
        return self.is_open

    async def _wait(self) -> int:
        if self._is_lost:
            raise DisconnectedError(answered=self._has_begun)
        assert self._transport is not None
        self._waiter = self._loop.create_future()
        self._transport.resume_reading()
        try:
            return await self._waiter
        finally:
            self._waiter = None

    def _end_of_answer(self, *, keeps_alive: bool) -> None:
        self._disarm()
        self._reader = self._whole = self._head = None
        self._begun = memoryview(b"")
        if not keeps_alive:
            self.close()
        elif self._transport is not None:
            self._transport.resume_reading()  # to learn when S3 closes it

    @property
    def _has_begun(self) -> bool:
        return self._head is not None or (self._reader is not None and self._reader.has_begun)

    def _arm(self) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(self._timeout_s, self._look)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        """One timer for all waits: looks when the present one would be over."""
        now_s = self._loop.time()
        since_s = now_s if self._waiter is None else self._waiting_since_s
        left_s = since_s + self._timeout_s - now_s
        if left_s > 0:
            self._timer = self._loop.call_later(left_s, self._look)
        else:
            self._timer = None
            self._settle(TimeoutError("S3 makes no progress"))

    def _settle(self, outcome: int | Exception) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()
        if self._waiter is not None and not self._waiter.done():
            if isinstance(outcome, Exception):
                self._waiter.set_exception(outcome)
            else:
                self._waiter.set_result(outcome)

    # Called by the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - a buffer of our own choice
        return _HEAD_ROOM if self._room is None else self._room

    def buffer_updated(self, nbytes: int) -> None:
        if self._room is not None:
            self._settle(nbytes)
        elif self._reader is None or self._head is not None:
            self.close()  # an answer that nobody asked for must not become the next one's
        else:
            self._feed(bytes(_HEAD_ROOM[:nbytes]))

    def _feed(self, data: bytes) -> None:
        assert self._reader is not None
        try:
            self._whole = self._reader.feed(data)
        except ExchangeError as error:
            self._settle(error)
            return
        if self._whole is not None:
            if self._whole.status in _STREAMED:
                self._begin_whole(self._whole, is_clean=not self._reader.has_surplus)
            self._settle(0)
        elif (head := self._reader.head()) is not None and head.status in _STREAMED:
            self._begin(head, self._reader.begun_body())

    def _begin(self, head: Head, begun: bytes) -> None:
        if head.size is None:
            self._settle(ExchangeError("an object whose size is not said"))
            return
        self._head, self._begun = head, memoryview(begun)
        self._left_bytes = head.size
        self._reader = None
        self._settle(0)

    def _begin_whole(self, answer: Answer, *, is_clean: bool) -> None:
        """All of it came with the head."""
        size = len(answer.body)
        keeps = answer.keeps_alive and is_clean
        self._whole = None
        self._begin(Head(answer.status, answer.headers, size, keeps), answer.body)

    def eof_received(self) -> None:
        if self._reader is not None and (answer := self._reader.end()) is not None:
            self._whole = answer
            self._settle(0)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's name
        self._is_lost = True
        self._disarm()
        self._settle(DisconnectedError(answered=self._has_begun))
        self._on_lost(self)
