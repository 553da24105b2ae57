"""Connections to one server at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, Final

import hiredis
import redis.asyncio as redis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import (
    InvalidResponse,
    MasterDownError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from redis.exceptions import TimeoutError as RedisTimeoutError

_LEFT: Final = (ReadOnlyError, MasterDownError)
_LEFT_CODES: Final = ("-READONLY ", "-NOREPLICAS ")
"""Of a replica; of a primary that all its replicas left, perhaps for another one."""


_NOT_YET: Final = object()
"""hiredis' word for an answer that has not come in whole; any other value may be one."""


class Cancellable(AbstractConnection):
    """A connection that never loses a cancellation.

    redis-py sends with `asyncio.wait_for`. Before Python 3.12 that returns as if nothing had been
    asked when it is cancelled just after the bytes went out (python/cpython#86296): a task that
    repeats its calls for ever would then never end. It also costs a task for each command.
    """

    async def send_packed_command(
        self, command: bytes | str | Iterable[bytes], check_health: bool = True
    ) -> None:
        """Send, connecting first if need be; see redis-py."""
        if not self.is_connected:
            await self.connect_check_health(check_health=False)
        if check_health:
            await self.check_health()  # type: ignore[no-untyped-call] # redis-py's
        data = command.encode() if isinstance(command, str) else command
        try:
            async with asyncio.timeout(self.socket_timeout):
                await self._send_packed_command([data] if isinstance(data, bytes) else data)
        except TimeoutError:
            await self.disconnect(nowait=True)
            raise RedisTimeoutError("Timeout writing to socket") from None
        except OSError as error:
            await self.disconnect(nowait=True)
            raise RedisConnectionError(f"Error while writing to socket: {error}") from error
        except BaseException:
            # What was sent of it is not known, so nothing else may follow on this connection.
            await self.disconnect(nowait=True)
            raise


class LeavesReplicas(Cancellable):
    """A connection that ends when the server turns out not to be the primary (any more).

    The new one is made to whatever is the primary by then: its name is looked up again, the
    sentinels are asked again. redis-py does so for plain commands behind sentinels only; the
    refusal of a script is an error of the script before Redis 7, and has the code in its middle.
    """

    async def connect(self) -> None:
        """See redis-py. Pools call it before each use."""
        if self.should_reconnect():  # type: ignore[no-untyped-call] # redis-py's
            await self.disconnect()
        await super().connect()  # type: ignore[no-untyped-call] # redis-py's

    def write(self, data: bytes) -> None:
        """Hand over what is to be sent, and do not wait until it is; see `lines`. Raises redis-py's
        ConnectionError if the connection is known to be gone."""
        if self._writer is None or self._writer.is_closing():
            raise RedisConnectionError("the connection was closed")
        self._writer.write(data)

    def deliver(self, take: Callable[[object], None], end: Callable[[RedisError], None]) -> None:
        """From now on, hand over each answer the moment it is there; see `lines`.

        take: is told what came, an error that is the answer to a command included. end: is told,
        once, what nothing comes after. Nothing may have been asked that was not answered. Raises
        redis-py's ConnectionError if the connection is known to be gone.
        """
        assert self._reader is not None
        assert self._writer is not None
        if self._reader.at_eof():
            raise RedisConnectionError("the connection was closed")
        transport = self._writer.transport
        transport.set_write_buffer_limits(high=0)  # uvloop would wait for its turn's end otherwise
        transport.set_protocol(_Delivery(self._parser, transport.get_protocol(), take, end))

    async def read_response(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - redis-py's
        """The next answer; see redis-py. Raises its ConnectionError where it would not be one."""
        try:
            return await super().read_response(*args, **kwargs)
        except ResponseError as error:
            if not _is_of_replica(error):
                raise
            await self.disconnect()
            raise _not_primary(error) from error


def _is_of_replica(error: ResponseError) -> bool:
    text = f"-{error}"
    return isinstance(error, _LEFT) or any(code in text for code in _LEFT_CODES)


def _not_primary(error: ResponseError) -> RedisConnectionError:
    broken = RedisConnectionError("the server is not the primary")
    broken.__cause__ = error
    return broken


class _Delivery(asyncio.Protocol):
    """Reads answers as redis-py's `AbstractConnection.read_response` does with hiredis, without a
    task that waits for each: that costs a turn of the event loop, and four layers of calls."""

    def __init__(
        self,
        parser: Any,  # noqa: ANN401 - redis-py does not type it
        before: asyncio.BaseProtocol,
        take: Callable[[object], None],
        end: Callable[[RedisError], None],
    ) -> None:
        self._parser = parser
        self._before = before
        self._take = take
        self._end = end
        self._is_over = False
        self._reader = hiredis.Reader(
            protocolError=InvalidResponse, replyError=parser.parse_error, notEnoughData=_NOT_YET
        )
        self._pushes = set[asyncio.Task[object]]()

    def data_received(self, data: bytes) -> None:
        """See asyncio."""
        try:
            self._reader.feed(data)
            while not self._is_over:
                found = self._reader.gets()
                if found is _NOT_YET:
                    return
                self._judge(found)
        except RedisError as error:  # what came is no answer at all
            self._over(error)

    def _judge(self, found: object) -> None:
        first = found[0] if isinstance(found, list) and found else found
        if isinstance(found, hiredis.PushNotification):
            self._heed(found)
        elif isinstance(first, RedisConnectionError):  # that a server is loading is one
            self._over(first)
        elif isinstance(found, ResponseError) and _is_of_replica(found):
            self._over(_not_primary(found))
        else:
            self._take(found)

    def _heed(self, push: list[object]) -> None:
        """A service says what it is about to do; redis-py knows what that means."""
        task = asyncio.ensure_future(self._parser.handle_push_response(push))
        self._pushes.add(task)
        task.add_done_callback(self._pushes.discard)

    def _over(self, error: RedisError) -> None:
        if not self._is_over:
            self._is_over = True
            self._end(error)

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio."""
        error = RedisConnectionError("the connection was closed")
        error.__cause__ = exc
        self._over(error)
        self._before.connection_lost(exc)  # somebody may wait there until it is closed


class Tcp(LeavesReplicas, redis.Connection):
    """To a host."""


class Tls(LeavesReplicas, redis.SSLConnection):
    """To a host, over TLS."""


class Socket(LeavesReplicas, redis.UnixDomainSocketConnection):
    """Within this machine."""


class ToPrimary(LeavesReplicas, redis.SentinelManagedConnection):
    """To whatever the sentinels name."""


class TlsToPrimary(LeavesReplicas, redis.SentinelManagedSSLConnection):
    """The same, over TLS."""


class PlainTcp(Cancellable, redis.Connection):
    """To one that may be a replica, or no Redis with data at all: its user finds out."""


class PlainTls(Cancellable, redis.SSLConnection):
    """The same, over TLS."""
