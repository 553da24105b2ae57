"""Many calls over a connection at once: a line.

redis-py takes a connection out of its pool for each call, and puts it back; with timers, retries
and locks that costs several times what the call itself does, and a small request is two calls. The
first call of a turn of the event loop goes out at once, all others of that turn go after it in one
write, in the order they were made; Redis answers in that order, and so the answers find their
calls. The calls of the next turn go over another line if those have not been answered yet: what
hangs in one connection stops nobody else. Where large bodies come in, a turn takes a millisecond or
two, and a HEAD is one call: nothing here waits for a further one.

How the connection is made, with its names, passwords, TLS and sentinels, what push messages ask
for, what an error means and when a server is not the primary stay redis-py's and `connections`'. A
line adds:

- *One deadline*: an answer is waited for as long as redis-py would, by one timer, which looks at
  the oldest call. A server that is silent for so long ends the line, and every call on it.
- *One end*: whatever breaks the connection fails all calls on it. Each repeats itself over the next
  line, as often and with the same pauses as redis-py's calls do; see `scripts` on why it may.
- *Nobody else's cancellation*: a call that was given up before it was written is not sent; the
  answer to one that was is dropped when it comes.

It is for short commands only: a long one would make all others wait behind it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from typing import Any, Final

import redis.asyncio as redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from tusd_s3 import limits
from tusd_s3.gate import Gate
from tusd_s3.stores.redis.bounds import BROKEN, FAILURES, repeats
from tusd_s3.stores.redis.connections import LeavesReplicas

CALLS_MAX: Final = 1024
"""Calls of one client at once, repeats included; further ones wait, as for a pool's connection.
Redis does so many scripts in well under a tenth of a second: more would only wait over there."""

COMMAND_MAX_BYTES: Final = 16 * limits.KIB
"""A longer command is no business of a line: a record with thousands of ETags takes Redis as long
as hundreds of others. With `CALLS_MAX`, it bounds what waits to be sent to 16 MiB."""

Answer = asyncio.Future[Any]


class Lines:
    """The lines of a client: made when they are needed, at most as many as `pool` has connections.

    pool: of connections for lines alone. It tries once to connect them: their calls do the
    repeating.
    """

    def __init__(self, pool: redis.BlockingConnectionPool) -> None:
        self._pool = pool
        self._lines: list[Line] = []
        self._of_this_turn: Line | None = None
        self._living = set[asyncio.Task[None]]()
        self._is_closed = False
        self._places = Gate(CALLS_MAX)
        self._retry = repeats()

    async def call(self, command: bytes) -> Any:  # noqa: ANN401 - whatever Redis answers
        """The answer to one packed command. Raises one of `FAILURES`; unless Redis answered with an
        error, the command may have been executed, and more than once."""
        if not self._places.enter_now(1):
            await self._wait_for_a_place()
        try:
            return await self._retry.call_with_retry(lambda: self._send(command), _no_preparation)
        finally:
            self._places.leave(1)

    async def aclose(self) -> None:
        """Fail the calls that wait, and close the connections."""
        self._is_closed = True
        for line in self._lines:
            line.end(_closed())
        await asyncio.gather(*self._living, return_exceptions=True)

    async def _wait_for_a_place(self) -> None:
        try:
            async with asyncio.timeout(self._pool.timeout):
                await self._places.enter(1)
        except TimeoutError as error:
            raise RedisConnectionError("Too many calls wait for Redis.") from error

    def _send(self, command: bytes) -> Answer:
        if self._is_closed:
            raise _closed()
        line = self._of_this_turn
        if line is not None and line.takes_calls():
            return line.send(command)
        line = self._of_this_turn = self._free_line()
        asyncio.get_running_loop().call_soon(self._end_turn, line)
        answer = line.send(command)
        line.flush()
        return answer

    def _end_turn(self, line: Line) -> None:
        if self._of_this_turn is line:
            self._of_this_turn = None
        line.flush()

    def _free_line(self) -> Line:
        """One that nobody waits on; if there can be no further one, that with the fewest calls."""
        self._lines = [line for line in self._lines if line.takes_calls()]
        free = next((line for line in self._lines if line.waiting_count == 0), None)
        if free is None and len(self._lines) < self._pool.max_connections:
            return self._new_line()
        return free or min(self._lines, key=lambda line: line.waiting_count)

    def _new_line(self) -> Line:
        line = Line(self._pool)
        self._lines.append(line)
        self._living.add(line.living)
        line.living.add_done_callback(self._living.discard)
        return line


class Line:
    """One connection, from its making to its end, and the calls on it."""

    def __init__(self, pool: redis.BlockingConnectionPool) -> None:
        self._loop = asyncio.get_running_loop()
        self._pool = pool
        self._connection: LeavesReplicas | None = None
        self._unsent: list[tuple[bytes, Answer]] = []
        self._sent: deque[tuple[float, Answer]] = deque()  # with the time on the loop's clock
        self._timer: asyncio.TimerHandle | None = None
        self._has_ended = False
        self.living = self._loop.create_task(self._live(), name="tusd-s3 line to Redis")

    @property
    def waiting_count(self) -> int:
        """Calls that have not been answered."""
        return len(self._sent) + len(self._unsent)

    def takes_calls(self) -> bool:
        """Whether it is not over. One to a primary that was replaced ends here and now: what that
        one still acknowledges is lost."""
        if self._connection is not None and self._connection.should_reconnect():  # type: ignore[no-untyped-call] # redis-py's
            self.end(RedisConnectionError("the primary was replaced"))
        return not self._has_ended

    def send(self, command: bytes) -> Answer:
        """Have a command go out with the next `flush`, or when there is a connection."""
        answer: Answer = self._loop.create_future()
        self._unsent.append((command, answer))
        return answer

    def end(self, error: Exception) -> None:
        """Fail all calls, close the connection, take no more."""
        if not self._has_ended:
            self._fail(error)
            self.living.cancel()

    async def _live(self) -> None:
        """Connect, and keep the connection until something breaks."""
        try:
            connection = await self._pool.get_connection()  # type: ignore[no-untyped-call] # redis-py's
            try:
                await self._carry(connection)
            finally:
                with suppress(*FAILURES):
                    await connection.disconnect(nowait=True)
                await self._pool.release(connection)
        except Exception as error:  # whatever it is, calls wait
            self._fail(error)
        finally:
            self._fail(_closed())  # also when the event loop ends the task: nobody waits for ever

    async def _carry(self, connection: Any) -> None:  # noqa: ANN401 - redis-py names a base class
        if connection.should_reconnect():  # the sentinels named another one meanwhile
            await connection.connect()
        connection.deliver(self._take, self.end)
        self._connection = connection
        self.flush()
        await self._loop.create_future()  # `end` cancels it

    def _take(self, found: object) -> None:
        """What came is the answer to the oldest call."""
        if not self._sent:
            self.end(RedisConnectionError("an answer came that nobody had asked for"))
            return
        _, answer = self._sent.popleft()
        if answer.done():
            return  # given up
        if isinstance(found, Exception):
            answer.set_exception(found)
        else:
            answer.set_result(found)

    def flush(self) -> None:
        """Write what has not been written."""
        if not self._unsent or self._connection is None:
            return
        now_s, going = self._loop.time(), list[bytes]()
        for command, answer in self._unsent:
            if not answer.done():
                going.append(command)
                self._sent.append((now_s, answer))
        self._unsent.clear()
        if not going:
            return
        if self._timer is None:
            self._timer = self._loop.call_at(now_s + self._timeout_s, self._look)
        try:
            self._connection.write(b"".join(going))
        except RedisConnectionError as error:
            self.end(error)

    def _look(self) -> None:
        """Whether the oldest call has waited for too long."""
        self._timer = None
        if not self._sent:
            return
        due_s = self._sent[0][0] + self._timeout_s
        if due_s > self._loop.time():
            self._timer = self._loop.call_at(due_s, self._look)
        else:
            self.end(RedisTimeoutError("Redis does not answer"))

    @property
    def _timeout_s(self) -> float:
        """For an answer; redis-py prolongs it while a service says that it moves the server."""
        assert self._connection is not None
        timeout_s = self._connection.socket_timeout
        assert timeout_s is not None  # see `bounds`
        return timeout_s

    def _fail(self, error: Exception) -> None:
        self._has_ended = True
        if self._timer is not None:
            self._timer.cancel()
        answers = [answer for _, answer in (*self._sent, *self._unsent)]
        self._sent.clear()
        self._unsent.clear()
        for answer in answers:
            if not answer.done():
                answer.set_exception(_one_more(error))


def _one_more(error: Exception) -> Exception:
    """An error of the same meaning: each call raises one of its own, with its own traceback."""
    kinds = (kind for kind in BROKEN if isinstance(error, kind))
    one_more = next(kinds, RedisError)(str(error))
    one_more.__cause__ = error
    return one_more


def _closed() -> RedisError:
    return RedisError("the client is closed")  # not a broken connection, which would be repeated


async def _no_preparation(_: Exception) -> None:
    """A line that broke was left already."""
