"""Redis is gone for a while: who writes waits for it, who asks is told to ask again."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import StartServer
from tests.support.bodies import MIB, PART_BYTES, body_of
from tests.support.faults import Hold, Stage
from tests.support.raw import RawResponse
from tests.support.redis_pair import DurableRedis
from tests.support.s3_calls import S3Call
from tests.support.s3_proxy import S3Proxy
from tests.support.server import ServerProcess, StoreSettings
from tests.support.stores import Bucket, RedisView
from tests.support.tus import OCTET_STREAM, TUS, RawClient, id_of, path_of
from tests.support.waiting import eventually
from tests.support.world import World

GONE_S = 10.0
BODY = body_of(3 * PART_BYTES + 5)
HALF = PART_BYTES + MIB


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[DurableRedis]:
    """A Redis that this test may do anything to."""
    redis = DurableRedis(tmp_path / "redis")
    redis.start()
    yield redis
    redis.stop()


@pytest.fixture
def world(
    own_redis: DurableRedis, stores: StoreSettings, start_server: StartServer, bucket: Bucket
) -> World:
    """A server over that Redis. Nobody is silent for too long here."""
    over = replace(stores, redis_url=own_redis.url)
    server = start_server(over=over, network_timeout="60s", redis_timeout="2s")
    return World(server, bucket, RedisView(own_redis.url, stores.redis_prefix))


def lose(redis: DurableRedis, how: str) -> None:
    if how == "frozen":
        redis.pause()
    else:
        redis.kill()


def bring_back(redis: DurableRedis, how: str) -> None:
    if how == "frozen":
        redis.resume()
    else:
        redis.restart()


def patch_slowly(client: RawClient, path: str, until_s: float) -> RawResponse:
    """Half of the body at once, the rest in pieces until a while after Redis is back."""
    client = replace(client, timeout_s=60.0)
    with client.begin_patch(path, 0, BODY[:HALF], declared=len(BODY)) as connection:
        sent = HALF
        while time.monotonic() < until_s and sent < HALF + MIB:
            connection.send(BODY[sent : sent + 1000])
            sent += 1000
            time.sleep(0.05)  # a slow client, as slow as it is
        connection.send(BODY[sent:])
        return connection.read_response()


def patch_at_once(client: RawClient, path: str) -> RawResponse:
    """All of it while Redis is away: it must be held back, not lost."""
    return replace(client, timeout_s=60.0).patch(path, 0, BODY)


def create_with(client: RawClient) -> RawResponse:
    headers = {**TUS, "Upload-Length": f"{len(BODY)}", "Content-Type": OCTET_STREAM}
    headers["Content-Length"] = f"{len(BODY)}"
    with replace(client, timeout_s=60.0).connect() as connection:
        connection.send_head("POST", client.base_path, headers)
        connection.send(BODY[:HALF])
        connection.send(BODY[HALF:])
        return connection.read_response()


@pytest.mark.parametrize("how", ["killed", "frozen"])
def test_ten_seconds_without_redis(world: World, own_redis: DurableRedis, how: str) -> None:
    client = world.client
    slow = [client.new_upload(len(BODY)) for _ in range(3)]
    resting, late = client.new_upload(len(BODY)), client.new_upload(len(BODY))
    client.patch(resting, 0, BODY[:HALF])
    began_s = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        patches = [pool.submit(patch_slowly, client, path, began_s + GONE_S + 1.0) for path in slow]
        creation = pool.submit(create_with, client)
        eventually(lambda: all(has_parts(world, path) for path in slow), what="parts are stored")
        lose(own_redis, how)
        gone_s = time.monotonic()
        assert_told_to_ask_again(client, resting, gone_s)
        last = pool.submit(patch_at_once, client, late)
        time.sleep(max(0.0, gone_s + GONE_S - time.monotonic()))  # the outage itself
        bring_back(own_redis, how)
        for patch in patches:
            assert (patch.result().status, patch.result().offset) == (204, len(BODY))
        created = creation.result()
    assert last.result().status in {204, 503}
    for path in [*slow, resting, late, path_of(created)]:
        client.upload_from(path, BODY)
        assert world.object_of(path) == BODY


def has_parts(world: World, path: str) -> bool:
    multipart = world.bucket.multipart_uploads(world.stores.object_prefix)
    return any(id_of(path) in key and world.bucket.parts(key, name) for key, name in multipart)


def assert_told_to_ask_again(client: RawClient, path: str, gone_s: float) -> None:
    """HEAD is 423, soon, again and again; and the process lives."""
    while time.monotonic() < gone_s + GONE_S / 2:
        asked_s = time.monotonic()
        assert client.head(path).status == 423
        assert time.monotonic() - asked_s < 8.0
        assert client.request("OPTIONS", client.base_path).status == 204


def test_a_server_that_starts_anew_meanwhile_serves_when_redis_is_back(
    world: World, own_redis: DurableRedis
) -> None:
    """A worker that is restarted during the outage would otherwise take the service down."""
    path = world.client.new_upload(len(BODY))
    world.client.patch(path, 0, BODY[:HALF])
    server: ServerProcess = world.server
    server.kill()
    own_redis.kill()
    own_redis.restart()
    server.start()
    world.client.upload_from(path, BODY)
    assert world.object_of(path) == BODY


@pytest.mark.parametrize("rest", [b"", BODY[HALF:-1], BODY[HALF:]], ids=["no", "some", "all"])
def test_an_absence_beyond_the_bound_ends_the_patch(
    own_redis: DurableRedis,
    stores: StoreSettings,
    start_server: StartServer,
    bucket: Bucket,
    rest: bytes,
) -> None:
    """Whether more bytes come meanwhile or not."""
    over = replace(stores, redis_url=own_redis.url)
    server = start_server(over=over, redis_outage_wait="1s", lease_ttl="1s", redis_timeout="1s")
    path = server.client.new_upload(len(BODY))
    with server.client.begin_patch(path, 0, BODY[:HALF], declared=len(BODY)) as connection:
        world = World(server, bucket, RedisView(own_redis.url, stores.redis_prefix))
        eventually(lambda: has_parts(world, path))
        own_redis.kill()
        connection.send_until_closed(rest)
        response = connection.read_response()
    assert (response.status, response.code in {"lease_lost", "state_unavailable"}) == (503, True)
    own_redis.restart()
    server.client.upload_from(path, BODY)
    assert world.object_of(path) == BODY


@pytest.mark.parametrize("sent", [HALF, len(BODY)])
def test_a_redis_that_comes_back_empty_ends_the_patch(
    own_redis: DurableRedis,
    stores: StoreSettings,
    s3_proxy: S3Proxy,
    start_server: StartServer,
    sent: int,
) -> None:
    """The lease could not be relied on, so parts waited to be sent; they must not wait for ever."""
    over = replace(stores, redis_url=own_redis.url, s3_endpoint=s3_proxy.endpoint)
    server = start_server(over=over, lease_ttl="1s", redis_timeout="1s", network_timeout="60s")
    path = server.client.new_upload(len(BODY))
    hold = Hold(Stage.AFTER)
    s3_proxy.fail(S3Call.CREATE_MULTIPART, hold)
    with server.client.begin_patch(path, 0, BODY[:sent], declared=sent) as connection:
        hold.wait_until_reached()
        own_redis.kill()
        hold.release()
        time.sleep(2.0)  # the outage: longer than the lease lives
        for file in own_redis.data_dir.glob("appendonly*"):
            file.unlink()
        own_redis.restart()
        response = connection.read_response()
    assert (response.status, response.code) == (503, "lease_lost")
    assert server.client.head(path).status == 404
