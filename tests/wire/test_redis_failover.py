"""The server on the Redis of production: its primary dies or is replaced, and uploads go on."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event, Thread

import pytest

from tests.conftest import StartServer
from tests.support.bodies import KIB, MIB, PART_BYTES, body_of
from tests.support.events import watching
from tests.support.raw import RawConnection, RawResponse
from tests.support.redis_topologies import ClusterTopology, RedisServer, SentinelTopology
from tests.support.server import ServerProcess, StoreSettings
from tests.support.stores import Bucket
from tests.support.tls import TlsFront, make_certificates
from tests.support.tus import RawClient, id_of
from tests.support.waiting import Stopwatch, eventually
from tests.wire.test_start import sentence, serve
from tusd_s3.devstack.free_ports import LOOPBACK

LENGTH = 4 * PART_BYTES + MIB + 7
PIECE_BYTES = 64 * KIB
CALM_AFTER = PART_BYTES + 2 * MIB
"""Bytes after which the primary is replaced: one part is stored, and some bytes of the next are
under way."""

MANY = 40
"""Uploads enough for each of three nodes to hold some: none would be left out once in a million."""

FINISHED_WITHIN_S = 40.0
HAND_OVER_MAX_S = 2.0
"""Well below the lease's TTL: what takes longer was not told through the channel."""


@pytest.fixture(scope="module")
def on_sentinels(
    sentinels: SentinelTopology, stores: StoreSettings, start_module_server: StartServer
) -> ServerProcess:
    return start_module_server(over=replace(stores, redis_url=sentinels.url))


@pytest.fixture(scope="module")
def on_cluster(
    cluster: ClusterTopology, stores: StoreSettings, start_module_server: StartServer
) -> ServerProcess:
    return start_module_server(over=replace(stores, redis_url=cluster.url))


@dataclass(slots=True)
class PatientClient:
    """Uploads one body as a real client does: slowly at first, and after a failure from the offset
    that HEAD gives. Anything a real client would give up for fails the test."""

    client: RawClient
    path: str
    body: bytes
    hurry: Event = field(default_factory=Event)
    calm: Event = field(default_factory=Event)
    patches: list[int] = field(default_factory=list)
    heads: list[int] = field(default_factory=list)
    _offset: int = 0

    def upload(self) -> None:
        """Return when the server has acknowledged everything."""
        deadline = time.monotonic() + FINISHED_WITHIN_S
        self._ask()
        while self._offset < len(self.body):
            assert time.monotonic() < deadline, (self.patches, self.heads)
            with suppress(OSError):  # cut, or silent for longer than anybody waits
                self._take(self._patch())
            if self._offset < len(self.body):
                self._ask()

    def _patch(self) -> RawResponse:
        left = len(self.body) - self._offset
        with self.client.begin_patch(self.path, self._offset, b"", declared=left) as connection:
            return self._send(connection)

    def _send(self, connection: RawConnection) -> RawResponse:
        for at in range(self._offset, len(self.body), PIECE_BYTES):
            connection.send(self.body[at : at + PIECE_BYTES])
            if at >= CALM_AFTER:
                self.calm.set()
            pause_s = 0.001 if self.hurry.is_set() or not self.calm.is_set() else 0.03
            with suppress(TimeoutError):  # nothing but silence is expected while a body is sent
                return connection.read_response(within_s=pause_s)
        return connection.read_response(within_s=FINISHED_WITHIN_S)

    def _take(self, response: RawResponse) -> None:
        self.patches.append(response.status)
        assert response.status in {204, 409, 423, 503}, response
        if response.status == 204:
            self._offset = response.offset

    def _ask(self) -> None:
        def answered() -> RawResponse | None:
            response = self.client.head(self.path)
            self.heads.append(response.status)
            assert response.status in {200, 423}, response
            return response if response.status == 200 else None

        offset = eventually(answered, within_s=FINISHED_WITHIN_S).offset
        if offset < self._offset:
            raise RuntimeError(f"{self._offset} was acknowledged, now it is {offset}")
        self._offset = offset


def goes_on_through(
    server: ServerProcess, bucket: Bucket, replace_primary: Callable[[str], None]
) -> None:
    """Upload while `replace_primary` does its work; it is given the key of the record."""
    client, body = server.client, body_of(LENGTH)
    waiting = client.new_upload(LENGTH, body=body[:MIB])
    slow = PatientClient(client, client.new_upload(LENGTH), body)
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(slow.upload)
        assert slow.calm.wait(FINISHED_WITHIN_S)
        try:
            replace_primary(f"{server.stores.redis_prefix}{{{id_of(slow.path)}}}")
        finally:
            slow.hurry.set()
        done.result(FINISHED_WITHIN_S)
    late = PatientClient(client, waiting, body)
    late.hurry.set()
    late.upload()
    for path in (slow.path, waiting):
        assert bucket.body(server.stores.object_prefix + id_of(path)) == body
    assert client.new_upload(10, body=b"0123456789")


