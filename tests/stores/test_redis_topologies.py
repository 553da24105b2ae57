"""One Redis, sentinels, a cluster: the same calls and errors, whatever fails over or moves."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.support.redis_topologies import (
    SERVICE,
    ClusterTopology,
    RedisServer,
    SentinelTopology,
)
from tests.support.tcp_proxy import TcpProxy
from tests.support.tls import Certificates, TlsFront, make_certificates
from tests.support.waiting import eventually
from tusd_s3 import errors
from tusd_s3.devstack.free_ports import LOOPBACK, free_ports
from tusd_s3.stores.redis import RedisOptions, check_redis, open_redis, scripts
from tusd_s3.stores.redis.bounds import FAILURES
from tusd_s3.stores.redis.client import (
    Client,
    run_script,
    run_script_for_each,
    translated,
    with_scripts,
)
from tusd_s3.stores.redis.cluster import ClusterClient
from tusd_s3.stores.redis.scripts import Script
from tusd_s3.stores.redis.topology import by_primary, subscribed

COUNT = Script("redis.call('INCR', KEYS[2]) return redis.call('INCR', KEYS[1])")
"""Writes two keys; its answer tells how often it ran."""

LENGTH = Script("return redis.call('STRLEN', KEYS[1])")

MANY = 300
"""More calls than a client has connections, and enough keys for every primary to hold some."""

PATIENCE_S = 8.0


@pytest.fixture(scope="module", autouse=True)
def _more_scripts() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scripts, "ALL", (*scripts.ALL, COUNT, LENGTH))
        yield


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("single")) as server:
        yield server


@pytest.fixture(params=["single", "sentinels", "cluster"])
def any_url(request: pytest.FixtureRequest) -> str:
    """The address of a Redis of each kind."""
    url: str = request.getfixturevalue(request.param).url
    return url


@pytest.fixture
async def client(any_url: str) -> AsyncIterator[Client]:
    async with opened(any_url) as client:
        yield client


@asynccontextmanager
async def opened(url: str, *, timeout_s: float = 2.0) -> AsyncIterator[Client]:
    async with open_redis(RedisOptions(url=url, prefix="", timeout_s=timeout_s)) as client:
        yield client


async def checked(url: str) -> str | None:
    async with opened(url) as client:
        return await check_redis(client)


def key_pair() -> list[str]:
    """Two new keys of one slot."""
    name = secrets.token_hex(8)
    return [f"t:{{{name}}}", f"t:{{{name}}}:more"]


async def append(client: Client, keys: list[str], text: bytes, at: int) -> int:
    """Bytes and a script behind them, as a commit sends them; the length that the script saw."""

    async def call() -> int:
        calls = client.pipeline(transaction=False)
        calls.setrange(keys[0], at, text)
        calls.pexpireat(keys[0], int(time.time() * 1000) + 60_000)
        calls.evalsha(LENGTH.sha, 1, keys[0])
        answers: list[Any] = await calls.execute()
        return int(answers[-1])

    with translated():
        return await with_scripts(client, call)


async def run_each(
    client: Client, calls: list[tuple[list[str], tuple[()]]], *, within_s: float = 5.0
) -> list[Any]:
    return await run_script_for_each(client, COUNT, calls, within_s=within_s)


async def until_answered(client: Client, keys: list[str]) -> int:
    """Run COUNT until it runs. Whatever else than StateUnavailable comes up fails the test."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return int(await run_script(client, COUNT, keys))
        except errors.StateUnavailable:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)


async def on_thread(work: Any, *args: Any) -> Any:  # noqa: ANN401 - any blocking helper
    return await asyncio.get_running_loop().run_in_executor(None, work, *args)


# --- the same on each kind


async def test_scripts_and_pipelines_run_on_every_slot(client: Client) -> None:
    pairs = [key_pair() for _ in range(MANY)]
    ran = await asyncio.gather(*(run_script(client, COUNT, keys) for keys in pairs))
    assert ran == [1] * MANY
    assert await run_each(client, [(keys, ()) for keys in pairs]) == [2] * MANY
    texts = [key_pair() for _ in range(MANY)]
    stored = await asyncio.gather(*(append(client, keys, b"x" * 100, 0) for keys in texts))
    assert stored == [100] * MANY
    assert await append(client, texts[0], b"y" * 10, 100) == 110
    assert await client.getrange(texts[0][0], 99, 101) == b"xyy"


