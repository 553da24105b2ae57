"""Clients for one Redis, for a primary that sentinels name, and for a cluster.

All three keep the same promises: a client connects when it is first used; a call waits for a free
connection, no longer than for an answer; a call whose connection broke, or that met a server which
is no longer the primary, is repeated a few times with growing pauses, and finds the new primary.
What is still failing then is one of `FAILURES`.

Scripts, which are what requests wait for, share a connection: see `lines`. All else, and everything
in a cluster, goes over connections that each carry one call at a time.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import hiredis
import redis.asyncio as redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from tusd_s3.stores.redis.bounds import BROKEN, CONNECTIONS_MAX, options_of, repeats
from tusd_s3.stores.redis.cluster import ClusterClient
from tusd_s3.stores.redis.connections import PlainTls, Socket, Tcp, Tls
from tusd_s3.stores.redis.lines import COMMAND_MAX_BYTES, Lines
from tusd_s3.stores.redis.sentinels import to_primary
from tusd_s3.stores.redis.url import Kind, RedisAddress


class PrimaryClient(redis.Redis):
    """redis-py's client of one server, or of the primary that sentinels name, with a line for its
    scripts."""

    def __init__(self, pool: redis.ConnectionPool, lines: Lines) -> None:
        super().__init__(connection_pool=pool)
        self._lines = lines

    def evalsha(self, sha: str, numkeys: int, *keys_and_args: object) -> Awaitable[Any]:
        """See redis-py."""
        return self._run("EVALSHA", sha, numkeys, *keys_and_args)

    def eval(self, script: str, numkeys: int, *keys_and_args: object) -> Awaitable[Any]:
        """See redis-py."""
        return self._run("EVAL", script, numkeys, *keys_and_args)

    def _run(self, *words: Any) -> Awaitable[Any]:  # noqa: ANN401 - what hiredis packs
        command = hiredis.pack_command(words)
        if len(command) > COMMAND_MAX_BYTES:
            answer: Awaitable[Any] = self.execute_command(*words)  # type: ignore[no-untyped-call] # redis-py's
            return answer
        return self._lines.call(command)


Client = PrimaryClient | ClusterClient
"""What the stores use. Both take the same calls."""


@asynccontextmanager
async def connected(address: RedisAddress, timeout_s: float) -> AsyncIterator[Client]:
    """A client for the time of the block. timeout_s: for connecting, and for one answer."""
    async with AsyncExitStack() as stack:
        if address.kind is Kind.CLUSTER:
            cluster = ClusterClient(address, timeout_s)
            stack.push_async_callback(cluster.aclose)
            yield cluster
            return
        pool: redis.BlockingConnectionPool
        for_lines: redis.BlockingConnectionPool
        if address.kind is Kind.SENTINEL:
            pool, for_lines = await stack.enter_async_context(to_primary(address, timeout_s))
        else:
            options = options_of(address, timeout_s)
            pool = _to_server(options, CONNECTIONS_MAX, repeats())
            for_lines = _to_server(options, CONNECTIONS_MAX, Retry(NoBackoff(), 0))
            stack.push_async_callback(pool.disconnect)
            stack.push_async_callback(for_lines.disconnect)
        lines = Lines(for_lines)
        stack.push_async_callback(lines.aclose)
        client = PrimaryClient(pool, lines)
        stack.push_async_callback(client.aclose)
        yield client


def _to_server(
    options: dict[str, Any], connections_max: int, retry: Retry
) -> redis.BlockingConnectionPool:
    classes = {redis.SSLConnection: Tls, redis.UnixDomainSocketConnection: Socket}
    return redis.BlockingConnectionPool(
        **options
        | {"connection_class": classes.get(options.get("connection_class", Tcp), Tcp)}
        | {"max_connections": connections_max, "timeout": options["socket_timeout"]}
        | {"retry": retry, "retry_on_error": [*BROKEN]}
    )


class _Listener(PubSub):
    def __init__(self, pool: redis.ConnectionPool) -> None:
        super().__init__(pool, ignore_subscribe_messages=True)

    async def get_message(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - redis-py's
        """See redis-py. Leaves a primary that was replaced; the subscription goes along."""
        connection: Any = self.connection
        if connection is not None and connection.should_reconnect():
            await connection.disconnect()
        return await super().get_message(*args, **kwargs)


@asynccontextmanager
async def subscribed(client: Client, channel: str) -> AsyncIterator[PubSub]:
    """A subscription to one channel; it ends with one of `FAILURES` when its connection does.

    In a cluster any node will do, because each message reaches them all; the next subscription
    may be at another one.
    """
    async with AsyncExitStack() as stack:
        one = await _one_node(client, stack) if isinstance(client, ClusterClient) else client
        listener = await stack.enter_async_context(_Listener(one.connection_pool))
        await listener.subscribe(channel)
        yield listener


async def _one_node(cluster: ClusterClient, stack: AsyncExitStack) -> redis.Redis:
    """A client of a node of its own: the cluster's connections come and go with its changes."""
    await cluster.refresh()
    await cluster.initialize()
    node = random.choice(cluster.get_nodes())  # noqa: S311 - nothing depends on it being secret
    kinds = ("ssl_", "socket_", "username", "password", "client_name")
    options = {
        name: value for name, value in cluster.connection_kwargs.items() if name.startswith(kinds)
    }
    options |= {"host": node.host, "port": node.port}
    if cluster.connection_kwargs["connection_class"] is PlainTls:
        options["connection_class"] = redis.SSLConnection
    pool = _to_server(options, 1, Retry(NoBackoff(), 0))
    stack.push_async_callback(pool.disconnect)
    return redis.Redis(connection_pool=pool)


async def by_primary(client: Client, keys: Sequence[str]) -> list[list[int]]:
    """Indices of `keys`, in one group for each server that holds some of them. Raises one of
    `FAILURES` if the servers of a cluster cannot be found."""
    if not isinstance(client, ClusterClient):
        return [list(range(len(keys)))]
    await client.initialize()
    groups: dict[str, list[int]] = {}
    for index, key in enumerate(keys):
        node = client.get_node_from_key(key)
        assert node is not None  # only of a replica it could be
        groups.setdefault(node.name, []).append(index)
    return list(groups.values())
