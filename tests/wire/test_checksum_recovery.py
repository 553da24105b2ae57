"""Line 20, when things break: bytes that never agreed with their checksum may lie in S3, as parts
of the upload's own multipart upload. None of them is ever taken for the upload's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.conftest import StartServer
from tests.support.bodies import PART_BYTES, body_of
from tests.support.checksums import checksum_of, with_checksum
from tests.support.faults import Answer, Hold
from tests.support.s3_calls import S3Call
from tests.support.s3_proxy import S3Proxy
from tests.support.server import StoreSettings
from tests.support.stores import Bucket, RedisView
from tests.support.tus import id_of, patch_headers
from tests.support.waiting import eventually
from tests.support.world import World

LENGTH = 5 * PART_BYTES + 77
GOOD = body_of(LENGTH, 1)
BAD = body_of(LENGTH, 2)
WRONG = {"Upload-Checksum": checksum_of(b"something else")}


@pytest.fixture(scope="module")
def through(stores: StoreSettings, s3_proxy: S3Proxy) -> StoreSettings:
    return replace(stores, s3_endpoint=s3_proxy.endpoint)


@pytest.fixture(scope="module")
def forgetful(
    through: StoreSettings,
    start_module_server: StartServer,
    bucket: Bucket,
    redis_view: RedisView,
) -> World:
    """A server whose Redis will lose its data."""
    server = start_module_server(over=through, s3_timeout="2s", lease_ttl="2s")
    return World(server, bucket, redis_view)


@pytest.fixture(autouse=True)
def _mended(s3_proxy: S3Proxy) -> Iterator[None]:
    yield
    s3_proxy.rules.clear()


def stored_parts(world: World, path: str) -> set[int]:
    """Numbers of the parts that S3 has of an upload."""
    key = world.key_of(path)
    multipart = dict(world.bucket.multipart_uploads(world.stores.object_prefix))
    if key not in multipart:
        return set()
    return {number for number, _ in world.bucket.parts(key, multipart[key]) or ()}


def refuse(world: World, path: str, start: int, end: int) -> None:
    """A body that does not agree, whose whole parts are in S3 all the same."""
    assert world.client.patch(path, start, BAD[start:end], WRONG).status == 460
    assert set(range(1, end // PART_BYTES + 1)) <= stored_parts(world, path)


def assert_resumes(world: World, path: str, offset: int) -> None:
    assert world.client.offset_of(path) == offset
    world.client.upload_from(path, GOOD, [PART_BYTES + 9])
    assert world.object_of(path) == GOOD
    assert world.client.delete(path).status == 204
    assert world.traces_of(path) == []


@pytest.mark.parametrize("before", [0, PART_BYTES, PART_BYTES + 5])
def test_line_20_parts_of_a_refused_body_are_not_adopted(forgetful: World, before: int) -> None:
    path = forgetful.client.new_upload(LENGTH)
    if before:
        assert forgetful.client.patch(path, 0, GOOD[:before]).status == 204
    refuse(forgetful, path, before, 4 * PART_BYTES)
    forgetful.redis.lose(id_of(path))
    assert_resumes(forgetful, path, before // PART_BYTES * PART_BYTES)


def test_line_20_nor_those_that_later_bodies_have_not_reached_yet(forgetful: World) -> None:
    path = forgetful.client.new_upload(LENGTH)
    refuse(forgetful, path, 0, 5 * PART_BYTES)
    assert forgetful.client.patch(path, 0, GOOD[: PART_BYTES + 3]).status == 204
    forgetful.redis.lose(id_of(path))
    assert forgetful.client.offset_of(path) == PART_BYTES
    rest = GOOD[PART_BYTES : 3 * PART_BYTES + 3]
    assert forgetful.client.patch(path, PART_BYTES, rest, with_checksum(rest)).status == 204
    forgetful.redis.lose(id_of(path))
    assert_resumes(forgetful, path, 3 * PART_BYTES)


@pytest.mark.parametrize("ends", [2 * PART_BYTES, 3 * PART_BYTES + 5])
def test_line_20_what_agreed_is_kept_like_everything_that_is_acknowledged(
    forgetful: World, ends: int
) -> None:
    path = forgetful.client.new_upload(LENGTH)
    body = GOOD[:ends]
    assert forgetful.client.patch(path, 0, body, with_checksum(body)).status == 204
    forgetful.redis.lose(id_of(path))
    assert_resumes(forgetful, path, ends // PART_BYTES * PART_BYTES)


def test_line_20_once_all_of_them_are_overwritten_s3_is_trusted_again(forgetful: World) -> None:
    path = forgetful.client.new_upload(LENGTH)
    refuse(forgetful, path, 0, 2 * PART_BYTES)
    for end in (PART_BYTES, 2 * PART_BYTES, 3 * PART_BYTES, 4 * PART_BYTES):
        start = end - PART_BYTES
        assert forgetful.client.patch(path, start, GOOD[start:end]).status == 204
    forgetful.redis.lose(id_of(path))
    assert_resumes(forgetful, path, 4 * PART_BYTES)


@pytest.mark.parametrize("redis_too", [False, True])
def test_line_20_nor_those_of_a_process_that_was_killed(
    forgetful: World,
    through: StoreSettings,
    s3_proxy: S3Proxy,
    start_server: StartServer,
    redis_too: bool,
) -> None:
    doomed = start_server(over=through)
    path = doomed.client.new_upload(LENGTH, body=GOOD[:10])
    hold = Hold()
    s3_proxy.fail(S3Call.UPLOAD_PART, hold, times=None, part_number=4)
    with doomed.client.connect() as connection:
        body = BAD[10:]
        connection.send_head("PATCH", path, patch_headers(10, len(body), with_checksum(body)))
        connection.send(body[: 4 * PART_BYTES])
        hold.wait_until_reached()
        eventually(lambda: {1, 2, 3} <= stored_parts(forgetful, path))
        doomed.kill()
    hold.release()
    if redis_too:
        forgetful.redis.lose(id_of(path))
    assert_resumes(forgetful, path, 0 if redis_too else 10)


def test_line_20_a_part_that_cannot_be_stored_meanwhile_takes_the_whole_body_along(
    through: StoreSettings,
    start_server: StartServer,
    bucket: Bucket,
    redis_view: RedisView,
    s3_proxy: S3Proxy,
) -> None:
    server = start_server(over=through, s3_timeout="2s", s3_concurrent_part_uploads="1")
    world = World(server, bucket, redis_view)
    path = world.client.new_upload(LENGTH, body=GOOD[:10])
    s3_proxy.fail(S3Call.UPLOAD_PART, Answer(500, "InternalError"), times=None, part_number=2)
    body = GOOD[10:]
    response = world.client.patch(path, 10, body, with_checksum(body))
    assert (response.status, response.code) == (503, "storage_unavailable")
    s3_proxy.rules.clear()
    assert_resumes(world, path, 10)


def test_line_20_what_agreed_is_kept_as_far_as_it_could_be_stored(
    forgetful: World, s3_proxy: S3Proxy
) -> None:
    path = forgetful.client.new_upload(LENGTH)
    s3_proxy.fail(S3Call.UPLOAD_PART, Answer(500, "InternalError"), times=None, part_number=3)
    body = GOOD[: 3 * PART_BYTES]
    assert forgetful.client.patch(path, 0, body, with_checksum(body)).status == 503
    s3_proxy.rules.clear()
    assert_resumes(forgetful, path, 3 * PART_BYTES)  # two parts, and one parked in the tail


def test_line_20_without_the_word_of_s3_no_unverified_part_is_sent(
    forgetful: World, s3_proxy: S3Proxy
) -> None:
    """The word that parts must not be adopted goes out before the first of them."""
    path = forgetful.client.new_upload(LENGTH)
    assert forgetful.client.patch(path, 0, GOOD[:PART_BYTES]).status == 204
    s3_proxy.fail(S3Call.PUT_RECOVERY, Answer(500, "InternalError"), times=None)
    body = GOOD[PART_BYTES:]
    assert forgetful.client.patch(path, PART_BYTES, body, with_checksum(body)).status == 503
    assert stored_parts(forgetful, path) == {1}
    s3_proxy.rules.clear()
    forgetful.redis.lose(id_of(path))
    assert_resumes(forgetful, path, PART_BYTES)
