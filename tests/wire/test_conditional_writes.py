"""A small upload is one PutObject, and S3 has no fence: a condition keeps a late one out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.conftest import StartServer
from tests.support.bodies import body_of
from tests.support.faults import Answer, Hold
from tests.support.s3_calls import S3Call
from tests.support.s3_proxy import S3Proxy
from tests.support.server import ServerProcess, StoreSettings
from tests.support.stores import Bucket, RedisView
from tests.support.tus import id_of
from tests.support.waiting import eventually
from tests.support.world import World

LENGTH = 100_000
EARLY, LATE = body_of(LENGTH, 1), body_of(LENGTH, 2)


@pytest.fixture
def behind(stores: StoreSettings, s3_proxy: S3Proxy, start_server: StartServer) -> ServerProcess:
    """A server whose calls to S3 can be held up."""
    return start_server(over=replace(stores, s3_endpoint=s3_proxy.endpoint), lease_ttl="1s")


@pytest.fixture(autouse=True)
def _mended(s3_proxy: S3Proxy) -> Iterator[None]:
    yield
    s3_proxy.rules.clear()


def test_what_an_overtaken_request_stores_late_replaces_nothing(
    world: World, behind: ServerProcess, s3_proxy: S3Proxy
) -> None:
    """Two requests with different bytes: only what was acknowledged may be the object."""
    path = world.client.new_upload(LENGTH)
    hold = Hold()
    s3_proxy.fail(S3Call.PUT_OBJECT, hold, key_part=id_of(path))
    with behind.client.begin_patch(path, 0, LATE, declared=LENGTH) as overtaken:
        hold.wait_until_reached()
        behind.freeze()
        eventually(lambda: world.client.patch(path, 0, EARLY).status == 204, within_s=20)
        calls = s3_proxy.calls(id_of(path))
        behind.thaw()
        hold.release()
        response = overtaken.read_response()
    assert response.status == 503
    eventually(lambda: calls[0].status == 412, what="the late one was refused")
    assert world.object_of(path) == EARLY


def test_the_holder_itself_replaces_what_an_overtaken_one_left(
    world: World, bucket: Bucket
) -> None:
    path = world.client.new_upload(LENGTH)
    bucket.client.put_object(Bucket=bucket.name, Key=world.key_of(path), Body=LATE)
    assert world.client.patch(path, 0, EARLY).status == 204
    assert world.object_of(path) == EARLY


def test_a_store_without_conditions_is_served_without_them(
    stores: StoreSettings, behind: ServerProcess, s3_proxy: S3Proxy, bucket: Bucket
) -> None:
    world = World(behind, bucket, RedisView(stores.redis_url, stores.redis_prefix))
    rule = s3_proxy.fail(S3Call.PUT_OBJECT, Answer(501, "NotImplemented"))
    for expected in (2, 1):
        path = behind.client.new_upload(LENGTH)
        with s3_proxy.counting() as counted:
            assert behind.client.patch(path, 0, EARLY).status == 204
        assert counted[S3Call.PUT_OBJECT] == expected
        assert world.object_of(path) == EARLY
    assert rule.hits == 1
