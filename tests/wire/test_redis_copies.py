"""Redis falls back to an older copy: a replica that lagged took over, or the end of a log was lost.

What S3 has is then ahead of the record. The client is taken back to the last whole part, never
behind it, and no byte is put behind a gap.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import StartServer
from tests.support.bodies import MIB, PART_BYTES, body_of
from tests.support.redis_pair import RedisPair
from tests.support.server import StoreSettings
from tests.support.stores import Bucket, RedisView
from tests.support.tus import id_of
from tests.support.waiting import eventually
from tests.support.world import World

LENGTH = 4 * PART_BYTES + 77
BODY = body_of(LENGTH)
DECLARED = {"Upload-Length": f"{LENGTH}"}


@pytest.fixture(scope="module")
def pair(module_path: Path) -> Iterator[RedisPair]:
    """A primary and its replica, behind a proxy."""
    pair = RedisPair.start(module_path)
    yield pair
    pair.stop()


@pytest.fixture(scope="module")
def world(
    pair: RedisPair, stores: StoreSettings, start_module_server: StartServer, bucket: Bucket
) -> World:
    """A server over the pair."""
    over = replace(stores, redis_url=pair.proxy.url)
    server = start_module_server(over=over, network_timeout="30s", lease_ttl="2s")
    return World(server, bucket, RedisView(pair.proxy.url, stores.redis_prefix))


@pytest.fixture(autouse=True)
def _together_again(pair: RedisPair) -> Iterator[None]:
    yield
    pair.follow()


def assert_finishes(world: World, path: str) -> None:
    world.client.upload_from(path, BODY)
    assert world.object_of(path) == BODY
    assert world.client.delete(path).status == 204
    assert world.traces_of(path) == []


@pytest.mark.parametrize("before", [0, 1, MIB, PART_BYTES, PART_BYTES + 1, 2 * PART_BYTES + MIB])
@pytest.mark.parametrize("after", [1, MIB, PART_BYTES, 2 * PART_BYTES + 3])
def test_the_client_is_taken_back_to_the_last_whole_part_at_most(
    world: World, pair: RedisPair, before: int, after: int
) -> None:
    path = world.client.new_upload(LENGTH)
    world.client.upload_from(path, BODY[:before])
    pair.part()
    reached = min(before + after, LENGTH - 1)
    world.client.upload_from(path, BODY[:reached])
    pair.fail_over()
    offset = world.client.offset_of(path)
    assert max(before, reached // PART_BYTES * PART_BYTES) <= offset <= reached
    assert_finishes(world, path)


def test_a_primary_that_was_one_before_is_not_believed_either(
    world: World, pair: RedisPair
) -> None:
    """It lost its data to the other, and got back what that one had: a copy that lagged."""
    path = world.client.new_upload(LENGTH)
    pair.part()
    world.client.upload_from(path, BODY[: 2 * PART_BYTES])
    pair.fail_over()
    pair.follow()
    pair.fail_over()
    assert world.client.offset_of(path) == 2 * PART_BYTES
    assert_finishes(world, path)


def test_a_patch_alone_finds_the_parts(world: World, pair: RedisPair) -> None:
    path = world.client.new_upload(LENGTH)
    pair.part()
    world.client.upload_from(path, BODY[: 2 * PART_BYTES])
    pair.fail_over()
    response = world.client.patch(path, 0, b"x")
    assert (response.status, response.offset) == (409, 2 * PART_BYTES)
    assert_finishes(world, path)


@pytest.mark.parametrize("before", [MIB, PART_BYTES + MIB])
def test_a_patch_in_progress_leaves_no_gap(world: World, pair: RedisPair, before: int) -> None:
    """The holder's lease was in the copy, its last commits were not."""
    path = world.client.new_upload(LENGTH)
    with world.client.begin_patch(path, 0, BODY[:before], declared=LENGTH) as holder:
        eventually(lambda: recorded(world, path) == before, what="a checkpoint")
        pair.part()
        middle = 2 * PART_BYTES + 9
        holder.send(BODY[before:middle])
        eventually(lambda: recorded(world, path) == middle, what="another checkpoint")
        pair.fail_over()
        holder.send_until_closed(BODY[middle:])
        response = holder.read_response()
    assert (response.status, response.code) == (503, "lease_lost")
    assert world.client.offset_of(path) >= middle // PART_BYTES * PART_BYTES
    assert_finishes(world, path)


def recorded(world: World, path: str) -> int:
    """The offset that the record has, read behind the server's back."""
    fields = world.redis.record(id_of(path))
    return int(fields["base"]) + int(fields["tail"])


def test_what_was_completed_since_is_complete(world: World, pair: RedisPair) -> None:
    path = world.client.new_upload(LENGTH)
    world.client.upload_from(path, BODY[: PART_BYTES + 1])
    pair.part()
    world.client.upload_from(path, BODY)
    pair.fail_over()
    assert world.client.offset_of(path) == LENGTH
    assert world.object_of(path) == BODY


def test_what_was_terminated_since_is_gone(world: World, pair: RedisPair) -> None:
    path = world.client.new_upload(LENGTH)
    world.client.upload_from(path, BODY[: 2 * PART_BYTES])
    pair.part()
    assert world.client.delete(path).status == 204
    pair.fail_over()
    assert world.client.head(path).status == 404
    assert world.traces_of(path) == []


def test_a_length_declared_since_is_declared_again(world: World, pair: RedisPair) -> None:
    path = world.client.new_upload(None)
    world.client.upload_from(path, BODY[: PART_BYTES + 5])
    pair.part()
    response = world.client.patch(path, PART_BYTES + 5, BODY[PART_BYTES + 5 :][:MIB], DECLARED)
    assert response.status == 204
    pair.fail_over()
    offset = world.client.offset_of(path)
    response = world.client.patch(path, offset, BODY[offset:], DECLARED)
    assert (response.status, response.offset) == (204, LENGTH)
    assert world.object_of(path) == BODY


def test_an_upload_made_since_is_rebuilt_or_cleanly_gone(world: World, pair: RedisPair) -> None:
    pair.part()
    small, large = world.client.new_upload(LENGTH), world.client.new_upload(LENGTH)
    world.client.upload_from(small, BODY[:MIB])
    world.client.upload_from(large, BODY[: 3 * PART_BYTES + 1])
    pair.fail_over()
    assert world.client.head(small).status == 404
    assert world.client.offset_of(large) == 3 * PART_BYTES
    assert_finishes(world, large)


@pytest.mark.parametrize("parts", [0, 1])
def test_a_tail_that_came_back_from_s3_since_is_lost_at_once_and_not_later(
    world: World, pair: RedisPair, start_server: StartServer, parts: int
) -> None:
    """The copy still looks for the tail in S3. What HEAD says must hold."""
    tidy = start_server(over=world.server.stores, cleanup_interval="1s", tail_idle="1s")
    path, reached = world.client.new_upload(LENGTH), parts * PART_BYTES + MIB
    world.client.upload_from(path, BODY[:reached])
    eventually(lambda: world.redis.record(id_of(path))["parked"], what="the tail is in S3")
    tidy.stop()
    pair.part()
    world.client.upload_from(path, BODY[: reached + 1])
    pair.fail_over()
    offset = world.client.offset_of(path)
    assert offset == parts * PART_BYTES
    assert world.client.patch(path, offset, BODY[offset:reached]).offset == reached
    assert_finishes(world, path)
