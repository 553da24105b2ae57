"""What the lessons share: stores behind faulty networks, and settings that wait for a test."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.conftest import StartServer
from tests.support.redis_proxy import RedisProxy
from tests.support.s3_proxy import S3Proxy
from tests.support.server import ServerProcess, StoreSettings

PATIENT = {
    "network-timeout": "60s",
    "checkpoint-interval": "60s",
    "s3-timeout": "60s",
    "redis-timeout": "60s",
    "lease-ttl": "3s",
}
"""Settings under which nothing but the renewal of leases happens by itself: what a test holds stays
held until it says."""


@pytest.fixture(scope="module")
def through(stores: StoreSettings, s3_proxy: S3Proxy, redis_proxy: RedisProxy) -> StoreSettings:
    """The stores, reached through the proxies."""
    return replace(stores, s3_endpoint=s3_proxy.endpoint, redis_url=redis_proxy.url)


@pytest.fixture
def held_server(through: StoreSettings, start_server: StartServer) -> ServerProcess:
    """A process behind the proxies that waits for as long as it is made to. `world` has another,
    which reaches the same uploads without the proxies."""
    return start_server(over=through, s3_connections=256, **PATIENT)


@pytest.fixture(autouse=True)
def _mended(s3_proxy: S3Proxy, redis_proxy: RedisProxy) -> Iterator[None]:
    """No fault outlives its test."""
    yield
    s3_proxy.rules.clear()
    redis_proxy.rules.clear()
