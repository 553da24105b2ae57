"""Paused uploads do not fill Redis: their tails move to S3, and come back when they go on."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import redis

from tests.conftest import StartServer
from tests.support.bodies import KIB, MIB, body_of
from tests.support.raw import RawResponse
from tests.support.server import StoreSettings
from tests.support.stores import Bucket, RedisView
from tests.support.tus import RawClient, id_of, path_of
from tests.support.waiting import eventually
from tests.support.world import World
from tusd_s3.devstack.stores import LocalRedis

UPLOADS = 2000
SENT = 64 * KIB
LENGTH = SENT + 5
BOUND = 64 * MIB
"""2,000 tails of 64 KiB are twice that: as with tails of a MiB and a bound of a GiB, more of them
have to leave than may stay, one by one; only the bytes that the test sends are fewer."""

RELIEF_WITHIN_S = 60.0
"""A tail a fortieth of a second, on a machine that does other things as well."""

LARGE = 256 * KIB
"""A tail where it is their bytes that count, and not how many they are."""

SAMPLE = 100
"""Uploads that go on, and as many that are removed, of each kind."""

CLIENTS = 16


def body(number: int, length: int = LENGTH) -> bytes:
    return number.to_bytes(4, "big") + body_of(length - 4)


@dataclass(frozen=True, slots=True)
class OwnRedis:
    """A Redis whose memory nobody else uses, and stores that go with it."""

    stores: StoreSettings
    client: redis.Redis

    @property
    def used_bytes(self) -> int:
        return int(self.client.info("memory")["used_memory"])

    def comes_below(self, bound_bytes: int) -> None:
        eventually(
            lambda: self.used_bytes < bound_bytes,
            within_s=RELIEF_WITHIN_S,
            what=f"Redis uses less than {bound_bytes} bytes",
        )


@pytest.fixture
def own_redis(stores: StoreSettings, tmp_path: Path) -> Iterator[OwnRedis]:
    with LocalRedis(tmp_path / "redis") as server, redis.Redis.from_url(server.url) as client:
        yield OwnRedis(replace(stores, redis_url=server.url), client)


def pause_uploads(world: World, count: int, sent: int = SENT) -> list[str]:
    """Make uploads whose clients send a part of them and go away; their paths."""
    with ThreadPoolExecutor(CLIENTS) as clients:
        return list(
            clients.map(
                lambda number: world.client.new_upload(sent + 5, body=body(number, sent)),
                range(count),
            )
        )


@pytest.mark.long
def test_2000_paused_uploads_stay_within_the_bound_and_go_on(
    own_redis: OwnRedis, start_server: StartServer, bucket: Bucket
) -> None:
    options = {"redis_memory_bound": f"{BOUND}", "cleanup_interval": "5s", "log_level": "info"}
    server = start_server(over=own_redis.stores, **options)
    prefix = own_redis.stores.redis_prefix
    world = World(server, bucket, RedisView(own_redis.stores.redis_url, prefix))
    paths = pause_uploads(world, UPLOADS)
    own_redis.comes_below(BOUND)
    with ThreadPoolExecutor(CLIENTS) as clients:
        offsets = list(clients.map(world.client.offset_of, paths))
    assert offsets == [SENT] * UPLOADS
    tails = [key for key in bucket.keys(own_redis.stores.object_prefix) if key.endswith(".tail")]
    parked = {key.split("/.tus/")[1][:22] for key in tails}
    assert UPLOADS / 3 < len(parked) < UPLOADS  # what it takes, and not much more

    def go_on(number: int) -> None:
        world.client.upload_from(paths[number], body(number))
        assert world.object_of(paths[number]) == body(number)

    resumed = [number for number in range(UPLOADS) if id_of(paths[number]) in parked][:SAMPLE]
    in_redis = [number for number in range(UPLOADS) if id_of(paths[number]) not in parked][:SAMPLE]
    with ThreadPoolExecutor(CLIENTS) as clients:
        list(clients.map(go_on, [*resumed, *in_redis]))
        ended = [*paths[:SAMPLE], *paths[-SAMPLE:], *(paths[n] for n in [*resumed, *in_redis])]
        list(clients.map(world.client.delete, ended))
    ids = {id_of(path) for path in ended}
    left = [*bucket.keys(own_redis.stores.object_prefix), *world.redis.keys()]
    assert not [name for name in left if any(upload_id in name for upload_id in ids)]


def test_unless_told_the_bound_follows_from_redis_own(
    own_redis: OwnRedis, start_server: StartServer, bucket: Bucket
) -> None:
    # Far enough apart: Redis counts the bytes that are on their way to it, too.
    own_redis.client.config_set("maxmemory", f"{48 * MIB}")
    server = start_server(over=own_redis.stores, cleanup_interval="1s")
    prefix = own_redis.stores.redis_prefix
    world = World(server, bucket, RedisView(own_redis.stores.redis_url, prefix))
    paths = pause_uploads(world, 36 * MIB // LARGE, LARGE)
    peak_bytes = own_redis.client.info("memory")["used_memory_peak"]
    assert peak_bytes > 36 * MIB  # the first ones may have left before the last ones came
    own_redis.comes_below(36 * MIB)
    assert {world.client.offset_of(path) for path in paths} == {LARGE}
    for path in paths:
        assert world.client.delete(path).status == 204


def test_a_redis_that_is_full_gets_room_again(
    own_redis: OwnRedis, start_server: StartServer, bucket: Bucket
) -> None:
    """At maxmemory it refuses to grow. What moves tails away must still be possible then."""
    own_redis.client.config_set("maxmemory", f"{16 * MIB}")
    server = start_server(over=own_redis.stores, cleanup_interval="1s", redis_outage_wait="60s")
    view = RedisView(own_redis.stores.redis_url, own_redis.stores.redis_prefix)
    world = World(server, bucket, view)
    patient = RawClient(server.client.address, timeout_s=90.0)

    def create(number: int) -> str:
        """As a client that comes again when it is told to."""

        def created() -> RawResponse | None:
            answer = patient.create(LENGTH, body=body(number, SENT))
            assert answer.status in {201, 503}, answer
            return answer if answer.status == 201 else None

        answer = eventually(created, within_s=RELIEF_WITHIN_S, what="there is room for an upload")
        assert answer.offset == SENT
        return path_of(answer)

    with ThreadPoolExecutor(CLIENTS) as clients:
        paths = list(clients.map(create, range(20 * MIB // SENT)))
    own_redis.comes_below(12 * MIB)
    assert {world.client.offset_of(path) for path in paths} == {SENT}
