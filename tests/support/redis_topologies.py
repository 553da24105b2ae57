"""Redis as it runs in production: with replicas and sentinels, as a cluster, behind TLS.

All are real servers on the loopback interface. They are children of guards (see `devstack.guard`),
so that none outlives the tests, and fail over within a second or two instead of half a minute.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import redis

from tests.support.proxy import Proxy
from tests.support.waiting import eventually
from tusd_s3.devstack.binaries import find_redis
from tusd_s3.devstack.free_ports import LOOPBACK
from tusd_s3.devstack.stores import LocalRedis

SERVICE = "uploads"
_SLOTS = 16384
_DOWN_AFTER_MS = 1000
_FAIL_OVER_MAX_MS = 2500
"""After twice as long, sentinels replace a primary once more; less, and they give up on a machine
with much to do. On command they do it at any time."""
_NODE_TIMEOUT_MS = 1000
_FAILED_OVER_WITHIN_S = 15.0
_JOINED_WITHIN_S = 20.0


class RedisServer(LocalRedis):
    """One Redis with further options: `RedisServer(path, appendonly="no")`."""

    def __init__(self, data_dir: Path, **options: str) -> None:
        super().__init__(data_dir)
        self._options = {name.replace("_", "-"): value for name, value in options.items()}

    def _command(self, ports: list[int]) -> list[str]:
        options = {"repl-diskless-sync-delay": "0"} | self._options
        extra = [word for name, value in options.items() for word in (f"--{name}", *value.split())]
        return [*super()._command(ports), *extra]

    def restart(self, **options: str) -> None:
        """See `LocalServer.restart`; with other options, if any are given."""
        self._options |= options
        super().restart()

    @property
    def running(self) -> bool:
        """Whether it was started and not stopped or killed."""
        return self._pid is not None

    @property
    def primaries(self) -> list[RedisServer]:
        """Itself."""
        return [self]

    def client(self, **options: Any) -> redis.Redis:  # noqa: ANN401 - redis-py's
        """A client of exactly this server; texts instead of bytes."""
        return redis.Redis(host=LOOPBACK, port=self.port, decode_responses=True, **options)

    def ask(self, *command: str | int) -> Any:  # noqa: ANN401 - whatever Redis answers
        """The answer to one command."""
        with self.client() as client:
            return client.execute_command(*command)

    def info(self) -> dict[str, Any]:
        """What INFO says."""
        found: dict[str, Any] = self.ask("INFO")
        return found


class SentinelServer(RedisServer):
    """One sentinel that watches `primary`; `password` is the sentinel's own."""

    name = "A sentinel"

    def __init__(
        self, data_dir: Path, primary: tuple[str, int], quorum: int, password: str
    ) -> None:
        super().__init__(data_dir)
        self._primary = primary
        self._quorum = quorum
        self._password = password

    def _command(self, ports: list[int]) -> list[str]:
        host, port = self._primary
        lines = [
            f"port {ports[0]}",
            f"bind {LOOPBACK}",
            f"dir {self.data_dir}",
            f"sentinel monitor {SERVICE} {host} {port} {self._quorum}",
            f"sentinel down-after-milliseconds {SERVICE} {_DOWN_AFTER_MS}",
            f"sentinel failover-timeout {SERVICE} {_FAIL_OVER_MAX_MS}",
        ]
        if self._password:
            lines += [f"requirepass {self._password}", f"sentinel sentinel-pass {self._password}"]
        config = self.data_dir / "sentinel.conf"
        config.write_text("\n".join([*lines, ""]))
        return [str(find_redis()), str(config), "--sentinel"]

    def _is_ready(self, ports: list[int]) -> bool:
        if not self._password:
            return super()._is_ready(ports)
        with (
            redis.Redis(port=ports[0], password=self._password) as client,
            suppress(redis.RedisError),
        ):
            return int(client.info("server")["process_id"]) == self.pid
        return False

    def client(self, **options: Any) -> redis.Redis:  # noqa: ANN401 - redis-py's
        """See `RedisServer.client`."""
        return super().client(password=self._password or None, **options)


