"""What a request costs: S3 calls and Redis round trips, counted on the wire."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.support.bodies import PART_BYTES, body_of, pieces
from tests.support.redis_proxy import RedisProxy
from tests.support.s3_calls import S3Call
from tests.support.s3_proxy import S3Proxy
from tests.support.tus import id_of
from tests.support.world import World

SMALL = [1, 100_000, PART_BYTES - 1, PART_BYTES]
LARGE = [PART_BYTES + 1, 2 * PART_BYTES, 3 * PART_BYTES + 12_345]
SIZES_PER_PATCH = [[10**9], [512_000], [1_700_001]]
SMALL_PATCHES = 30


def one_multipart(length: int) -> Counter[S3Call]:
    """The calls of a whole upload in parts, and no others."""
    return Counter(
        {
            S3Call.CREATE_MULTIPART: 1,
            S3Call.PUT_RECOVERY: 1,
            S3Call.UPLOAD_PART: -(-length // PART_BYTES),
            S3Call.COMPLETE_MULTIPART: 1,
            S3Call.DELETE_RECOVERY: 1,
        }
    )


def test_creation_asks_nothing_of_s3(proxied: World, s3_proxy: S3Proxy) -> None:
    with s3_proxy.counting() as calls:
        for length in (1, PART_BYTES, 10 * PART_BYTES, None):
            proxied.client.new_upload(length)
        proxied.client.new_upload(1000, body=b"some of it")
    assert calls == {}


def test_head_asks_nothing_of_s3(proxied: World, s3_proxy: S3Proxy) -> None:
    paths = [
        proxied.client.new_upload(10, body=b"abc"),
        proxied.client.new_upload(3, body=b"abc"),
        proxied.client.new_upload(3 * PART_BYTES, body=body_of(PART_BYTES + 1)),
    ]
    with s3_proxy.counting() as calls:
        for path in paths:
            assert proxied.client.head(path).status == 200
    assert calls == {}


def test_a_patch_that_only_grows_the_tail_asks_nothing_of_s3(
    proxied: World, s3_proxy: S3Proxy
) -> None:
    path = proxied.client.new_upload(3 * PART_BYTES)
    proxied.client.upload_from(path, body_of(PART_BYTES + 1))
    body = body_of(PART_BYTES + 1_000_000)
    with s3_proxy.counting() as calls:
        for offset, piece in pieces(body[PART_BYTES + 1 :], [64 * 1024]):
            at = PART_BYTES + 1 + offset
            assert proxied.client.patch(path, at, piece).status == 204
    assert calls == {}


@pytest.mark.parametrize("length", SMALL)
@pytest.mark.parametrize("sizes", SIZES_PER_PATCH)
def test_an_upload_of_at_most_one_part_is_one_put(
    proxied: World, s3_proxy: S3Proxy, length: int, sizes: list[int]
) -> None:
    path = proxied.client.new_upload(length)
    proxied.client.upload_from(path, body_of(length), sizes)
    assert s3_proxy.counts(id_of(path)) == {S3Call.PUT_OBJECT: 1}
    assert proxied.object_of(path) == body_of(length)


def test_an_upload_that_is_its_own_creation_is_one_put(proxied: World, s3_proxy: S3Proxy) -> None:
    for length in (0, 1, PART_BYTES):
        path = proxied.client.new_upload(length, body=body_of(length))
        assert s3_proxy.counts(id_of(path)) == {S3Call.PUT_OBJECT: 1}


def test_a_small_upload_of_deferred_length_is_one_put(proxied: World, s3_proxy: S3Proxy) -> None:
    path = proxied.client.new_upload(None)
    proxied.client.upload_from(path, body_of(900_000), [300_000])
    assert proxied.client.patch(path, 900_000, b"", {"Upload-Length": "900000"}).status == 204
    assert s3_proxy.counts(id_of(path)) == {S3Call.PUT_OBJECT: 1}


@pytest.mark.parametrize("length", LARGE)
@pytest.mark.parametrize("sizes", SIZES_PER_PATCH)
def test_a_larger_upload_costs_its_parts_and_four_calls(
    proxied: World, s3_proxy: S3Proxy, length: int, sizes: list[int]
) -> None:
    path = proxied.client.new_upload(length)
    proxied.client.upload_from(path, body_of(length), sizes)
    assert s3_proxy.counts(id_of(path)) == one_multipart(length)
    assert proxied.object_of(path) == body_of(length)


def test_a_refused_patch_asks_nothing_of_s3(proxied: World, s3_proxy: S3Proxy) -> None:
    path = proxied.client.new_upload(PART_BYTES + 10, body=body_of(PART_BYTES))
    with s3_proxy.counting() as calls:
        assert proxied.client.patch(path, 0, b"x").status == 409
        assert proxied.client.patch(path, PART_BYTES, b"x" * 11).status == 413
    assert calls == {}


def test_a_small_patch_takes_at_most_two_round_trips_to_redis(
    proxied: World, redis_proxy: RedisProxy
) -> None:
    path = proxied.client.new_upload(PART_BYTES)
    proxied.client.upload_from(path, b"warm")
    with redis_proxy.counting() as trips:
        for turn in range(SMALL_PATCHES):
            assert proxied.client.patch(path, 4 + turn * 1000, b"x" * 1000).status == 204
    assert len(trips) <= 2 * SMALL_PATCHES, Counter(trip.names for trip in trips)


def test_a_head_takes_one_round_trip_to_redis(proxied: World, redis_proxy: RedisProxy) -> None:
    path = proxied.client.new_upload(PART_BYTES, body=b"abc")
    with redis_proxy.counting() as trips:
        for _ in range(SMALL_PATCHES):
            assert proxied.client.head(path).status == 200
    assert len(trips) <= SMALL_PATCHES, Counter(trip.names for trip in trips)