@pytest.mark.parametrize("kind", ["single", "sentinels", "cluster"])
async def test_forgotten_scripts_are_loaded_again(
    kind: str, request: pytest.FixtureRequest
) -> None:
    topology = request.getfixturevalue(kind)
    async with opened(topology.url) as client:
        keys = key_pair()
        for ask in (
            lambda: run_script(client, COUNT, keys),
            lambda: run_each(client, [(keys, ())]),
            lambda: append(client, key_pair(), b"x", 0),
        ):
            await ask()
            for server in topology.primaries:
                server.ask("SCRIPT FLUSH")
            await ask()
        assert await run_script(client, COUNT, keys) == 5


async def test_all_nodes_are_scanned(client: Client) -> None:
    prefix = f"t{secrets.token_hex(4)}:"
    names = {f"{prefix}{{{number}}}" for number in range(MANY)}
    calls = client.pipeline(transaction=False)
    for name in sorted(names):
        calls.hset(name, "field", "value")
        calls.exists(name)
    assert await calls.execute() == [1, 1] * MANY
    found = [name.decode() async for name in client.scan_iter(match=f"{prefix}*", count=50)]
    assert sorted(found) == sorted(names)
    assert (await client.info("memory"))["used_memory"] > 0
    assert await client.delete(*names) == MANY


async def test_an_error_of_redis_is_unavailable_state(client: Client) -> None:
    keys = key_pair()
    with translated():
        await client.set(keys[0], "not a number")
    with pytest.raises(errors.StateUnavailable):
        await run_script(client, COUNT, keys)
    fine = key_pair()
    [bad, good] = await run_each(client, [(keys, ()), (fine, ())])
    assert isinstance(bad, errors.StateUnavailable)
    assert good == 1


async def test_a_message_reaches_whoever_listens(client: Client, any_url: str) -> None:
    channel = f"t:{secrets.token_hex(8)}"
    publish = Script("return redis.call('PUBLISH', ARGV[1], KEYS[1])")
    async with opened(any_url) as other, subscribed(other, channel) as listener:
        # Redis has the subscription when it answers; from then on no message may be missed.
        answer = await listener.parse_response(block=False, timeout=2.0)
        assert answer is not None
        names = [key_pair()[0] for _ in range(20)]
        for name in names:
            await client.eval(publish.text, 1, name, channel)
        async with asyncio.timeout(2):
            heard = [await anext(listener.listen()) for _ in names]
    # From the nodes of a cluster, messages come in the order of each node.
    assert sorted(str(message["data"], "ascii") for message in heard) == sorted(names)


async def test_a_redis_that_keeps_what_it_gets_is_accepted(any_url: str) -> None:
    assert await checked(any_url) is None


@pytest.mark.parametrize("kind", ["single", "sentinels", "cluster"])
async def test_a_redis_that_evicts_is_refused(kind: str, request: pytest.FixtureRequest) -> None:
    topology = request.getfixturevalue(kind)
    server = topology.primaries[-1]
    server.ask("CONFIG SET", "maxmemory-policy", "allkeys-lru")
    try:
        assert "maxmemory-policy allkeys-lru" in str(await checked(topology.url))
    finally:
        server.ask("CONFIG SET", "maxmemory-policy", "noeviction")


# --- the wrong kind, the wrong role


async def test_a_socket_of_this_machine(tmp_path: Path) -> None:
    socket = f"/tmp/tusd-s3-{secrets.token_hex(4)}.sock"  # paths of sockets must be short
    with RedisServer(tmp_path, unixsocket=socket):
        assert await checked(f"unix://{socket}") is None
        async with opened(f"unix://{socket}?db=1") as client:
            assert await run_script(client, COUNT, key_pair()) == 1


async def test_an_address_of_the_wrong_kind_is_refused_with_the_right_one(
    single: RedisServer, sentinels: SentinelTopology, cluster: ClusterTopology
) -> None:
    node = cluster.nodes[0]
    assert "use redis+cluster://" in str(await checked(node.url))
    assert "use redis+sentinel://" in str(await checked(sentinels.sentinels[0].url))
    for scheme, path, says in (
        ("redis+cluster", "", "is not a cluster: use redis://"),
        ("redis+sentinel", "/uploads", "is not a sentinel: use redis://"),
    ):
        assert says in str(await checked(f"{scheme}://{LOOPBACK}:{single.port}{path}"))


async def test_a_replica_is_refused(sentinels: SentinelTopology) -> None:
    [replica] = [server for server in sentinels.servers if server is not sentinels.primary]
    assert "is a replica" in str(await checked(replica.url))