class _Topology:
    """Servers that start and stop together."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._started: list[RedisServer] = []

    @contextmanager
    def configured(self, name: str, value: int) -> Iterator[None]:
        """Every server with another value of a setting, for the time of the block."""
        before = [(server, server.ask("CONFIG", "GET", name)) for server in self._started]
        for server in self._started:
            server.ask("CONFIG", "SET", name, value)
        try:
            yield
        finally:
            for server, found in before:
                server.ask("CONFIG", "SET", name, dict(found)[name])

    def _start(self, server: RedisServer) -> None:
        server.start()
        self._started.append(server)

    def stop(self) -> None:
        """Stop all of them; the first failure is raised when all were tried."""
        failures = []
        for server in reversed(self._started):
            try:
                server.stop()
            except Exception as failure:  # the others must not keep running for it
                failures.append(failure)
        self._started.clear()
        if failures:
            raise failures[0]

    def start(self) -> None:
        """Start all and return when they know each other."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


class SentinelTopology(_Topology):
    """A primary, a replica, and sentinels that replace the one by the other.

    front: what stands before the first primary for everybody but its replica.
    """

    def __init__(
        self,
        folder: Path,
        *,
        sentinels: int = 1,
        password: str = "",
        front: Proxy | None = None,
    ) -> None:
        super().__init__(folder)
        self.password = password
        self._count = sentinels
        self._front = front
        self.servers: list[RedisServer] = []
        self.sentinels: list[SentinelServer] = []

    def start(self) -> None:
        """See `_Topology.start`."""
        first = RedisServer(self.folder / "redis-0")
        self._start(first)
        second = RedisServer(
            self.folder / "redis-1",
            replicaof=f"{LOOPBACK} {first.port}",
        )
        self._start(second)
        self.servers = [first, second]
        self.wait_replicated()
        quorum = self._count // 2 + 1
        place = (LOOPBACK, first.port)
        if self._front is not None:
            self._front.upstream = place
            place = (LOOPBACK, self._front.port)
        for number in range(self._count):
            sentinel = SentinelServer(
                self.folder / f"sentinel-{number}", place, quorum, self.password
            )
            self._start(sentinel)
            self.sentinels.append(sentinel)
        eventually(self._know_each_other, within_s=_JOINED_WITHIN_S, what="sentinels meet")

    @property
    def url(self) -> str:
        """For the server under test."""
        hosts = ",".join(f"{LOOPBACK}:{sentinel.port}" for sentinel in self.sentinels)
        extra = f"?sentinel_password={self.password}" if self.password else ""
        return f"redis+sentinel://{hosts}/{SERVICE}{extra}"

    @property
    def primary(self) -> RedisServer:
        """The server that the sentinels name."""
        alive = next(sentinel for sentinel in self.sentinels if sentinel.running)
        with alive.client() as client:
            port = int(client.sentinel_get_master_addr_by_name(SERVICE)[1])
        return next(server for server in self.servers if server.port == port)

    @property
    def primaries(self) -> list[RedisServer]:
        """The server that the sentinels name."""
        return [self.primary]

    def wait_replicated(self) -> None:
        """Return when every replica has all that its primary has written."""
        wait_replicated([server for server in self.servers if server.running])

    def wait_replaced(self, old: RedisServer, *, within_s: float = _FAILED_OVER_WITHIN_S) -> None:
        """Return when another server than `old` is named and takes writes."""

        def replaced() -> bool:
            return self.primary is not old and self.primary.info()["role"] == "master"

        eventually(_unless_redis_fails(replaced), within_s=within_s, what="fail-over")

    def fail_over(self) -> None:
        """Have the sentinels replace a primary that is well; returns when they did. The old one
        still takes writes then, which nobody will ever read: see `settle`."""
        old = self.primary

        def replaced() -> bool:
            with suppress(redis.ResponseError):  # they are at it already
                self.sentinels[0].ask("SENTINEL FAILOVER", SERVICE)
            with suppress(AssertionError):
                self.wait_replaced(old, within_s=_FAIL_OVER_MAX_MS / 1000)
                return True
            return False

        eventually(replaced, within_s=_FAILED_OVER_WITHIN_S, what="the primary is replaced")

    def settle(self) -> None:
        """Return when all sentinels agree, and every other server follows the primary.

        The sentinels see to it too, in some ten seconds; before, a server that is killed or started
        may end up as what nobody expects.
        """

        def settled() -> bool:
            primary = self.primary
            agreed = [
                (state["port"], state["flags"]) == (primary.port, "master")
                for state in map(_watched, self.sentinels)
            ]
            return all(agreed) and all(map(_follows(primary), self.servers))

        eventually(_unless_redis_fails(settled), within_s=_FAILED_OVER_WITHIN_S, what="settled")

    def bring_back(self, killed: RedisServer) -> None:
        """Start a server that was replaced; returns when it is the replica of the new primary."""
        self.settle()
        killed.restart(replicaof=f"{LOOPBACK} {self.primary.port}")
        self.settle()

    def _know_each_other(self) -> bool:
        for state in map(_watched, self.sentinels):
            if state["num-slaves"] != 1 or state["num-other-sentinels"] != self._count - 1:
                return False
        return True


