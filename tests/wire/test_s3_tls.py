"""A store that is reached over TLS, verified by the authorities that the SDK is told of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.conftest import StartServer
from tests.support.bodies import PART_BYTES, body_of
from tests.support.s3_calls import S3Call
from tests.support.s3_proxy import S3Proxy
from tests.support.server import StoreSettings
from tests.support.stores import Bucket, RedisView
from tests.support.tls import Certificates, TlsFront, make_certificates
from tests.support.tus import id_of
from tests.support.world import World
from tusd_s3.devstack.free_ports import LOOPBACK


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def world(
    monkeypatch: pytest.MonkeyPatch,
    certificates: Certificates,
    s3_proxy: S3Proxy,
    stores: StoreSettings,
    start_server: StartServer,
    bucket: Bucket,
    redis_view: RedisView,
) -> Iterator[World]:
    """A server with TLS before the proxy before S3."""
    # The harness keeps AWS_CA_BUNDLE from servers; the SDK takes this one in its place.
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificates.authority))
    front = TlsFront(certificates, (LOOPBACK, s3_proxy.port))
    front.start()
    over = replace(stores, s3_endpoint=f"https://{LOOPBACK}:{front.port}")
    yield World(start_server(over=over), bucket, redis_view)
    front.stop()


def test_uploads_arrive_whole_over_tls_in_as_few_calls(world: World, s3_proxy: S3Proxy) -> None:
    for length in (0, 16_384, PART_BYTES, 3 * PART_BYTES + 1):
        path = world.client.new_upload(length, body=body_of(length))
        assert world.object_of(path) == body_of(length)
        counts = s3_proxy.counts(id_of(path))
        parts = -(-length // PART_BYTES)
        assert counts[S3Call.PUT_OBJECT] + counts[S3Call.UPLOAD_PART] == max(1, parts)


def test_downloads_come_whole_over_tls(world: World, s3_proxy: S3Proxy) -> None:
    """Read in windows of every size, from a connection that is used again."""
    body = body_of(2 * PART_BYTES + 1)
    path = world.client.new_upload(len(body), body=body)
    with s3_proxy.counting() as calls, world.client.connect() as connection:
        for first in (0, 1, PART_BYTES, len(body) - 1):
            connection.send_head("GET", path, {"Range": f"bytes={first}-"})
            answer = connection.read_response("GET")
            assert (answer.status, answer.body == body[first:]) == (206, True)
    assert calls == {S3Call.GET_OBJECT: 4}