async def test_a_service_that_no_sentinel_knows_is_refused(sentinels: SentinelTopology) -> None:
    said = str(await checked(sentinels.url.replace(SERVICE, "others")))
    assert said.startswith("No sentinel names a primary")


@pytest.mark.parametrize(
    "form", ["redis://{}", "redis+sentinel://{}/uploads", "redis+cluster://{}"]
)
async def test_nobody_there_is_a_sentence_and_an_unavailable_state(form: str) -> None:
    url = form.format(f"{LOOPBACK}:{free_ports(1)[0]}")
    assert "check" in str(await checked(url))
    async with opened(url) as client:
        with pytest.raises(errors.StateUnavailable):
            await run_script(client, COUNT, key_pair())
        with pytest.raises(errors.StateUnavailable):
            await append(client, key_pair(), b"x", 0)
        with pytest.raises(FAILURES):
            async with subscribed(client, "t"):
                pass


# --- cancellation

CANCELLED_AFTER = range(120)
"""Turns of the event loop; a call, with its connecting, is over after fewer."""


async def test_no_cancellation_is_lost(any_url: str) -> None:
    """Whatever a task does with Redis at that moment: else those in the background, which repeat
    their calls for ever, would outlive a shutdown, and keep it from ending."""

    async def work() -> None:
        async with opened(any_url) as client, subscribed(client, "t") as listener:
            while True:
                await run_script(client, COUNT, key_pair())
                await listener.get_message(timeout=0.01)

    for turns in CANCELLED_AFTER:
        task = asyncio.create_task(work())
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        _, late = await asyncio.wait([task], timeout=PATIENCE_S)
        assert not late, turns
        assert task.cancelled(), turns


# --- a primary that is none any more


async def test_a_demoted_primary_is_left_for_the_new_one_behind_the_address(
    tmp_path: Path,
) -> None:
    """What a service with one address for its primary does: the old one stays up, as a replica,
    and so do connections to it."""
    with RedisServer(tmp_path / "old") as old, RedisServer(tmp_path / "new") as new:
        proxy = TcpProxy((LOOPBACK, old.port))
        proxy.start()
        try:
            async with opened(f"redis://{LOOPBACK}:{proxy.port}") as client:
                keys = key_pair()
                assert await run_script(client, COUNT, keys) == 1
                proxy.upstream = (LOOPBACK, new.port)
                old.ask("REPLICAOF", LOOPBACK, new.port)
                eventually(lambda: old.info()["master_link_status"] == "up")
                assert await run_script(client, COUNT, keys) == 1
                assert await append(client, key_pair(), b"x", 0) == 1
        finally:
            proxy.stop()
        assert new.ask("GET", keys[0]) == "1"


async def test_a_replica_never_answers_but_with_unavailable_state(
    sentinels: SentinelTopology,
) -> None:
    [replica] = [server for server in sentinels.servers if server is not sentinels.primary]
    async with opened(replica.url) as client:
        with pytest.raises(errors.StateUnavailable):
            await run_script(client, COUNT, key_pair())
        with pytest.raises(errors.StateUnavailable):
            await append(client, key_pair(), b"x", 0)


# --- sentinels


async def test_a_primary_that_dies_is_left_for_the_one_that_sentinels_name(
    sentinels: SentinelTopology,
) -> None:
    async with opened(sentinels.url) as client:
        keys = key_pair()
        assert await run_script(client, COUNT, keys) == 1
        sentinels.wait_replicated()
        killed = sentinels.primary
        killed.kill()
        await on_thread(sentinels.wait_replaced, killed)
        assert await until_answered(client, keys) == 2
        await on_thread(sentinels.bring_back, killed)
        assert await until_answered(client, keys) == 3


async def test_a_primary_that_is_replaced_although_it_is_well_is_left_at_once(
    sentinels: SentinelTopology,
) -> None:
    """It goes on taking writes for ten seconds, and all of them are lost."""
    async with opened(sentinels.url) as client, subscribed(client, "t") as listener:
        keys = key_pair()
        assert await run_script(client, COUNT, keys) == 1
        assert await listener.parse_response(block=False, timeout=2.0) is not None
        sentinels.wait_replicated()
        old = sentinels.primary
        await on_thread(sentinels.fail_over)
        assert old.info()["role"] == "master"
        new = sentinels.primary
        while new.ask("PUBSUB NUMSUB", "t") != [("t", 1)]:
            assert await listener.get_message(timeout=0.05) is None
        assert await run_script(client, COUNT, keys) == 2
        assert (new.ask("GET", keys[0]), old.ask("GET", keys[0])) == ("2", "1")
        await on_thread(sentinels.settle)


