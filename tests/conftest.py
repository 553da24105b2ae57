"""Fixtures: real stores for the whole run, and servers over a corner of them for each module."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Generator, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, settings

from tests.support.disk import GIB, lack_of_room, remove_all_but_logs
from tests.support.redis_proxy import RedisProxy
from tests.support.redis_topologies import ClusterTopology, SentinelTopology
from tests.support.s3_proxy import S3Proxy
from tests.support.server import LIVE, ServerProcess, StoreSettings
from tests.support.stores import Bucket, RedisView, corner_of
from tests.support.tus import RawClient
from tests.support.world import World
from tusd_s3.devstack.stores import LocalStores

settings.register_profile(
    "noisy machines", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("noisy machines")  # what took long has not failed

IMPATIENT = {
    "network-timeout": "2s",
    "lease-ttl": "4s",
    "checkpoint-interval": "3s",
    "cleanup-interval": "1h",
}
"""Settings of the servers under test: what takes a minute in production takes seconds here. The
clean-up stays out of the way, of counted calls above all; tests of it hurry it instead."""

PROCESS_NEEDS_BYTES = 2 * GIB
"""On the disk, of each process that runs tests; 1.8 GiB is the most that was seen."""

_UNIT = Path(__file__).with_name("unit")

StartServer = Callable[..., ServerProcess]


def pytest_sessionstart(session: pytest.Session) -> None:
    """No room on the disk is said once, before anything runs."""
    options = session.config.option
    if hasattr(session.config, "workerinput"):
        return
    folder = Path(options.basetemp or tempfile.gettempdir()).absolute()
    processes = getattr(options, "numprocesses", None) or 1
    if lack := lack_of_room(folder, processes * PROCESS_NEEDS_BYTES):
        raise pytest.UsageError(lack)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long tests first, and those that start no server last: with several processes, the last one
    must not work alone for minutes."""
    items.sort(key=_turn)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failing test shows what the servers that run at that moment have logged."""
    report = yield
    if report.failed and call.when == "call" and "tests" in item.nodeid:
        report.sections += [(f"server on port {one.port}", one.log_tail()) for one in LIVE]
    return report


@pytest.fixture(scope="session")
def all_stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreSettings]:
    """One real S3, which has no bucket yet, and one real Redis for the run."""
    folder = tmp_path_factory.mktemp("stores")
    local = LocalStores(folder)
    try:
        yield StoreSettings(**asdict(local.start()))
    finally:
        local.stop()
        remove_all_but_logs(folder)


@pytest.fixture(scope="module")
def stores(all_stores: StoreSettings) -> Iterator[StoreSettings]:
    """A corner of the stores that is this module's own."""
    with corner_of(all_stores) as corner:
        yield corner


@pytest.fixture(scope="module")
def bucket(stores: StoreSettings) -> Iterator[Bucket]:
    """The bucket, as its owner sees it."""
    bucket = Bucket.open(stores)
    yield bucket
    bucket.close()


@pytest.fixture(scope="module")
def redis_view(stores: StoreSettings) -> RedisView:
    """This module's keys in Redis."""
    return RedisView(stores.redis_url, stores.redis_prefix)


@pytest.fixture(scope="module")
def module_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where this module's servers write their logs."""
    return tmp_path_factory.mktemp("servers")


@pytest.fixture(scope="module")
def start_module_server(stores: StoreSettings, module_path: Path) -> Iterator[StartServer]:
    """Start servers that live as long as the module; by default over its stores."""
    yield from _starter(stores, module_path)


@pytest.fixture
def start_server(stores: StoreSettings, tmp_path: Path) -> Iterator[StartServer]:
    """Start servers that live as long as the test: `start_server(max_size="1MiB")`.

    `over` replaces the stores, `base_path`, `expect_traceback` and `fresh` are the harness's own;
    all other names become command-line options.
    """
    yield from _starter(stores, tmp_path)


@pytest.fixture(scope="module")
def server(start_module_server: StartServer) -> ServerProcess:
    """The module's default server."""
    return start_module_server()


@pytest.fixture(scope="module")
def second_server(server: ServerProcess, start_module_server: StartServer) -> ServerProcess:
    """Another process over the same uploads as `server`: a second worker."""
    return start_module_server(over=server.stores)


@pytest.fixture(scope="module")
def world(server: ServerProcess, bucket: Bucket, redis_view: RedisView) -> World:
    """The default server and what stands behind it."""
    return World(server, bucket, redis_view)


@pytest.fixture
def client(server: ServerProcess) -> RawClient:
    """A client of the default server."""
    return server.client


@pytest.fixture(scope="module")
def s3_proxy(stores: StoreSettings) -> Iterator[S3Proxy]:
    """A proxy before S3. Rules that a test adds are the test's to clear (`rules.clear()`)."""
    proxy = S3Proxy(_address(stores.s3_endpoint))
    proxy.start()
    yield proxy
    proxy.stop()


@pytest.fixture(scope="module")
def redis_proxy(stores: StoreSettings) -> Iterator[RedisProxy]:
    """A proxy before Redis."""
    proxy = RedisProxy(_address(stores.redis_url))
    proxy.start()
    yield proxy
    proxy.stop()


@pytest.fixture(scope="module")
def proxied(
    stores: StoreSettings,
    s3_proxy: S3Proxy,
    redis_proxy: RedisProxy,
    start_module_server: StartServer,
    bucket: Bucket,
    redis_view: RedisView,
) -> World:
    """A server that reaches S3 and Redis through the proxies only. Its lease is long, so that no
    renewal comes between counted calls."""
    through = replace(stores, s3_endpoint=s3_proxy.endpoint, redis_url=redis_proxy.url)
    server = start_module_server(over=through, lease_ttl="30s")
    return World(server, bucket, redis_view)


@pytest.fixture(scope="module")
def sentinels(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SentinelTopology]:
    """A primary, replicas, and three sentinels that watch them."""
    with SentinelTopology(tmp_path_factory.mktemp("sentinels"), sentinels=3) as topology:
        yield topology


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterTopology]:
    """Three primaries with a replica each."""
    with ClusterTopology(tmp_path_factory.mktemp("cluster")) as topology:
        yield topology


def _turn(item: pytest.Item) -> int:
    if item.get_closest_marker("long") is not None:
        return 0
    return 2 if _UNIT in item.path.parents else 1


def _address(url: str) -> tuple[str, int]:
    split = urlsplit(url)
    assert split.hostname is not None
    assert split.port is not None
    return split.hostname, split.port


def _starter(stores: StoreSettings, folder: Path) -> Iterator[StartServer]:
    started: list[ServerProcess] = []

    def start(
        *,
        over: StoreSettings | None = None,
        base_path: str = "/files/",
        expect_traceback: bool = False,
        fresh: bool = False,
        **options: Any,  # noqa: ANN401 - shown as text
    ) -> ServerProcess:
        given = {name.replace("_", "-"): str(value) for name, value in options.items()}
        server = ServerProcess(
            over or stores,
            folder / f"server-{len(started)}.log",
            IMPATIENT | given,
            base_path,
            expect_traceback,
            fresh=fresh,
        )
        started.append(server)
        server.start()
        return server

    yield start
    failures = [failure for server in started if (failure := _stop(server)) is not None]
    assert not failures, "\n".join(failures)


def _stop(server: ServerProcess) -> str | None:
    # One server that fails to stop must not keep the others running.
    try:
        server.stop()
    except AssertionError as error:
        return str(error)
    return None