def assert_head_never_fails_while(client: RawClient, path: str, work: Callable[[], None]) -> None:
    """HEAD must be 200 or 423 throughout: browsers' clients begin anew at anything else."""
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(work)
        statuses = {client.head(path).status}
        while not done.done():
            statuses.add(client.head(path).status)
        done.result()
    assert statuses <= {200, 423}


# --- sentinels


def test_an_upload_goes_on_when_sentinels_replace_a_dead_primary(
    on_sentinels: ServerProcess, bucket: Bucket, sentinels: SentinelTopology
) -> None:
    old = sentinels.primary
    watched = on_sentinels.client.new_upload(MIB, body=b"x" * KIB)

    def replace_primary(_key: str) -> None:
        def die() -> None:
            old.kill()
            sentinels.wait_replaced(old)

        sentinels.wait_replicated()
        assert_head_never_fails_while(on_sentinels.client, watched, die)

    goes_on_through(on_sentinels, bucket, replace_primary)
    assert on_sentinels.client.offset_of(watched) == KIB
    sentinels.bring_back(old)


def test_an_upload_goes_on_when_sentinels_replace_a_primary_that_is_well(
    on_sentinels: ServerProcess, bucket: Bucket, sentinels: SentinelTopology
) -> None:
    """The old one takes writes for ten seconds more, and then loses them."""
    client = on_sentinels.client

    def is_there(path: str) -> bool:
        return bool(sentinels.primary.ask("KEYS", f"*{id_of(path)}*"))

    def replace_primary(_key: str) -> None:
        sentinels.wait_replicated()
        sentinels.fail_over()
        old = next(server for server in sentinels.servers if server is not sentinels.primary)
        assert old.info()["role"] == "master"
        eventually(lambda: is_there(client.new_upload(1)), within_s=3.0)
        assert old.info()["role"] == "master"

    goes_on_through(on_sentinels, bucket, replace_primary)
    assert all(is_there(client.new_upload(10, body=b"01234")) for _ in range(20))
    sentinels.settle()


# --- a cluster


def test_an_upload_goes_on_when_a_node_of_the_cluster_dies(
    on_cluster: ServerProcess, bucket: Bucket, cluster: ClusterTopology
) -> None:
    watched = on_cluster.client.new_upload(MIB, body=b"x" * KIB)
    dead: list[RedisServer] = []

    def replace_primary(key: str) -> None:
        [primary] = dead[:] = [cluster.primary_of(key)]

        def die() -> None:
            primary.kill()
            cluster.wait_replaced(primary)

        cluster.wait_replicated()
        assert_head_never_fails_while(on_cluster.client, watched, die)

    goes_on_through(on_cluster, bucket, replace_primary)
    assert on_cluster.client.offset_of(watched) == KIB
    cluster.bring_back(dead[0])


def test_uploads_on_every_node_and_all_their_keys_under_the_prefix(
    on_cluster: ServerProcess, bucket: Bucket, cluster: ClusterTopology
) -> None:
    client, stores = on_cluster.client, on_cluster.stores
    body = body_of(PART_BYTES + MIB)
    paths = [client.new_upload(len(body), body=body[:KIB]) for _ in range(MANY)]
    used = {node.port: node.ask("KEYS", f"{stores.redis_prefix}*") for node in cluster.primaries}
    assert all(used.values())
    for path in paths[:4]:
        client.upload_from(path, body, [MIB + 1])
        assert bucket.body(stores.object_prefix + id_of(path)) == body
    for path in paths[4:12]:
        assert client.delete(path).status == 204
        assert client.head(path).status == 404
    for node in cluster.primaries:
        keys = node.ask("KEYS", "*")
        assert [key for key in keys if not key.startswith(stores.redis_prefix)] == []
        assert [key for key in keys if any(id_of(path) in key for path in paths[4:12])] == []


def test_a_newcomer_interrupts_a_holder_in_another_process(
    on_cluster: ServerProcess, start_server: StartServer
) -> None:
    second = start_server(over=on_cluster.stores)
    for holder, newcomer in ((on_cluster, second), (second, on_cluster)):
        path = holder.client.new_upload(LENGTH)
        begun = holder.client.begin_patch(path, 0, body_of(LENGTH)[:MIB], declared=LENGTH)
        with begun as connection:
            connection.assert_silent_for(0.2)
            watch = Stopwatch()
            assert newcomer.client.offset_of(path) == MIB
            assert watch.elapsed_s < HAND_OVER_MAX_S
            assert connection.read_response().status == 423


# --- who watches


