"""The client of a Redis Cluster."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, Final, TypeVar

import redis.asyncio as redis
from redis.asyncio.cluster import ClusterNode, ClusterPipeline
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.event import EventDispatcher
from redis.exceptions import (
    AskError,
    ClusterDownError,
    ClusterError,
    MovedError,
    RedisClusterException,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError

from tusd_s3.stores.redis.bounds import CONNECTIONS_MAX, FAILURES, options_of, repeats
from tusd_s3.stores.redis.connections import PlainTcp, PlainTls
from tusd_s3.stores.redis.url import RedisAddress

T = TypeVar("T")

_NODE_CONNECTIONS_MAX: Final = 2 * CONNECTIONS_MAX
"""What redis-py may open to one node of a cluster. Beyond it calls would fail instead of waiting;
so they wait before they get there, and this leaves room for redis-py's own questions."""

_REFRESH_EVERY_S: Final = 0.2
"""Between two looks at who holds which slots. After each, redis-py opens every connection anew,
also those to nodes that are well; a thousand waiting uploads must not have it do nothing else."""

_PASSING: Final = (MovedError, ClusterDownError)
"""What all calls to a node meet while it gives its slots up, or takes them: for moments, if nothing
is broken. So they are repeated, also where a call that fails is otherwise let fail alone."""


def _new_places() -> asyncio.Semaphore:
    return asyncio.Semaphore(CONNECTIONS_MAX)


