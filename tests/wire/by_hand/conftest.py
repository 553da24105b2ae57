"""Servers that all modules here share: they ask little of them, and each start takes a second."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import IMPATIENT
from tests.support.hosting import served_alone
from tests.support.server import ServerProcess, StoreSettings
from tests.support.stores import corner_of
from tests.support.wire_bytes import Peer


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
    log = tmp_path_factory.mktemp("by-hand") / "server.log"
    with ServerProcess(stores, log, IMPATIENT, fresh=True) as server:
        yield server


@pytest.fixture(scope="package")
def peer(server: ServerProcess) -> Peer:
    """That server, in bytes."""
    return Peer(("127.0.0.1", server.port))


@pytest.fixture(scope="package")
def guarded(stores: StoreSettings) -> Iterator[Peer]:
    """A server over the same uploads with a maximum of 100 bytes, two origins that may send
    cookies, no proxy to believe, and little patience for an upload that is held elsewhere."""
    with served_alone(
        stores,
        max_size="100",
        trusted_proxies="10.1.2.3",
        cors_allow_origin="https://app.example,http://localhost:3000",
        cors_allow_credentials=True,
        cors_allow_headers="X-Mine",
        cors_expose_headers="X-Ours",
        lease_ttl="30s",
        lease_wait="300ms",
    ) as port:
        yield Peer(("127.0.0.1", port))