async def test_a_dead_sentinel_is_passed_over_and_none_is_forgotten(
    sentinels: SentinelTopology,
) -> None:
    dead = sentinels.sentinels[0]
    dead.kill()
    try:
        async with opened(sentinels.url) as client:
            await asyncio.gather(*(run_script(client, COUNT, key_pair()) for _ in range(64)))
            assert not isinstance(client, ClusterClient)
            pool: Any = client.connection_pool
            asked = [one.connection_pool.connection_kwargs["port"]
                     for one in pool.sentinel_manager.sentinels]  # fmt: skip
    finally:
        dead.restart()
    assert sorted(asked) == sorted(sentinel.port for sentinel in sentinels.sentinels)
    assert asked[0] != dead.port


async def test_sentinels_may_have_a_password_of_their_own(tmp_path: Path) -> None:
    with SentinelTopology(tmp_path, password="sesame") as topology:
        assert await checked(topology.url) is None
        for wrong in ("?sentinel_password=wrong", ""):
            said = str(await checked(topology.url.partition("?")[0] + wrong))
            assert "sentinel_password" in said
            assert "sesame" not in said


# --- a cluster


async def test_a_dead_primary_fails_its_own_calls_only_until_it_is_replaced(
    cluster: ClusterTopology,
) -> None:
    async with opened(cluster.url, timeout_s=1.0) as client:
        pairs = [key_pair() for _ in range(MANY)]
        await run_each(client, [(keys, ()) for keys in pairs])
        dead = cluster.primary_of(pairs[0][0])
        cluster.wait_replicated()
        dead.kill()
        answers = await run_each(client, [(keys, ()) for keys in pairs])
        failed = [isinstance(answer, errors.StateUnavailable) for answer in answers]
        assert failed[0]
        assert MANY / 6 < sum(failed) < MANY / 2
        alive = failed.index(False)
        assert await run_script(client, COUNT, pairs[alive]) == 3
        cluster.primary_of(pairs[alive][0]).ask("SCRIPT FLUSH")
        assert await until_answered(client, pairs[alive]) == 4  # loaded although one is down
        await on_thread(cluster.wait_replaced, dead)
        assert await until_answered(client, pairs[0]) == 2
        again = await run_each(client, [(keys, ()) for keys in pairs])
        assert not any(isinstance(answer, errors.StateUnavailable) for answer in again)
    cluster.bring_back(dead)


async def test_a_silent_primary_keeps_nobody_from_the_others(cluster: ClusterTopology) -> None:
    # It must not be replaced while it is silent.
    with cluster.configured("cluster-node-timeout", 60_000):
        await _assert_only_its_own_wait(cluster)


async def _assert_only_its_own_wait(cluster: ClusterTopology) -> None:
    async with opened(cluster.url, timeout_s=5.0) as client:
        pairs = [key_pair() for _ in range(MANY)]
        calls = [(keys, ()) for keys in pairs]
        await run_each(client, calls)
        groups = await by_primary(client, [keys[0] for keys in pairs])
        silent = cluster.primary_of(pairs[groups[0][0]][0])
        held = [pairs[index] for index in groups[0]]
        free = [pairs[index] for group in groups[1:] for index in group]
        silent.pause()
        waiting = [asyncio.create_task(run_script(client, COUNT, keys)) for keys in held]
        try:
            answers = await run_each(client, calls, within_s=0.3)
            await asyncio.gather(*(run_script(client, COUNT, keys) for keys in free))
            assert not any(task.done() for task in waiting)
        finally:
            silent.resume()
        failed = [isinstance(answer, errors.StateUnavailable) for answer in answers]
        assert failed == [keys in held for keys in pairs]
        assert all(isinstance(answer, int) for answer in await asyncio.gather(*waiting))


async def test_a_primary_that_gives_up_its_slots_in_good_order_costs_nothing(
    cluster: ClusterTopology,
) -> None:
    async with opened(cluster.url) as client:
        pairs = [key_pair() for _ in range(MANY)]
        calls = [(keys, ()) for keys in pairs]
        assert await run_each(client, calls) == [1] * MANY
        replica = next(node for node in cluster.nodes if node.info()["role"] == "slave")
        await on_thread(cluster.fail_over, replica)
        again = await run_each(client, calls)
        assert [answer for answer in again if not (isinstance(answer, int) and answer >= 2)] == []
        third = await asyncio.gather(*(run_script(client, COUNT, keys) for keys in pairs))
        assert third == [answer + 1 for answer in again]
        assert await append(client, pairs[0][:1], b"x", 1) == 2


