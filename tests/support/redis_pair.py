"""Two real Redis servers, one the replica of the other, so that there can be a fail-over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import redis

from tests.support.redis_proxy import RedisProxy
from tests.support.waiting import eventually
from tusd_s3.devstack.local_redis import LocalRedis

_SYNCED_WITHIN_S = 30.0
_LISTENS_WITHIN_S = 30.0
_ANSWERS_WITHIN_S = 2.0


class DurableRedis(LocalRedis):
    """Writes every command to its file before it answers, so that SIGKILL loses nothing.

    With `everysec` Redis may hold writes back for two seconds while the disk is busy. What a
    power cut would cost is not the question here.
    """

    def _command(self, ports: list[int]) -> list[str]:
        quick = ["--repl-diskless-sync", "yes", "--repl-diskless-sync-delay", "0"]
        return [*super()._command(ports), "--appendfsync", "no", *quick]


class RedisPair:
    """A primary that the proxy leads to, and a replica that may fall behind and take over.

    is_parted: whether it falls behind now. is_behind: whether it did, or was the primary before.
    """

    def __init__(self, folder: Path, proxy: RedisProxy, nodes: list[LocalRedis]) -> None:
        self._folder = folder
        self._proxy = proxy
        self._nodes = nodes
        self._primary = 0
        self.is_parted = False
        self.is_behind = False

    @classmethod
    def start(cls, folder: Path) -> RedisPair:
        """Start both, the replica in step with the primary, and a proxy before the primary."""
        nodes: list[LocalRedis] = [
            DurableRedis(folder / "redis-a"),
            DurableRedis(folder / "redis-b"),
        ]
        with ExitStack() as begun:
            for node in nodes:
                begun.enter_context(node)
            proxy = RedisProxy(("127.0.0.1", nodes[0].port))
            proxy.start()
            begun.callback(proxy.stop)
            pair = cls(folder, proxy, nodes)
            pair.follow()
            begun.pop_all()
        return pair

    @property
    def proxy(self) -> RedisProxy:
        """What the servers connect to."""
        return self._proxy

    @property
    def primary(self) -> LocalRedis:
        """The one that the proxy leads to."""
        return self._nodes[self._primary]

    @property
    def replica(self) -> LocalRedis:
        """The other one."""
        return self._nodes[1 - self._primary]

    def flush(self) -> None:
        """The primary loses everything, and the replica with it unless it is parted."""
        _tell(self.primary, "FLUSHALL")

    def part(self) -> None:
        """From now on the replica, a copy of the primary up to here, falls behind."""
        if self.is_behind:
            self.follow()
        self._catch_up()
        _tell(self.replica, "REPLICAOF", "NO", "ONE")
        self.is_parted = self.is_behind = True

    def _catch_up(self) -> None:
        """Returns when the replica has what the primary had a moment ago; of a primary that does
        not answer, it has what it has."""
        try:
            wanted = _offset_of(self.primary, "master_repl_offset")
        except OSError:
            return
        eventually(
            lambda: _offset_of(self.replica, "slave_repl_offset") >= wanted,
            within_s=_SYNCED_WITHIN_S,
            what="the replica has all",
        )

    def fail_over(self) -> None:
        """The replica takes over with what it has; every connection breaks."""
        _tell(self.replica, "REPLICAOF", "NO", "ONE")
        self.is_parted, self.is_behind = False, True
        self._primary = 1 - self._primary
        self._proxy.upstream = ("127.0.0.1", self.primary.port)
        self._proxy.cut_all()

    def follow(self) -> None:
        """The replica becomes a copy of the primary again; returns when it is one."""
        replica = self.replica
        _tell(replica, "REPLICAOF", "127.0.0.1", str(self.primary.port))
        eventually(lambda: _is_in_step(replica), within_s=_SYNCED_WITHIN_S, what="in step")
        self.is_parted = self.is_behind = False

    def stop(self) -> None:
        """End all of it."""
        self._proxy.stop()
        for node in self._nodes:
            node.stop()


def _tell(node: LocalRedis, *command: str) -> None:
    """One command, as soon as the node listens: while it loads what a restart or its primary gave
    it, it refuses them all."""

    def told() -> bool:
        with _client(node) as client:
            execute: Callable[..., object] = client.execute_command
            execute(*command)
        return True

    eventually(told, within_s=_LISTENS_WITHIN_S, what=f"{node.url} takes {command[0]}")


def _is_in_step(replica: LocalRedis) -> bool:
    with _client(replica) as client:
        state: dict[str, object] = client.info("replication")
    return state["master_link_status"] == "up" and not state["master_sync_in_progress"]


def _offset_of(node: LocalRedis, name: str) -> int:
    with _client(node) as client:
        state: dict[str, int] = client.info("replication")
    return state.get(name, 0)


@contextmanager
def _client(node: LocalRedis) -> Iterator[redis.Redis]:
    """Of one node; that it does not answer is an OSError, as with everything that is waited for."""
    with redis.Redis.from_url(node.url, socket_timeout=_ANSWERS_WITHIN_S) as client:
        try:
            yield client
        except (redis.ConnectionError, redis.TimeoutError) as error:
            raise OSError(f"{node.url}: {error!r}") from error