class ClusterTopology(_Topology):
    """`primaries` primaries that share the slots, each with `replicas` replicas.

    options: further options of every node.
    """

    def __init__(
        self, folder: Path, *, primaries: int = 3, replicas: int = 1, **options: str
    ) -> None:
        super().__init__(folder)
        self._primaries = primaries
        self._replicas = replicas
        self._options = options
        self.nodes: list[RedisServer] = []

    def start(self) -> None:
        """See `_Topology.start`."""
        self.nodes = [
            self.new_node(number) for number in range(self._primaries * (1 + self._replicas))
        ]
        for epoch, node in enumerate(self.nodes, 1):
            node.ask("CLUSTER SET-CONFIG-EPOCH", epoch)
        heads = self.nodes[: self._primaries]
        for head, (first, last) in zip(heads, _shares(self._primaries), strict=True):
            head.ask("CLUSTER ADDSLOTS", *range(first, last + 1))
        for node in self.nodes[1:]:
            self.join(node)
        for number, node in enumerate(self.nodes[self._primaries :]):
            head = heads[number % self._primaries]
            self._replicate(node, str(head.ask("CLUSTER MYID")))
        eventually(self._is_whole, within_s=_JOINED_WITHIN_S, what="the cluster is up")

    def new_node(self, number: int) -> RedisServer:
        """Start a node that knows no other yet."""
        node = RedisServer(
            self.folder / f"node-{number}",
            cluster_enabled="yes",
            cluster_config_file="nodes.conf",
            cluster_node_timeout=str(_NODE_TIMEOUT_MS),
            cluster_replica_validity_factor="0",
            **self._options,
        )
        self._start(node)
        return node

    def join(self, node: RedisServer) -> None:
        """Make `node` known to the first node, and so to all."""
        node.ask("CLUSTER MEET", LOOPBACK, self.nodes[0].port)

    @property
    def url(self) -> str:
        """For the server under test; it names two of the nodes only."""
        hosts = ",".join(f"{LOOPBACK}:{node.port}" for node in self.nodes[:2])
        return f"redis+cluster://{hosts}"

    @property
    def primaries(self) -> list[RedisServer]:
        """The nodes that take writes now."""
        return [node for node in self.nodes if node.running and node.info()["role"] == "master"]

    def primary_of(self, key: str) -> RedisServer:
        """The node that holds `key`, by what the nodes themselves say."""
        slot = int(self.nodes[-1].ask("CLUSTER KEYSLOT", key))
        for node in self.primaries:
            with suppress(redis.ResponseError), node.client() as client:
                client.execute_command("EXISTS", key)
                return node
        raise AssertionError(f"nobody holds slot {slot}")

    def wait_replicated(self) -> None:
        """Return when every replica has all that its primary has written."""
        wait_replicated([node for node in self.nodes if node.running])

    def wait_replaced(self, old: RedisServer) -> None:
        """Return when another node has taken the slots of `old`, which is down."""

        def replaced() -> bool:
            return len(self.primaries) == self._primaries and all(
                node.ask("CLUSTER INFO").get("cluster_state") == "ok"
                for node in self.nodes
                if node.running and node is not old
            )

        eventually(_unless_redis_fails(replaced), within_s=_FAILED_OVER_WITHIN_S, what="fail-over")

    def fail_over(self, replica: RedisServer) -> None:
        """Have `replica` take over from a primary that is well; returns when it did."""
        deadline = time.monotonic() + _FAILED_OVER_WITHIN_S
        while replica.info()["role"] != "master":
            assert time.monotonic() < deadline, "no fail-over"
            # Nodes that have not yet heard of a replica do not vote for it.
            replica.ask("CLUSTER FAILOVER")
            with suppress(AssertionError):
                eventually(lambda: replica.info()["role"] == "master", within_s=1.0)

    def bring_back(self, killed: RedisServer) -> None:
        """Start a node that was replaced; returns when it is a replica."""
        killed.restart()
        eventually(_is_linked(killed), what="the replica is linked")
        eventually(self._is_whole, what="the cluster knows its replica")

    def client(self) -> redis.RedisCluster:
        """A client of the whole cluster, to look behind the server's back."""
        return redis.RedisCluster(host=LOOPBACK, port=self.nodes[0].port)

    def _replicate(self, node: RedisServer, head_id: str) -> None:
        def replicated() -> bool:
            return bool(node.ask("CLUSTER REPLICATE", head_id))

        eventually(_unless_redis_fails(replicated), what="the node knows its primary")

    def _is_whole(self) -> bool:
        for node in self.nodes:
            state = node.ask("CLUSTER INFO")
            if state["cluster_state"] != "ok" or int(state["cluster_known_nodes"]) != len(
                self.nodes
            ):
                return False
            if node.info().get("master_link_status", "up") != "up":
                return False
        shown = [len(self.nodes[0].ask("CLUSTER SLOTS"))]
        return shown == [self._primaries] and len(self.primaries) == self._primaries


