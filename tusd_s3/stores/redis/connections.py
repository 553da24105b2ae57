"""Connections to one server at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Final

import redis.asyncio as redis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import MasterDownError, ReadOnlyError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

_LEFT: Final = (ReadOnlyError, MasterDownError)
_LEFT_CODES: Final = ("-READONLY ", "-NOREPLICAS ")
"""Of a replica; of a primary that all its replicas left, perhaps for another one."""


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

    async def read_response(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - redis-py's
        """The next answer; see redis-py. Raises its ConnectionError where it would not be one."""
        try:
            return await super().read_response(*args, **kwargs)
        except ResponseError as error:
            text = f"-{error}"
            if not isinstance(error, _LEFT) and not any(code in text for code in _LEFT_CODES):
                raise
            await self.disconnect()
            raise RedisConnectionError("the server is not the primary") from error


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