class ClusterClient(redis.RedisCluster):
    """redis-py's client of a cluster, which here sends every command through a pipeline.

    redis-py's own handling of failures cuts connections that other calls are using, repeats without
    a pause, and sends parts of a pipeline again alone. Here a call is repeated as a whole, after a
    pause, on what the cluster has become; `ASK` and `TRYAGAIN` mean the same as a short outage,
    because our scripts need several keys and so do not run while their slot is on the move.
    """

    def __init__(self, address: RedisAddress, timeout_s: float) -> None:
        options = options_of(address, timeout_s)
        del options["host"]
        options.pop("port", None)
        tls = options.pop("connection_class", None) is redis.SSLConnection
        self._timeout_s = timeout_s
        self._places = defaultdict[str, asyncio.Semaphore](_new_places)
        super().__init__(
            startup_nodes=[ClusterNode(host, port) for host, port in address.hosts],
            dynamic_startup_nodes=False,
            max_connections=_NODE_CONNECTIONS_MAX,
            retry=Retry(NoBackoff(), 0),  # see `_repeat`
            ssl=tls,
            **options,
        )
        # For the nodes that are given, and for those that will be found.
        kind = PlainTls if tls else PlainTcp
        self.connection_kwargs["connection_class"] = kind
        for node in self.nodes_manager.startup_nodes.values():
            node.connection_class = kind
        self._named = dict(self.nodes_manager.startup_nodes)
        self._refreshed_at_s = -_REFRESH_EVERY_S

    async def execute_command(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - redis-py's
        """The answer to one command; from several nodes, what redis-py makes of their answers."""
        with suppress(*FAILURES):  # what sends the command deals with it
            await self.initialize()
        nodes = self._asked(args[0], kwargs)
        if nodes is None:
            return (await self.run_pipeline([(args, kwargs)], raise_on_error=True))[0]
        answers = await asyncio.gather(
            *(
                self.run_pipeline([(args, kwargs | {"target_nodes": node})], raise_on_error=True)
                for node in nodes
            )
        )
        by_node = {node.name: answer for node, [answer] in zip(nodes, answers, strict=True)}
        if combine := self.result_callbacks.get(args[0]):
            return combine(args[0], by_node, **kwargs)
        return by_node if len(nodes) > 1 else answers[0][0]

    def _asked(self, command: str, options: dict[str, Any]) -> list[ClusterNode] | None:
        """The nodes that a command without keys goes to; None if one is to be found for it."""
        wanted = options.pop("target_nodes", None) or self.command_flags.get(command)
        if isinstance(wanted, ClusterNode):
            return [wanted]
        groups = {self.PRIMARIES: self.get_primaries, self.ALL_NODES: self.get_nodes}
        return groups[wanted]() or None if wanted in groups else None

    def pipeline(self, transaction: bool | None = None, shard_hint: Any = None) -> _Pipeline:  # noqa: ANN401 - redis-py's
        """Commands of one or many slots, in one round trip to each node; never a transaction."""
        assert not transaction
        assert not shard_hint
        return _Pipeline(self)

    async def run_pipeline(self, commands: Sequence[Queued], *, raise_on_error: bool) -> list[Any]:
        """Send commands together; those of one slot keep their order. Raises the first error, or
        returns it in its place; a node that cannot be reached is always raised."""
        answers: list[Any] = []

        async def call() -> list[Any]:
            nonlocal answers
            await self.initialize()
            pipeline = super(ClusterClient, self).pipeline()
            for args, kwargs in commands:
                pipeline.execute_command(*args, **kwargs)
            answers = await pipeline.execute(raise_on_error=False, allow_redirections=False)
            for answer in answers:
                if isinstance(answer, MovedError):
                    await self.nodes_manager.move_slot(answer)
            for answer in answers:
                if isinstance(answer, Exception if raise_on_error else _PASSING):
                    raise answer
            return answers

        try:
            return await self._repeat(call, self._places_of(*commands[0]))
        except _PASSING:
            if raise_on_error:
                raise
            return answers

    def _places_of(self, args: tuple[Any, ...], options: dict[str, Any]) -> asyncio.Semaphore:
        """Those of the node that the command goes to: one that is silent must not take them all."""
        node = options.get("target_nodes")
        key_at = 3 if args[0] in {"EVAL", "EVALSHA"} else 1
        if node is None and len(args) > key_at:
            nodes = self.nodes_manager.slots_cache.get(self.keyslot(args[key_at]))
            node = nodes[0] if nodes else None
        return self._places[node.name if isinstance(node, ClusterNode) else ""]

    async def _repeat(self, call: Callable[[], Awaitable[T]], places: asyncio.Semaphore) -> T:
        """`call()` when a place is free, and again while the cluster changes under it."""
        try:
            async with asyncio.timeout(self._timeout_s):
                await places.acquire()
        except TimeoutError as error:
            raise RedisConnectionError("No connection available.") from error
        try:
            retry = repeats(RedisClusterException, ClusterError, AskError, TryAgainError)
            return await retry.call_with_retry(call, self._look_again)
        finally:
            places.release()

    async def _look_again(self, error: Exception) -> None:
        # The first two are about single slots; MovedError, which is an AskError, was dealt with.
        if not isinstance(error, AskError | TryAgainError):
            await self.refresh()

    async def refresh(self) -> None:
        """Read anew who holds which slots, if any node tells, and unless it was just done.

        Not only nodes that were found are asked, but also those that were given, by their names: in
        a container they may all be somewhere else by now.
        """
        if time.monotonic() < self._refreshed_at_s + _REFRESH_EVERY_S:
            return
        self._refreshed_at_s = time.monotonic()
        manager = self.nodes_manager
        manager.startup_nodes = {**self._named, **manager.nodes_cache}
        with suppress(*FAILURES):
            await manager.initialize()

    async def aclose(self) -> None:
        """Close all connections."""
        await super().aclose()
        # After a failure it does not, and nodes that were given are not those that were found.
        await self.nodes_manager.aclose()
        for node in self._named.values():
            await node.disconnect()


Queued = tuple[tuple[Any, ...], dict[str, Any]]
"""Arguments of a command, and what redis-py is to do with it."""


class _Pipeline(ClusterPipeline):
    """Commands that wait to be sent: see `ClusterClient.run_pipeline`."""

    _event_dispatcher: EventDispatcher  # the client's; nothing here uses it

    def __init__(self, client: ClusterClient) -> None:
        super().__init__(client)
        self._client = client
        self._queued: list[Queued] = []

    def execute_command(self, *args: Any, **kwargs: Any) -> _Pipeline:  # noqa: ANN401 - redis-py's
        """Put a command in."""
        self._queued.append((args, kwargs))
        return self

    def evalsha(self, sha: str, numkeys: int, *keys_and_args: Any) -> _Pipeline:  # noqa: ANN401 - redis-py's
        """Put a script in, which redis-py blocks here; see `client.with_scripts`."""
        return self.execute_command("EVALSHA", sha, numkeys, *keys_and_args)

    async def execute(
        self, raise_on_error: bool = True, allow_redirections: bool = True
    ) -> list[Any]:
        """Send all; the answers in order."""
        assert allow_redirections
        queued, self._queued = self._queued, []
        return await self._client.run_pipeline(queued, raise_on_error=raise_on_error)