def wait_replicated(servers: Sequence[RedisServer]) -> None:
    """Return when every replica among `servers` has what its primary has written by now."""
    written = {server.port: int(server.info()["master_repl_offset"]) for server in servers}

    def caught_up() -> bool:
        states = [server.info() for server in servers]
        return all(
            int(state["slave_repl_offset"]) >= written[int(state["master_port"])]
            for state in states
            if state["role"] == "slave"
        )

    eventually(_unless_redis_fails(caught_up), what="replicas catch up")


def _follows(primary: RedisServer) -> Callable[[RedisServer], bool]:
    def follows(server: RedisServer) -> bool:
        if server is primary or not server.running:
            return True
        if server.info()["role"] == "master":
            server.ask("REPLICAOF", LOOPBACK, primary.port)
        return _is_linked(server)()

    return follows


def _watched(sentinel: SentinelServer) -> dict[str, Any]:
    with sentinel.client() as client:
        state: dict[str, Any] = client.sentinel_master(SERVICE)
    return state


def _is_linked(server: RedisServer) -> Callable[[], bool]:
    return lambda: server.info().get("master_link_status") == "up"


def _shares(count: int) -> Iterator[tuple[int, int]]:
    for number in range(count):
        yield number * _SLOTS // count, (number + 1) * _SLOTS // count - 1


def _unless_redis_fails(probe: Callable[[], bool]) -> Callable[[], bool | None]:
    def guarded() -> bool | None:
        with suppress(redis.RedisError):
            return probe()
        return None

    return guarded
