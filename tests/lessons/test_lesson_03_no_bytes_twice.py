"""Lesson 3: what fails between storing bytes and recording them is repeated, not stored twice."""

from __future__ import annotations

from contextlib import ExitStack
from itertools import product

import pytest

from tests.conftest import StartServer
from tests.lessons.client import assert_ends_well
from tests.support.bodies import KIB, MIB, PART_BYTES, body_of
from tests.support.faults import Cut, Hold, Rule, Stage
from tests.support.raw import RawResponse
from tests.support.redis_proxy import TAIL_BYTES, RedisProxy
from tests.support.s3_calls import S3Call
from tests.support.s3_proxy import S3Proxy
from tests.support.server import ServerProcess, StoreSettings
from tests.support.stores import Bucket, RedisView
from tests.support.tus import RawClient, id_of
from tests.support.waiting import eventually
from tests.support.world import World

LENGTH = 2 * PART_BYTES + 1000
BODY = body_of(LENGTH)


@pytest.fixture(scope="module")
def shaky(
    through: StoreSettings, start_module_server: StartServer, bucket: Bucket, redis_view: RedisView
) -> World:
    """A server behind the proxies."""
    return World(start_module_server(over=through, redis_timeout="2s"), bucket, redis_view)


def push(client: RawClient, path: str, body: bytes, size: int) -> None:
    """PATCH by PATCH, and the same PATCH again after a failure, without asking where it is."""
    offset = 0
    while offset < len(body):
        piece = body[offset : offset + size]

        def answered(at: int = offset, piece: bytes = piece) -> RawResponse | None:
            response = client.patch(path, at, piece)
            return None if response.status in {423, 503} else response

        response = eventually(answered, within_s=30, what=f"PATCH at {offset}")
        # 409: the PATCH that seemed to fail had been recorded.
        assert response.status in {204, 409}, response
        assert response.offset == offset + len(piece)
        offset = response.offset


def lose_some(proxy: RedisProxy, path: str, cut: Cut, *, every: int) -> list[Rule[list[str]]]:
    """Lose some commands about an upload, over and over."""

    def is_about(command: list[str]) -> bool:
        return any(id_of(path) in word for word in command)

    return [proxy.rules.add(is_about, cut, nth=nth, times=1) for nth in range(2, 90, every)]


@pytest.mark.parametrize("cut", [Cut.BEFORE, Cut.AFTER])
@pytest.mark.parametrize("every", [2, 5])
def test_lesson_03_no_lost_step_doubles_bytes_of_a_tail(
    shaky: World, redis_proxy: RedisProxy, every: int, cut: Cut
) -> None:
    """Steps that store or record bytes are lost, or only their answers: the tail that grows
    through all of this has each byte once."""
    body = BODY[: 500 * KIB]
    path = shaky.client.new_upload(len(body))
    rules = lose_some(redis_proxy, path, cut, every=every)
    push(shaky.client, path, body, 33 * KIB)
    assert sum(rule.hits for rule in rules) > 4
    redis_proxy.rules.clear()
    assert shaky.object_of(path) == body


@pytest.mark.parametrize("cut", [Cut.BEFORE, Cut.AFTER])
@pytest.mark.parametrize("every", [3])
def test_lesson_03_no_lost_step_doubles_bytes_of_parts(
    shaky: World, redis_proxy: RedisProxy, every: int, cut: Cut
) -> None:
    """The same where the lost steps record parts that S3 already has, and a new tail."""
    path = shaky.client.new_upload(LENGTH)
    rules = lose_some(redis_proxy, path, cut, every=every)
    push(shaky.client, path, BODY, 3 * MIB)
    assert sum(rule.hits for rule in rules) > 4
    redis_proxy.rules.clear()
    assert shaky.object_of(path) == BODY


@pytest.mark.parametrize("acknowledged", [1000, PART_BYTES - 1000])
def test_lesson_03_a_patch_sent_again_while_the_first_is_recorded_stores_nothing_twice(
    shaky: World, redis_proxy: RedisProxy, acknowledged: int
) -> None:
    """The client loses the connection while its bytes are being recorded, and sends them again
    to the old offset: it is told the true one."""
    path = shaky.client.new_upload(LENGTH)
    shaky.client.upload_from(path, BODY[:acknowledged])
    piece = BODY[acknowledged : acknowledged + 2000]
    hold = Hold(Stage.AFTER)
    rule = redis_proxy.fail(TAIL_BYTES, hold)
    with shaky.client.begin_patch(path, acknowledged, piece, declared=len(piece)) as first:
        hold.wait_until_reached()
        first.reset()
    hold.release()
    again = shaky.client.patch(path, acknowledged, piece)
    assert (again.status, again.offset) == (409, acknowledged + len(piece))
    assert rule.hits == 1
    assert_ends_well(shaky, path, BODY)


def test_lesson_03_parts_stored_by_a_killed_process_are_not_appended_again(
    world: World, held_server: ServerProcess, s3_proxy: S3Proxy
) -> None:
    """A process dies when S3 has a part, or is about to have it, and no record says so: the
    client sends its bytes again, and the object has them once."""
    uploads: list[tuple[str, int]] = []
    with ExitStack() as stack:
        for stage, acknowledged in product(Stage, (0, 1000, PART_BYTES + 1000)):
            path = world.client.new_upload(LENGTH)
            world.client.upload_from(path, BODY[:acknowledged])
            hold, number = Hold(stage), acknowledged // PART_BYTES + 1
            s3_proxy.fail(S3Call.UPLOAD_PART, hold, key_part=id_of(path), part_number=number)
            sent = BODY[acknowledged : number * PART_BYTES + 500]
            stack.enter_context(
                held_server.client.begin_patch(
                    path, acknowledged, sent, declared=LENGTH - acknowledged
                )
            )
            hold.wait_until_reached()
            uploads.append((path, acknowledged))
        held_server.kill()
    for path, acknowledged in uploads:
        assert acknowledged <= world.client.offset_of(path) < LENGTH
    s3_proxy.rules.clear()
    for path, _ in uploads:
        assert_ends_well(world, path, BODY)