async def test_a_node_that_says_the_cluster_is_down_is_asked_again(
    cluster: ClusterTopology,
) -> None:
    """It says so for a moment when slots change hands."""
    async with opened(cluster.url) as client:
        keys = key_pair()
        assert await run_each(client, [(keys, ())]) == [1]
        node = cluster.primary_of(keys[0])
        slot = node.ask("CLUSTER KEYSLOT", keys[0])
        node.ask("CLUSTER DELSLOTS", slot)
        try:
            refused_before = _refused(node)
            [answer] = await run_each(client, [(keys, ())])
            assert isinstance(answer, errors.StateUnavailable)
            assert _refused(node) > refused_before + 1
        finally:
            node.ask("CLUSTER ADDSLOTS", slot)
        await until_answered(client, keys)


def _refused(node: RedisServer) -> int:
    """How many scripts it would not run."""
    return int(node.ask("INFO", "commandstats")["cmdstat_evalsha"]["rejected_calls"])


async def test_a_listener_moves_to_another_node(cluster: ClusterTopology) -> None:
    channel = f"t:{secrets.token_hex(8)}"
    async with opened(cluster.url) as client:
        ports = set[int]()
        deadline = time.monotonic() + PATIENCE_S
        while len(ports) < 2 and time.monotonic() < deadline:
            async with subscribed(client, channel) as listener:
                connection: Any = listener.connection
                ports.add(connection.port)
    assert len(ports) == 2


async def test_a_slot_on_the_move_is_an_outage_and_then_served_by_its_new_node(
    tmp_path: Path,
) -> None:
    with ClusterTopology(tmp_path, primaries=1, replicas=0) as cluster:
        [source] = cluster.nodes
        async with opened(cluster.url) as client:
            keys, others = key_pair(), key_pair()
            text = [f"{keys[0]}:text"]
            assert await run_script(client, COUNT, keys) == 1
            assert await append(client, text, b"x", 0) == 1
            target = cluster.new_node(1)
            cluster.join(target)
            eventually(lambda: target.ask("CLUSTER INFO")["cluster_state"] == "ok")
            move = Move(source, target, keys)
            move.begin()
            with pytest.raises(errors.StateUnavailable):
                await run_script(client, COUNT, keys)
            assert await append(client, text, b"y", 1) == 2  # it has not moved yet
            [moving, staying] = await run_each(client, [(keys, ()), (others, ())])
            assert isinstance(moving, errors.StateUnavailable)
            assert staying == 1
            move.end()
            assert await until_answered(client, keys) == 2
            assert await append(client, text, b"z", 2) == 3


class Move:
    """Takes one slot from a node to another, key by key, as resharding does."""

    def __init__(self, source: RedisServer, target: RedisServer, keys: list[str]) -> None:
        self.source, self.target, self.keys = source, target, keys
        self.slot = int(source.ask("CLUSTER KEYSLOT", keys[0]))
        self.source_id = str(source.ask("CLUSTER MYID"))
        self.target_id = str(target.ask("CLUSTER MYID"))

    def begin(self) -> None:
        """The first key has moved; the slot is between the two."""
        self.target.ask("CLUSTER SETSLOT", self.slot, "IMPORTING", self.source_id)
        self.source.ask("CLUSTER SETSLOT", self.slot, "MIGRATING", self.target_id)
        self._take(self.keys[0])

    def end(self) -> None:
        """All keys have moved, and the slot with them."""
        for key in self.source.ask("CLUSTER GETKEYSINSLOT", self.slot, 100):
            self._take(key)
        for node in (self.target, self.source):
            node.ask("CLUSTER SETSLOT", self.slot, "NODE", self.target_id)

    def _take(self, key: str) -> None:
        self.source.ask("MIGRATE", LOOPBACK, self.target.port, key, 0, 5000)


# --- TLS and access control


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def fronts(certificates: Certificates) -> Iterator[list[TlsFront]]:
    """Two proxies that end TLS; they lead nowhere yet."""
    fronts = [TlsFront(certificates), TlsFront(certificates)]
    for front in fronts:
        front.start()
    yield fronts
    for front in fronts:
        front.stop()


