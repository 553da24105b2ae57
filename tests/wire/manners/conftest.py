"""One server for all modules here: the scripts differ in what they send, not in where."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import IMPATIENT
from tests.support.server import ServerProcess, StoreSettings
from tests.support.stores import Bucket, RedisView, corner_of
from tests.support.world import World
from tests.wire.manners.line import Line


@pytest.fixture(scope="package")
def stores(all_stores: StoreSettings) -> Iterator[StoreSettings]:
    """A corner of the stores that is this package's own."""
    with corner_of(all_stores) as corner:
        yield corner


@pytest.fixture(scope="package")
def server(
    stores: StoreSettings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    """A server as its command starts it."""
    log = tmp_path_factory.mktemp("manners") / "server.log"
    with ServerProcess(stores, log, IMPATIENT, fresh=True) as server:
        yield server


@pytest.fixture(scope="package")
def world(server: ServerProcess, stores: StoreSettings) -> Iterator[World]:
    """That server and what stands behind it."""
    bucket = Bucket.open(stores)
    yield World(server, bucket, RedisView(stores.redis_url, stores.redis_prefix))
    bucket.close()


@pytest.fixture
def line(world: World) -> Iterator[Line]:
    """The way of one client to the server."""
    line = Line(world.client.address)
    yield line
    line.hang_up()


@pytest.fixture
def endpoint(line: Line) -> str:
    """Where uploads are made, as it is configured into a client."""
    return f"http://{line.host}/files/"
