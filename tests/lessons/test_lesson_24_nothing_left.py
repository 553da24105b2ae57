"""Lesson 24: terminating an upload leaves nothing of it, at whatever stage it was."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from tests.conftest import StartServer
from tests.support.bodies import PART_BYTES, body_of
from tests.support.faults import Answer, Hold, Stage
from tests.support.s3_calls import S3Call
from tests.support.s3_proxy import S3Proxy
from tests.support.server import ServerProcess, StoreSettings
from tests.support.stores import Bucket, RedisView
from tests.support.tus import id_of
from tests.support.waiting import eventually
from tests.support.world import World

LENGTH = 3 * PART_BYTES
BODY = body_of(LENGTH)


@pytest.fixture(scope="module")
def shaky(
    through: StoreSettings, start_module_server: StartServer, bucket: Bucket, redis_view: RedisView
) -> World:
    """A server behind the proxies."""
    return World(start_module_server(over=through, network_timeout="30s"), bucket, redis_view)


def assert_terminated(world: World, path: str) -> None:
    """DELETE it; afterwards the bucket and Redis hold nothing, and no request finds it."""

    def is_deleted() -> bool:
        response = world.client.delete(path)
        assert response.status in {204, 423}, response
        return response.status == 204

    eventually(is_deleted, what="nobody holds the upload any more")
    assert_nothing_left(world, path)


def assert_nothing_left(world: World, path: str) -> None:
    eventually(lambda: world.traces_of(path) == [], what="nothing is left")
    assert world.client.head(path).status == 404
    assert world.client.patch(path, 0, b"x").status == 404
    assert world.traces_of(path) == []


@pytest.mark.parametrize("stored", [0, 1000, PART_BYTES, PART_BYTES + 1000, LENGTH - 1, LENGTH])
@pytest.mark.parametrize("length", [LENGTH, None])
def test_lesson_24_between_two_patches(
    world: World, second_server: ServerProcess, stored: int, length: int | None
) -> None:
    """Created, a tail, parts, parts and a tail, complete, or all there but for the length:
    another process removes what one has stored."""
    path = world.client.new_upload(length)
    world.client.upload_from(path, BODY[:stored])
    assert world.traces_of(path) != []
    assert second_server.client.delete(path).status == 204
    assert_nothing_left(world, path)


@pytest.mark.parametrize("length", [0, 1000, PART_BYTES])
def test_lesson_24_an_object_without_parts(world: World, length: int) -> None:
    """What was one PUT is gone too."""
    path = world.client.new_upload(length)
    world.client.upload_from(path, BODY[:length])
    assert world.object_of(path) == BODY[:length]
    assert_terminated(world, path)


MOMENTS = [
    (S3Call.CREATE_MULTIPART, None),
    (S3Call.PUT_RECOVERY, None),
    (S3Call.UPLOAD_PART, 1),
    (S3Call.UPLOAD_PART, 2),
    (S3Call.UPLOAD_PART, 3),
    (S3Call.COMPLETE_MULTIPART, None),
    (S3Call.DELETE_RECOVERY, None),
]
"""Calls of a PATCH that brings a whole upload, and the number of the part they are about."""


@pytest.mark.parametrize("stage", Stage)
@pytest.mark.parametrize(("kind", "number"), MOMENTS)
def test_lesson_24_while_another_process_is_storing(
    shaky: World,
    world: World,
    s3_proxy: S3Proxy,
    kind: S3Call,
    number: int | None,
    stage: Stage,
) -> None:
    """DELETE comes while the multipart upload starts, while parts are in flight, while S3 puts
    them together: whoever has to wait for whom, in the end there is nothing."""
    path = shaky.client.new_upload(LENGTH)
    hold = Hold(stage)
    s3_proxy.fail(kind, hold, part_number=number)
    with (
        shaky.client.begin_patch(path, 0, BODY, declared=LENGTH) as holder,
        ThreadPoolExecutor(1) as pool,
    ):
        hold.wait_until_reached()
        deleting = pool.submit(assert_terminated, world, path)
        hold.release()
        assert holder.read_response().status in {204, 404, 423, 503}
        deleting.result(30)
    assert_nothing_left(world, path)


def test_lesson_24_while_its_completion_is_owed(shaky: World, s3_proxy: S3Proxy) -> None:
    """S3 has all parts and could not put them together: that is removed like anything else."""
    path = shaky.client.new_upload(LENGTH)
    s3_proxy.fail(S3Call.COMPLETE_MULTIPART, Answer(500, "InternalError"), times=None)
    assert shaky.client.patch(path, 0, BODY).status == 503
    assert_terminated(shaky, path)


def test_lesson_24_while_a_part_waits_in_the_tail(shaky: World, s3_proxy: S3Proxy) -> None:
    """A part that S3 did not take is in Redis, and parts behind it are in S3."""
    path = shaky.client.new_upload(LENGTH)
    s3_proxy.fail(S3Call.UPLOAD_PART, Answer(500, "InternalError"), times=None, part_number=2)
    assert shaky.client.patch(path, 0, BODY).status == 503
    assert_terminated(shaky, path)


KILLED_AT: list[tuple[S3Call, int | None, Stage]] = [
    (S3Call.CREATE_MULTIPART, None, Stage.BEFORE),
    (S3Call.CREATE_MULTIPART, None, Stage.AFTER),
    (S3Call.PUT_RECOVERY, None, Stage.BEFORE),
    (S3Call.PUT_RECOVERY, None, Stage.AFTER),
    (S3Call.UPLOAD_PART, 1, Stage.AFTER),
    (S3Call.UPLOAD_PART, 3, Stage.AFTER),
    (S3Call.COMPLETE_MULTIPART, None, Stage.BEFORE),
    (S3Call.COMPLETE_MULTIPART, None, Stage.AFTER),
    (S3Call.DELETE_RECOVERY, None, Stage.AFTER),
]
"""Calls of a PATCH that was under way; what S3 has done the process did not live to learn."""


def test_lesson_24_after_its_process_was_killed(
    world: World, held_server: ServerProcess, s3_proxy: S3Proxy
) -> None:
    """Its holder died at some step: DELETE removes what it has left, included what no record can
    name: a multipart upload whose id was lost, unrecorded parts, an object."""
    paths: list[str] = []
    with ExitStack() as stack:
        for kind, number, stage in KILLED_AT:
            path, hold = world.client.new_upload(LENGTH), Hold(stage)
            s3_proxy.fail(kind, hold, part_number=number, key_part=id_of(path))
            stack.enter_context(held_server.client.begin_patch(path, 0, BODY, declared=LENGTH))
            hold.wait_until_reached()
            paths.append(path)
        held_server.kill()
    # What S3 has not seen by now never comes.
    s3_proxy.cut_all()
    for path in paths:
        assert_terminated(world, path)


@pytest.mark.parametrize(
    "kind", [S3Call.ABORT_MULTIPART, S3Call.DELETE_RECOVERY, S3Call.DELETE_OBJECT]
)
def test_lesson_24_half_way_through_another_delete(
    shaky: World, s3_proxy: S3Proxy, kind: S3Call
) -> None:
    """A DELETE that S3 did not let finish: the upload is gone for clients, and a second DELETE
    removes the rest."""
    path = shaky.client.new_upload(LENGTH, body=BODY[: PART_BYTES + 1000])
    s3_proxy.fail(kind, Answer(500, "InternalError"), times=None)
    assert shaky.client.delete(path).status == 503
    assert shaky.client.head(path).status == 404
    s3_proxy.rules.clear()
    assert_terminated(shaky, path)
