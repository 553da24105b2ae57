"""A small upload that comes whole with its creation: an object, then a record, one call each."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from tests.conftest import StartServer
from tests.support.bodies import body_of
from tests.support.faults import Answer, Cut, Fault, Hold, Stage
from tests.support.raw import RawResponse
from tests.support.redis_proxy import RedisProxy
from tests.support.s3_calls import S3Call
from tests.support.s3_proxy import S3Proxy
from tests.support.server import StoreSettings
from tests.support.stores import Bucket, RedisView
from tests.support.tus import OCTET_STREAM, TUS, id_of, path_of
from tests.support.waiting import eventually
from tests.support.world import World
from tusd_s3.engine.at_once import AT_ONCE_MAX_BYTES

BODY = body_of(16_384)


@pytest.fixture(scope="module")
def world(
    stores: StoreSettings,
    s3_proxy: S3Proxy,
    redis_proxy: RedisProxy,
    start_module_server: StartServer,
    bucket: Bucket,
    redis_view: RedisView,
) -> World:
    """A server that stands on the proxies and soon gives up waiting for Redis."""
    through = replace(stores, s3_endpoint=s3_proxy.endpoint, redis_url=redis_proxy.url)
    server = start_module_server(over=through, redis_timeout="1s")
    return World(server, bucket, redis_view)


@pytest.fixture(autouse=True)
def _mended(s3_proxy: S3Proxy, redis_proxy: RedisProxy) -> Iterator[None]:
    yield
    s3_proxy.rules.clear()
    redis_proxy.rules.clear()


def in_steps(world: World, body: bytes, steps: list[bytes]) -> RawResponse:
    """A creation whose body comes in steps, so far apart that each is a read of its own."""
    sizes = {"Upload-Length": f"{len(body)}", "Content-Length": f"{len(body)}"}
    headers = TUS | sizes | {"Content-Type": OCTET_STREAM}
    with world.client.connect() as connection:
        connection.send_head("POST", "/files/", headers)
        for step in steps:
            connection.assert_silent_for(0.1)
            connection.send(step)
        return connection.read_response("POST")


@pytest.mark.parametrize("length", [0, 1, 16_384, AT_ONCE_MAX_BYTES])
def test_it_takes_one_call_to_each_store(
    world: World, s3_proxy: S3Proxy, redis_proxy: RedisProxy, length: int
) -> None:
    body = body_of(length)
    with s3_proxy.counting() as calls, redis_proxy.counting() as trips:
        response = world.client.create(length, body=body)
    assert (response.status, response.offset) == (201, length)
    assert calls == {S3Call.PUT_OBJECT: 1}
    assert sum(not trip.is_upkeep for trip in trips) == 1
    path = path_of(response)
    assert world.object_of(path) == body
    assert world.client.offset_of(path) == length


def test_it_may_come_in_steps(world: World, redis_proxy: RedisProxy) -> None:
    with redis_proxy.counting() as trips:
        response = in_steps(world, BODY, [BODY[:1], BODY[1:9000], BODY[9000:]])
    assert (response.status, response.offset) == (201, len(BODY))
    assert sum(not trip.is_upkeep for trip in trips) == 1
    assert world.object_of(path_of(response)) == BODY


def test_a_longer_one_has_a_record_before_its_object(
    world: World, s3_proxy: S3Proxy, redis_proxy: RedisProxy
) -> None:
    body = body_of(AT_ONCE_MAX_BYTES + 1)
    with s3_proxy.counting() as calls, redis_proxy.counting() as trips:
        response = world.client.create(len(body), body=body)
    assert calls == {S3Call.PUT_OBJECT: 1}
    assert sum(not trip.is_upkeep for trip in trips) == 2
    assert world.object_of(path_of(response)) == body


def test_there_is_no_record_before_the_object_is_stored(world: World, s3_proxy: S3Proxy) -> None:
    before, hold = set(world.redis.keys()), Hold()
    s3_proxy.fail(S3Call.PUT_OBJECT, hold)
    with ThreadPoolExecutor(1) as pool:
        creating = pool.submit(world.client.create, len(BODY), body=BODY)
        hold.wait_until_reached()
        assert set(world.redis.keys()) == before
        hold.release()
        assert creating.result().offset == len(BODY)


@pytest.mark.parametrize("fault", [Cut.BEFORE, Cut.AFTER, Answer(503)])
def test_a_put_that_fails_once_is_not_noticed(
    world: World, s3_proxy: S3Proxy, fault: Fault
) -> None:
    rule = s3_proxy.fail(S3Call.PUT_OBJECT, fault)
    response = world.client.create(len(BODY), body=BODY)
    assert (response.status, response.offset, rule.hits) == (201, len(BODY), 1)
    assert world.object_of(path_of(response)) == BODY


@pytest.mark.parametrize("cut", [Cut.BEFORE, Cut.AFTER])
def test_a_record_whose_answer_was_lost_is_made_once(
    world: World, redis_proxy: RedisProxy, cut: Cut
) -> None:
    rule = redis_proxy.fail("EVALSHA", cut)
    response = world.client.create(len(BODY), body=BODY)
    assert (response.status, response.offset, rule.hits) == (201, len(BODY), 1)
    path = path_of(response)
    assert world.client.offset_of(path) == len(BODY)
    assert world.object_of(path) == BODY


def test_without_s3_its_bytes_wait_in_redis(world: World, s3_proxy: S3Proxy) -> None:
    s3_proxy.fail(S3Call.PUT_OBJECT, Answer(403, "AccessDenied"), times=None)
    response = world.client.create(len(BODY), body=BODY)
    assert (response.status, response.offset) == (201, 0)  # not all: there is no object
    s3_proxy.rules.clear()
    path = path_of(response)
    assert world.client.offset_of(path) == len(BODY)  # whoever asks drives it on
    assert world.object_of(path) == BODY


def test_without_s3_an_empty_one_is_not_made(world: World, s3_proxy: S3Proxy) -> None:
    s3_proxy.fail(S3Call.PUT_OBJECT, Answer(403, "AccessDenied"), times=None)
    with world.unchanged():
        assert world.client.create(0).code == "storage_refused"


def test_without_redis_the_object_goes_again(
    world: World, s3_proxy: S3Proxy, redis_proxy: RedisProxy
) -> None:
    hold = Hold(Stage.AFTER)
    s3_proxy.fail(S3Call.PUT_OBJECT, hold)
    with world.unchanged(), ThreadPoolExecutor(1) as pool:
        creating = pool.submit(world.client.create, len(BODY), body=BODY)
        hold.wait_until_reached()
        redis_proxy.down()
        try:
            hold.release()
            response = creating.result()
        finally:
            redis_proxy.up()
        assert (response.status, response.code) == (503, "state_unavailable")


@pytest.mark.parametrize("extra", [{"Upload-Concat": "partial"}, {"Upload-Defer-Length": "1"}])
def test_what_is_no_object_yet_has_a_record_only(
    world: World, s3_proxy: S3Proxy, extra: dict[str, str]
) -> None:
    length = {} if "Upload-Defer-Length" in extra else {"Upload-Length": "3"}
    headers = TUS | length | extra | {"Content-Type": OCTET_STREAM}
    with s3_proxy.counting() as calls:
        response = world.client.request("POST", "/files/", headers, body=b"abc")
    assert (response.status, response.offset) == (201, 3)
    assert not calls


def test_a_body_cut_short_leaves_an_upload_with_what_came(world: World) -> None:
    sizes = {"Upload-Length": "16384", "Content-Length": "16384"}
    before = set(world.redis.keys())
    with world.client.connect() as connection:
        connection.send_head("POST", "/files/", TUS | sizes | {"Content-Type": OCTET_STREAM})
        connection.send(BODY[:5000])
        connection.assert_silent_for(0.2)
        assert set(world.redis.keys()) == before  # it might still come whole

    path = world.made_since(before)
    assert world.client.offset_of(path) == 5000
    world.client.upload_from(path, BODY)
    assert world.object_of(path) == BODY


def test_one_that_comes_slowly_is_recorded_before_it_is_whole(
    start_server: StartServer, bucket: Bucket, redis_view: RedisView
) -> None:
    world = World(start_server(checkpoint_interval="0.4s"), bucket, redis_view)
    before = set(redis_view.keys())
    sizes = {"Upload-Length": f"{len(BODY)}", "Content-Length": f"{len(BODY)}"}
    with world.client.connect() as connection:
        connection.send_head("POST", "/files/", TUS | sizes | {"Content-Type": OCTET_STREAM})
        connection.send(BODY[:5000])
        path = world.made_since(before)
        eventually(lambda: redis_view.record(id_of(path)).get("tail") == "5000")
        connection.send(BODY[5000:])
        response = connection.read_response("POST")
    assert (path_of(response), response.offset) == (path, len(BODY))
    assert world.object_of(path) == BODY