def sees_through(
    server: ServerProcess, other: ServerProcess, replace_primary: Callable[[str], None]
) -> None:
    """Bytes at one worker, a watcher at the other, and a new primary in between: one stream."""
    path = server.client.new_upload(LENGTH)
    key = f"{server.stores.redis_prefix}{{{id_of(path)}}}"
    with (
        watching(other.client, path) as stream,
        server.client.begin_patch(path, 0, b"x" * KIB, declared=LENGTH) as patch,
    ):
        stream.until("progress", state="receiving", offset=KIB)
        with Feed(patch) as feed:
            replace_primary(key)
            before = feed.sent_bytes
            eventually(lambda: feed.sent_bytes > before + 4 * KIB)
        stream.until(
            "progress", state="receiving", offset=KIB + feed.sent_bytes, within_s=FINISHED_WITHIN_S
        )
        assert server.client.delete(path).status == 204
        assert stream.rest()[-1].name == "terminated"


@dataclass(slots=True)
class Feed:
    """Sends a little of a body now and then, for the time of the block: one that is silent ends."""

    connection: RawConnection
    sent_bytes: int = 0
    _stop: Event = field(default_factory=Event)
    _thread: Thread = field(init=False)

    def __enter__(self) -> Feed:
        self._thread = Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(0.1):
            self.connection.send(b"y" * KIB)
            self.sent_bytes += KIB


def test_a_watcher_sees_on_when_sentinels_replace_a_dead_primary(
    on_sentinels: ServerProcess, sentinels: SentinelTopology, start_server: StartServer
) -> None:
    old = sentinels.primary

    def replace_primary(_key: str) -> None:
        sentinels.wait_replicated()
        old.kill()
        sentinels.wait_replaced(old)

    sees_through(on_sentinels, start_server(over=on_sentinels.stores), replace_primary)
    sentinels.bring_back(old)


def test_a_watcher_sees_on_when_a_node_of_the_cluster_dies(
    on_cluster: ServerProcess, cluster: ClusterTopology, start_server: StartServer
) -> None:
    dead: list[RedisServer] = []

    def replace_primary(key: str) -> None:
        [primary] = dead[:] = [cluster.primary_of(key)]
        cluster.wait_replicated()
        primary.kill()
        cluster.wait_replaced(primary)

    sees_through(on_cluster, start_server(over=on_cluster.stores), replace_primary)
    cluster.bring_back(dead[0])


# --- TLS, passwords, and what an operator is told


def test_an_upload_through_tls_by_a_user_with_no_more_rights_than_needed(
    tmp_path: Path, stores: StoreSettings, bucket: Bucket, start_server: StartServer
) -> None:
    certificates = make_certificates(tmp_path / "tls")
    with RedisServer(tmp_path / "redis") as redis:
        redis.ask(
            *("ACL SETUSER", "up", "on", ">s/sam", "resetchannels", f"&{stores.redis_prefix}*"),
            *(f"~{stores.redis_prefix}*", "+@read", "+@write", "+@scripting", "+@connection"),
            *("+@pubsub", "+info", "-@dangerous", "+info"),
        )
        front = TlsFront(certificates, (LOOPBACK, redis.port))
        front.start()
        try:
            url = f"rediss://up:s%2Fsam@{LOOPBACK}:{front.port}/0"
            url += f"?ssl_ca_certs={certificates.authority}"
            server = start_server(over=replace(stores, redis_url=url))
            path = server.client.new_upload(LENGTH)
            body = body_of(LENGTH)
            with server.client.begin_patch(path, 0, body[:MIB], declared=LENGTH):
                with watching(server.client, path) as stream:
                    stream.until("snapshot", "progress", state="receiving", offset=MIB)
                server.client.upload_from(path, body, [3 * MIB])
            assert bucket.body(stores.object_prefix + id_of(path)) == body
            assert front.secured > 0
        finally:
            front.stop()
        for text in ("s/sam", "s%2Fsam", "NoPermission", "channel broke"):
            assert text not in server.log()


def test_what_keeps_redis_from_being_used_is_one_sentence_without_a_password(
    tmp_path: Path, stores: StoreSettings
) -> None:
    certificates = make_certificates(tmp_path / "tls")
    other = make_certificates(tmp_path / "other")
    with RedisServer(tmp_path / "redis") as redis:
        redis.ask("CONFIG SET", "requirepass", "sesame")
        front = TlsFront(certificates, (LOOPBACK, redis.port))
        front.start()
        try:
            host = f"{LOOPBACK}:{front.port}"
            for url, says in (
                (f"redis://:wrong-sesame@{host}", "does not accept the user and password"),
                (f"rediss://:sesame@{host}?ssl_ca_certs={other.authority}", "no TLS connection"),
            ):
                done = serve(replace(stores, redis_url=url))
                assert says in sentence(done)
                assert "sesame" not in done.stdout + done.stderr
        finally:
            front.stop()
