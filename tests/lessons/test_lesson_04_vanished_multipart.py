"""Lesson 4: an upload whose multipart upload S3 has dropped is gone, and never called complete."""

from __future__ import annotations

import pytest

from tests.conftest import StartServer
from tests.support.bodies import PART_BYTES, body_of
from tests.support.faults import Answer, Hold, Stage
from tests.support.s3_calls import S3Call
from tests.support.s3_proxy import S3Proxy
from tests.support.server import StoreSettings
from tests.support.stores import Bucket, RedisView
from tests.support.waiting import eventually
from tests.support.world import World

LENGTH = 2 * PART_BYTES + 1000
BODY = body_of(LENGTH)


@pytest.fixture(scope="module")
def shaky(
    through: StoreSettings, start_module_server: StartServer, bucket: Bucket, redis_view: RedisView
) -> World:
    """A server behind the proxies."""
    return World(start_module_server(over=through), bucket, redis_view)


def drop_multipart(world: World, path: str) -> None:
    """End the multipart upload as a bucket's lifecycle rule would."""
    uploads = world.bucket.multipart_uploads(world.key_of(path))
    assert len(uploads) == 1
    world.bucket.abort(*uploads[0])


def assert_gone(world: World, path: str) -> None:
    """Nobody is told that the upload is whole, and a client that asks starts again."""
    assert world.client.head(path).status == 404
    assert world.client.patch(path, LENGTH, b"").status == 404
    assert world.bucket.get(world.key_of(path)) is None
    eventually(lambda: world.traces_of(path) == [], what="nothing is left")


@pytest.mark.parametrize("acknowledged", [PART_BYTES, PART_BYTES + 1000, 2 * PART_BYTES + 999])
@pytest.mark.parametrize("deferred", [False, True])
def test_lesson_04_dropped_between_two_patches(
    shaky: World, acknowledged: int, deferred: bool
) -> None:
    """The PATCH that would end an upload S3 has dropped is 404, and so is everything after it."""
    path = shaky.client.new_upload(None if deferred else LENGTH)
    shaky.client.upload_from(path, BODY[:acknowledged])
    drop_multipart(shaky, path)
    head = shaky.client.head(path)
    assert head.status == 404 or head.offset == acknowledged
    length = {"Upload-Length": f"{LENGTH}"}
    assert shaky.client.patch(path, acknowledged, BODY[acknowledged:], length).status == 404
    assert_gone(shaky, path)


def test_lesson_04_dropped_when_only_the_declaration_is_missing(shaky: World) -> None:
    """All bytes are stored, the length comes last: that does not make a dropped upload whole."""
    path = shaky.client.new_upload(None)
    shaky.client.upload_from(path, BODY)
    drop_multipart(shaky, path)
    declared = shaky.client.patch(path, LENGTH, b"", {"Upload-Length": f"{LENGTH}"})
    assert declared.status == 404
    assert_gone(shaky, path)


@pytest.mark.parametrize("number", [2, 3])
@pytest.mark.parametrize("stage", Stage)
def test_lesson_04_dropped_during_a_patch(
    shaky: World, s3_proxy: S3Proxy, number: int, stage: Stage
) -> None:
    """The multipart upload goes right before or right after a part of it was stored."""
    path = shaky.client.new_upload(LENGTH)
    shaky.client.upload_from(path, BODY[: PART_BYTES + 1000])
    hold = Hold(stage)
    s3_proxy.fail(S3Call.UPLOAD_PART, hold, part_number=number)
    rest = BODY[PART_BYTES + 1000 :]
    with shaky.client.begin_patch(path, PART_BYTES + 1000, rest, declared=len(rest)) as sender:
        hold.wait_until_reached()
        drop_multipart(shaky, path)
        hold.release()
        assert sender.read_response().status == 404
    assert_gone(shaky, path)


def test_lesson_04_dropped_at_the_moment_of_completion(shaky: World, s3_proxy: S3Proxy) -> None:
    """S3 answers the completion with "no such upload", as it does after a success."""
    path = shaky.client.new_upload(LENGTH)
    hold = Hold()
    s3_proxy.fail(S3Call.COMPLETE_MULTIPART, hold)
    with shaky.client.begin_patch(path, 0, BODY, declared=LENGTH) as sender:
        hold.wait_until_reached()
        drop_multipart(shaky, path)
        hold.release()
        assert sender.read_response().status == 404
    assert_gone(shaky, path)


@pytest.mark.parametrize("driver", ["HEAD", "PATCH"])
def test_lesson_04_dropped_while_its_completion_was_owed(
    shaky: World, s3_proxy: S3Proxy, driver: str
) -> None:
    """S3 could not complete, and has dropped the upload when the next request tries again."""
    path = shaky.client.new_upload(LENGTH)
    s3_proxy.fail(S3Call.COMPLETE_MULTIPART, Answer(500, "InternalError"), times=None)
    assert shaky.client.patch(path, 0, BODY).status == 503
    s3_proxy.rules.clear()
    drop_multipart(shaky, path)
    if driver == "HEAD":
        assert shaky.client.head(path).status == 404
    else:
        assert shaky.client.patch(path, LENGTH, b"").status == 404
    assert_gone(shaky, path)


def test_lesson_04_dropped_while_the_process_was_dead(
    world: World, through: StoreSettings, start_server: StartServer, s3_proxy: S3Proxy
) -> None:
    """The process dies before the completion; by the time somebody asks, S3 has tidied up."""
    doomed = start_server(over=through, lease_ttl="1s", s3_timeout="60s")
    path = world.client.new_upload(LENGTH)
    hold = Hold()
    s3_proxy.fail(S3Call.COMPLETE_MULTIPART, hold)
    with doomed.client.begin_patch(path, 0, BODY, declared=LENGTH):
        hold.wait_until_reached()
        doomed.kill()
    drop_multipart(world, path)
    eventually(lambda: world.client.head(path).status == 404, what="the upload is gone")
    assert_gone(world, path)
