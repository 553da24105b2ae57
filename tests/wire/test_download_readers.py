"""Those who read: the ones who leave, the ones who fall silent, the slow ones, and all of them at
once; and the uploads beside them."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Self

import psutil
import pytest

from tests.conftest import StartServer
from tests.support.bodies import KIB, MIB, PART_BYTES, body_of
from tests.support.faults import Hold
from tests.support.memory import peak_bytes
from tests.support.raw import RawConnection
from tests.support.redis_proxy import RedisProxy
from tests.support.s3_calls import S3Call
from tests.support.s3_proxy import S3Proxy
from tests.support.server import ServerProcess
from tests.support.tus import RawClient
from tests.support.waiting import eventually
from tests.support.world import World

SIZE = 4 * PART_BYTES
BODY = body_of(SIZE)
BUDGET_MIB = 32
BEYOND_BUDGET_BYTES = 120 * MIB
"""See test_memory_budget."""
READERS = 500
PATIENCE_S = 30.0


def stored(client: RawClient) -> str:
    path = client.new_upload(SIZE)
    client.upload_from(path, BODY)
    return path


def begin(client: RawClient, path: str) -> RawConnection:
    """A GET of which nothing is read."""
    connection = client.connect()
    connection.send_head("GET", path)
    return connection


@pytest.mark.parametrize("leaves", [RawConnection.reset, RawConnection.close])
def test_who_leaves_takes_the_connection_to_s3_along(
    proxied: World, s3_proxy: S3Proxy, leaves: object
) -> None:
    assert callable(leaves)
    path = stored(proxied.client)
    before = s3_proxy.carried
    connection = begin(proxied.client, path)
    eventually(lambda: s3_proxy.carried > before, what="the object is on its way")
    assert connection.read_some()
    leaves(connection)
    eventually(lambda: s3_proxy.carried <= before, what="the connection to S3 is closed")


def test_who_leaves_while_s3_thinks_takes_the_connection_along(
    proxied: World, s3_proxy: S3Proxy
) -> None:
    path = stored(proxied.client)
    hold = Hold()
    s3_proxy.fail(S3Call.GET_OBJECT, hold)
    connection = begin(proxied.client, path)
    hold.wait_until_reached()
    before = connections_to(proxied.server, s3_proxy.port)
    connection.reset()
    eventually(
        lambda: connections_to(proxied.server, s3_proxy.port) < before,
        what="the connection to S3 is closed",
    )
    hold.release()
    assert proxied.client.request("GET", path).body == BODY
    assert "Traceback" not in proxied.server.log()


def connections_to(server: ServerProcess, port: int) -> int:
    there = psutil.Process(server.pid).net_connections("tcp")
    return sum(bool(one.raddr) and one.raddr.port == port for one in there)


def leave_while(client: RawClient, path: str, hold: Hold) -> None:
    """A GET whose client is gone, and known to be, before the answer begins."""
    connection = client.connect()
    connection.send_head("GET", path)
    hold.wait_until_reached()
    connection.reset()
    for _ in range(2):  # the server sees what happens to its connections in order
        assert client.request("OPTIONS", path).status == 204
    hold.release()


def test_who_has_left_before_the_answer_is_no_error(proxied: World, s3_proxy: S3Proxy) -> None:
    path = stored(proxied.client)
    hold = Hold()
    s3_proxy.fail(S3Call.GET_OBJECT, hold)
    leave_while(proxied.client, path, hold)
    assert proxied.client.request("GET", path).body == BODY
    assert "Traceback" not in proxied.server.log()


def test_a_watcher_who_has_left_before_the_stream_is_no_error(
    proxied: World, redis_proxy: RedisProxy
) -> None:
    path = proxied.client.new_upload(SIZE)
    hold = Hold()
    redis_proxy.fail("EVALSHA", hold)
    leave_while(proxied.client, f"{path}/progress", hold)
    snapshot = proxied.client.request("GET", f"{path}/progress", {"Accept": "application/json"})
    assert snapshot.status == 200
    assert "Traceback" not in proxied.server.log()


def test_a_reader_who_takes_nothing_is_cut(start_server: StartServer) -> None:
    server = start_server(network_timeout="1s")
    path = stored(server.client)
    with begin(server.client, path) as stalled:
        eventually(lambda: "broken off: TimeoutError" in server.log(), what="it is cut")
        got = stalled.read_until_closed()
    assert len(got) < SIZE


def test_a_reader_who_takes_little_is_not(start_server: StartServer) -> None:
    """One window lasts it for longer than the timeout, but some of it is taken all the time."""
    server = start_server(network_timeout="1s")
    path = stored(server.client)
    with Reader(server.client.address, path, buffer_bytes=8 * KIB) as slow:
        until_s = time.monotonic() + 3.5
        while time.monotonic() < until_s:
            slow.read(2 * KIB)
            time.sleep(0.1)
        slow.read_all()
        assert slow.body == BODY


def test_many_slow_readers_cost_no_more_than_the_budget(start_server: StartServer) -> None:
    """And an upload beside them goes on as if they were not there."""
    server = start_server(
        memory_budget=f"{BUDGET_MIB}MiB", network_timeout="1h", lease_ttl="10s", fresh=True
    )
    path = stored(server.client)
    with slow_readers(server, path, READERS) as readers:
        for _ in range(4):
            for reader in readers:
                reader.read(10 * KIB)
        client = RawClient(server.client.address, timeout_s=60)
        body = body_of(6 * PART_BYTES)
        beside = client.new_upload(len(body))
        client.upload_from(beside, body)
        for reader in readers:
            reader.read(10 * KIB)
            assert BODY.startswith(reader.body)
            assert len(reader.body) > 10 * KIB
        peak = peak_bytes(server.pid)
        print(f"{peak / MIB:.0f} MiB at a budget of {BUDGET_MIB} MiB")  # noqa: T201 - for whoever measures
        assert peak <= BUDGET_MIB * MIB + BEYOND_BUDGET_BYTES
        readers[0].read_all()
        assert readers[0].body == BODY


def test_who_comes_when_all_places_are_taken_is_told_to_come_back(
    start_server: StartServer,
) -> None:
    server = start_server(downloads_max=2)
    path = stored(server.client)
    with slow_readers(server, path, 2) as readers:
        answer = server.client.request("GET", path)
        assert (answer.status, answer.code) == (503, "too_many_downloads")
        assert server.client.head(path).status == 200
        readers[0].read_all()
        eventually(
            lambda: server.client.request("GET", path).status == 200, what="there is a place again"
        )


def test_downloads_take_no_connection_from_uploads(start_server: StartServer) -> None:
    server = start_server(s3_connections=4)
    path = stored(server.client)
    with slow_readers(server, path, 8):
        stored(server.client)


def test_a_worker_may_open_as_many_files_as_the_system_allows(server: ServerProcess) -> None:
    limits = Path(f"/proc/{server.pid}/limits").read_text()
    [line] = [line for line in limits.splitlines() if line.startswith("Max open files")]
    soft, hard = line.split()[3:5]
    assert soft == hard


class Reader:
    """A client that reads only when it is told to. buffer_bytes: of its kernel's; None for any."""

    def __init__(
        self, address: tuple[str, int], path: str, *, buffer_bytes: int | None = None
    ) -> None:
        self._socket = socket.socket()
        if buffer_bytes is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
        self._socket.settimeout(PATIENCE_S)
        self._socket.connect(address)
        self._socket.sendall(f"GET {path} HTTP/1.1\r\nHost: tus\r\n\r\n".encode())
        self._got = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    @property
    def body(self) -> bytes:
        """What it has of the body."""
        head, _, body = self._got.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 "), head
        return body

    def read(self, most: int) -> None:
        """Some more."""
        data = self._socket.recv(most)
        assert data
        self._got += data

    def read_all(self) -> None:
        """What is left, in no time."""
        while len(self.body) < SIZE:
            self.read(256 * KIB)


@contextmanager
def slow_readers(server: ServerProcess, path: str, count: int) -> Iterator[list[Reader]]:
    """So many, each of which has seen the beginning of the answer."""
    with ExitStack() as stack:
        readers = [stack.enter_context(Reader(server.client.address, path)) for _ in range(count)]
        for reader in readers:
            reader.read(KIB)
        yield readers
