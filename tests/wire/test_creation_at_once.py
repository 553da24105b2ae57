"""A small upload that comes whole with its creation: an object, then a record, one call each."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.conftest import StartServer
from tests.support.bodies import body_of
from tests.support.faults import Answer, Cut, Fault, Hold
from tests.support.raw import RawResponse
from tests.support.redis_proxy import RedisProxy
from tests.support.s3_calls import S3Call
from tests.support.s3_proxy import S3Proxy
from tests.support.stores import Bucket, RedisView
from tests.support.tus import OCTET_STREAM, TUS, id_of, path_of
from tests.support.waiting import eventually
from tests.support.world import World
from tusd_s3.engine.at_once import AT_ONCE_MAX_BYTES, READS_MAX

BODY = body_of(16_384)


@pytest.fixture(autouse=True)
def _mended(s3_proxy: S3Proxy, redis_proxy: RedisProxy) -> Iterator[None]:
    yield
    s3_proxy.rules.clear()
    redis_proxy.rules.clear()


def in_steps(proxied: World, body: bytes, steps: list[bytes]) -> RawResponse:
    """A creation whose body comes in steps, so far apart that each is a read of its own."""
    sizes = {"Upload-Length": f"{len(body)}", "Content-Length": f"{len(body)}"}
    headers = TUS | sizes | {"Content-Type": OCTET_STREAM}
    with proxied.client.connect() as connection:
        connection.send_head("POST", "/files/", headers)
        for step in steps:
            connection.assert_silent_for(0.1)
            connection.send(step)
        return connection.read_response("POST")


@pytest.mark.parametrize("length", [0, 1, 16_384, AT_ONCE_MAX_BYTES])
def test_it_takes_one_call_to_each_store(
    proxied: World, s3_proxy: S3Proxy, redis_proxy: RedisProxy, length: int
) -> None:
    body = body_of(length)
    with s3_proxy.counting() as calls, redis_proxy.counting() as trips:
        response = proxied.client.create(length, body=body)
    assert (response.status, response.offset) == (201, length)
    assert calls == {S3Call.PUT_OBJECT: 1}
    assert sum(not trip.is_upkeep for trip in trips) == 1
    path = path_of(response)
    assert proxied.object_of(path) == body
    assert proxied.client.offset_of(path) == length


def test_it_may_come_in_steps(proxied: World, redis_proxy: RedisProxy) -> None:
    with redis_proxy.counting() as trips:
        response = in_steps(proxied, BODY, [BODY[:1], BODY[1:9000], BODY[9000:]])
    assert (response.status, response.offset) == (201, len(BODY))
    assert sum(not trip.is_upkeep for trip in trips) == 1
    assert proxied.object_of(path_of(response)) == BODY


def test_a_longer_one_has_a_record_before_its_object(
    proxied: World, s3_proxy: S3Proxy, redis_proxy: RedisProxy
) -> None:
    body = body_of(AT_ONCE_MAX_BYTES + 1)
    with s3_proxy.counting() as calls, redis_proxy.counting() as trips:
        response = proxied.client.create(len(body), body=body)
    assert calls == {S3Call.PUT_OBJECT: 1}
    assert sum(not trip.is_upkeep for trip in trips) == 2
    assert proxied.object_of(path_of(response)) == body


def test_one_that_comes_in_many_pieces_is_not_kept_as_these(
    proxied: World, redis_proxy: RedisProxy
) -> None:
    body = body_of(READS_MAX + 3)
    with redis_proxy.counting() as trips:
        response = in_steps(proxied, body, [bytes([byte]) for byte in body])
    assert (response.status, response.offset) == (201, len(body))
    assert sum(not trip.is_upkeep for trip in trips) == 2
    assert proxied.object_of(path_of(response)) == body


def test_there_is_no_record_before_the_object_is_stored(proxied: World, s3_proxy: S3Proxy) -> None:
    before, hold = set(proxied.redis.keys()), Hold()
    s3_proxy.fail(S3Call.PUT_OBJECT, hold)
    with ThreadPoolExecutor(1) as pool:
        creating = pool.submit(proxied.client.create, len(BODY), body=BODY)
        hold.wait_until_reached()
        assert set(proxied.redis.keys()) == before
        hold.release()
        assert creating.result().offset == len(BODY)


@pytest.mark.parametrize("fault", [Cut.BEFORE, Cut.AFTER, Answer(503)])
def test_a_put_that_fails_once_is_not_noticed(
    proxied: World, s3_proxy: S3Proxy, fault: Fault
) -> None:
    rule = s3_proxy.fail(S3Call.PUT_OBJECT, fault)
    response = proxied.client.create(len(BODY), body=BODY)
    assert (response.status, response.offset, rule.hits) == (201, len(BODY), 1)
    assert proxied.object_of(path_of(response)) == BODY


@pytest.mark.parametrize("cut", [Cut.BEFORE, Cut.AFTER])
def test_a_record_whose_answer_was_lost_is_made_once(
    proxied: World, redis_proxy: RedisProxy, cut: Cut
) -> None:
    rule = redis_proxy.fail("EVALSHA", cut)
    response = proxied.client.create(len(BODY), body=BODY)
    assert (response.status, response.offset, rule.hits) == (201, len(BODY), 1)
    path = path_of(response)
    assert proxied.client.offset_of(path) == len(BODY)
    assert proxied.object_of(path) == BODY


def test_without_s3_its_bytes_wait_in_redis(proxied: World, s3_proxy: S3Proxy) -> None:
    s3_proxy.fail(S3Call.PUT_OBJECT, Answer(403, "AccessDenied"), times=None)
    response = proxied.client.create(len(BODY), body=BODY)
    assert (response.status, response.offset) == (201, 0)  # not all: there is no object
    s3_proxy.rules.clear()
    path = path_of(response)
    assert proxied.client.offset_of(path) == len(BODY)  # whoever asks drives it on
    assert proxied.object_of(path) == BODY


def test_without_s3_an_empty_one_is_not_made(proxied: World, s3_proxy: S3Proxy) -> None:
    s3_proxy.fail(S3Call.PUT_OBJECT, Answer(403, "AccessDenied"), times=None)
    with proxied.unchanged():
        assert proxied.client.create(0).code == "storage_refused"


@pytest.mark.parametrize("extra", [{"Upload-Concat": "partial"}, {"Upload-Defer-Length": "1"}])
def test_what_is_no_object_yet_has_a_record_only(
    proxied: World, s3_proxy: S3Proxy, extra: dict[str, str]
) -> None:
    length = {} if "Upload-Defer-Length" in extra else {"Upload-Length": "3"}
    headers = TUS | length | extra | {"Content-Type": OCTET_STREAM}
    with s3_proxy.counting() as calls:
        response = proxied.client.request("POST", "/files/", headers, body=b"abc")
    assert (response.status, response.offset) == (201, 3)
    assert not calls


def test_a_body_cut_short_leaves_an_upload_with_what_came(proxied: World) -> None:
    sizes = {"Upload-Length": "16384", "Content-Length": "16384"}
    before = set(proxied.redis.keys())
    with proxied.client.connect() as connection:
        connection.send_head("POST", "/files/", TUS | sizes | {"Content-Type": OCTET_STREAM})
        connection.send(BODY[:5000])
        connection.assert_silent_for(0.2)
        assert set(proxied.redis.keys()) == before  # it might still come whole

    path = proxied.made_since(before)
    assert proxied.client.offset_of(path) == 5000
    proxied.client.upload_from(path, BODY)
    assert proxied.object_of(path) == BODY


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