async def works(url: str, front: TlsFront) -> None:
    assert await checked(url) is None
    async with opened(url) as client:
        assert await run_script(client, COUNT, key_pair()) == 1
        async with subscribed(client, "t") as listener:
            assert await listener.parse_response(block=False, timeout=2.0) is not None
    assert front.secured > 0
    # A subscription is closed without waiting for the end of TLS; the loop must not end before.
    while front.secured_now:  # noqa: ASYNC110 - it is another thread's
        await asyncio.sleep(0.01)


async def test_tls_to_one_server(
    single: RedisServer, fronts: list[TlsFront], certificates: Certificates
) -> None:
    fronts[0].upstream = (LOOPBACK, single.port)
    url = f"rediss://{LOOPBACK}:{fronts[0].port}"
    await works(f"{url}?ssl_ca_certs={certificates.authority}", fronts[0])
    await works(f"{url}?ssl_cert_reqs=none", fronts[0])


async def test_tls_to_sentinels_and_to_the_primary_they_name(
    tmp_path: Path, fronts: list[TlsFront], certificates: Certificates
) -> None:
    to_primary, to_sentinel = fronts
    with SentinelTopology(tmp_path, front=to_primary) as topology:
        to_sentinel.upstream = (LOOPBACK, topology.sentinels[0].port)
        url = f"rediss+sentinel://{LOOPBACK}:{to_sentinel.port}/{SERVICE}"
        await works(f"{url}?ssl_ca_certs={certificates.authority}", to_primary)
        assert to_sentinel.secured > 0


async def test_tls_to_a_cluster(
    tmp_path: Path, fronts: list[TlsFront], certificates: Certificates
) -> None:
    shown = {"cluster_announce_port": str(fronts[0].port)}
    with ClusterTopology(tmp_path, primaries=1, replicas=0, **shown) as topology:
        fronts[0].upstream = (LOOPBACK, topology.nodes[0].port)
        url = f"rediss+cluster://{LOOPBACK}:{fronts[0].port}"
        await works(f"{url}?ssl_ca_certs={certificates.authority}", fronts[0])


async def test_a_certificate_of_another_authority_is_refused(
    single: RedisServer, fronts: list[TlsFront], tmp_path: Path
) -> None:
    other = make_certificates(tmp_path).authority
    fronts[0].upstream = fronts[1].upstream = (LOOPBACK, single.port)
    address = f"{LOOPBACK}:{fronts[0].port}"
    for url in (f"rediss://{address}", f"rediss+cluster://{address}"):
        for extra in ("", f"?ssl_ca_certs={other}"):
            assert "There is no TLS connection to Redis (" in str(await checked(url + extra))
    assert "No sentinel" in str(await checked(f"rediss+sentinel://{address}/uploads"))


async def test_a_server_without_tls_is_refused_where_tls_is_wanted(single: RedisServer) -> None:
    async with opened(single.url.replace("redis:", "rediss:"), timeout_s=0.3) as client:
        said = str(await check_redis(client))
    assert said.startswith(("There is no TLS connection", "Redis does not answer"))


async def test_passwords(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server:
        server.ask("ACL SETUSER", "up", "on", ">sesame", "~t:*", "+@all", "-script")
        address = f"{LOOPBACK}:{server.port}"
        assert "script" in str(await checked(f"redis://up:sesame@{address}"))
        server.ask("ACL SETUSER", "up", "+script")
        assert await checked(f"redis://up:sesame@{address}") is None
        server.ask("CONFIG SET", "requirepass", "open")
        assert await checked(f"redis://:open@{address}") is None
        for wrong in ("", "up:wrong@", "nobody:sesame@", ":sesame@"):
            said = str(await checked(f"redis://{wrong}{address}"))
            assert said.startswith("Redis does not accept the user and password of --redis-url")
            assert "sesame" not in said


def test_options_show_no_password() -> None:
    options = RedisOptions(url="redis://:sesame@h", prefix="p:", timeout_s=1.0)
    assert "sesame" not in repr(replace(options, prefix="q:"))


def test_what_redis_py_raises_is_covered() -> None:
    """If redis-py names a new family of errors, it belongs into FAILURES."""
    of_cluster = [
        redis.exceptions.ClusterError("", ),
        redis.exceptions.ClusterDownError(""),
        redis.exceptions.SlotNotCoveredError(),
        redis.exceptions.RedisClusterException(),
        redis.exceptions.TryAgainError(),
        redis.exceptions.MovedError("1 h:1"),
        redis.sentinel.MasterNotFoundError(),
        redis.exceptions.MaxConnectionsError(),
    ]  # fmt: skip
    assert all(isinstance(error, FAILURES) for error in of_cluster)
