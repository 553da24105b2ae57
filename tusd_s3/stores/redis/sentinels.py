"""The primary that sentinels name, followed when they name another.

Sentinels that replace a primary which is well - on command, or because they alone could not reach
it - leave it running as it was for some ten seconds: only then do they make it a replica and close
its connections (Redis, sentinel.c). Everything that it acknowledges meanwhile is lost. redis-py
asks for the primary only when it makes a connection, so it would stay. Here every sentinel is
listened to, and the old primary is left as soon as one of them says so. For the second before they
say so, there is Redis' own `min-replicas-to-write`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from copy import copy
from typing import Any, Final

import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from tusd_s3.stores.redis.bounds import (
    BROKEN,
    CONNECTIONS_MAX,
    FAILURES,
    bounds,
    options_of,
    repeats,
)
from tusd_s3.stores.redis.connections import PlainTcp, PlainTls, TlsToPrimary, ToPrimary
from tusd_s3.stores.redis.url import RedisAddress

_SENTINEL_TIMEOUT_S: Final = 1.0
"""For connecting to a sentinel, and for its answer: it has the answer in memory, and when it is
silent the others are to be asked well before a lease runs out."""

_LISTEN_TIMEOUT_S: Final = 1.0
"""How long one wait for a sentinel's message lasts before the connection is looked at."""

_LISTEN_AGAIN_S: Final = 1.0
"""Between attempts to listen to a sentinel that is away. The others say the same."""

_SWITCHED: Final = "+switch-master"
"""Channel of a sentinel. Messages: the service, the old host and port, the new host and port."""


class SentinelPool(redis.SentinelConnectionPool, redis.BlockingConnectionPool):
    """Connections to the primary, for which calls wait in line."""

    async def get_master_address(self) -> tuple[str, int]:
        """Where the primary is. If it has moved, all connections are made anew, as `leave` says."""
        address: tuple[str, int] = await self.sentinel_manager.discover_master(self.service_name)
        if address != self.master_address:
            self.master_address = address
            self.leave()
        return address

    def leave(self) -> None:
        """Have each connection made anew before its next use, by its user: closing it from here,
        as redis-py does, would pull it away from under a call that has just begun."""
        for connection in (*self._available_connections, *self._in_use_connections):
            connection.mark_for_reconnect()  # type: ignore[no-untyped-call] # redis-py's


class Sentinels(redis.Sentinel):
    """Those that watch over one Redis."""

    async def discover_master(self, service_name: str) -> tuple[str, int]:
        """Ask one sentinel after the other, beginning with the one that answered last.

        redis-py moves that one to the front of its list while other calls go through the list:
        sentinels would be lost from it. So each call goes through a list of its own.
        """
        asking = copy(self)
        asking.sentinels = [*self.sentinels]
        address: tuple[str, int] = await redis.Sentinel.discover_master(asking, service_name)
        self.prefer(asking.sentinels[0])
        return address

    def prefer(self, first: redis.Redis) -> None:
        """Ask this one first from now on."""
        self.sentinels.sort(key=lambda sentinel: sentinel is not first)


@asynccontextmanager
async def to_primary(
    address: RedisAddress, timeout_s: float
) -> AsyncIterator[tuple[SentinelPool, SentinelPool]]:
    """Connections to the primary of `address`, wherever it goes; besides, one for `Lines`. Connects
    lazily to Redis, at once to the sentinels. timeout_s: for connecting to Redis, and for one
    answer."""
    options = options_of(address, timeout_s)
    tls = options.pop("connection_class", None) is redis.SSLConnection
    options.pop("host")
    options.pop("port", None)
    asked: dict[str, Any] = {name: value for name, value in options.items() if name[:4] == "ssl_"}
    asked |= bounds(min(timeout_s, _SENTINEL_TIMEOUT_S))
    asked |= {"username": address.sentinel_username, "password": address.sentinel_password}
    # The next sentinel is the retry.
    asked |= {"ssl": tls, "retry": Retry(NoBackoff(), 0)}
    async with AsyncExitStack() as stack:
        sentinels = Sentinels(address.hosts, sentinel_kwargs=asked)  # type: ignore[no-untyped-call] # redis-py's
        for sentinel in sentinels.sentinels:
            sentinel.connection_pool.connection_class = PlainTls if tls else PlainTcp
        stack.push_async_callback(sentinels.aclose)
        options |= {"connection_class": TlsToPrimary if tls else ToPrimary, "timeout": timeout_s}
        options["retry_on_error"] = [*BROKEN]

        def new_pool(retry: Retry) -> SentinelPool:
            bounds = {"max_connections": CONNECTIONS_MAX, "retry": retry}
            pool = SentinelPool(address.service, sentinels, **options, **bounds)  # type: ignore[no-untyped-call] # redis-py's
            stack.push_async_callback(pool.disconnect)
            return pool

        pools = new_pool(repeats()), new_pool(Retry(NoBackoff(), 0))
        await stack.enter_async_context(_following(pools, sentinels))
        yield pools


@asynccontextmanager
async def _following(pools: Sequence[SentinelPool], sentinels: Sentinels) -> AsyncIterator[None]:
    tasks = [
        asyncio.create_task(_heed(sentinel, pools, sentinels), name="tusd-s3 sentinel")
        for sentinel in sentinels.sentinels
    ]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _heed(sentinel: redis.Redis, pools: Sequence[SentinelPool], sentinels: Sentinels) -> None:
    """Leave the primary whenever this sentinel names another."""
    while True:
        try:
            async with sentinel.pubsub(ignore_subscribe_messages=True) as channel:
                await channel.subscribe(_SWITCHED)
                while True:
                    message = await channel.get_message(timeout=_LISTEN_TIMEOUT_S)
                    if message is None or not isinstance(message["data"], bytes):
                        continue
                    if message["data"].split()[:1] == [pools[0].service_name.encode()]:
                        sentinels.prefer(sentinel)  # the others may not know yet
                        for pool in pools:
                            pool.leave()
        except FAILURES:
            await asyncio.sleep(_LISTEN_AGAIN_S)
