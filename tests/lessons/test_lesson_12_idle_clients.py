"""Lesson 12: clients that send nothing take nothing from those that send."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.conftest import StartServer
from tests.lessons.client import assert_ends_well
from tests.support.bodies import PART_BYTES, body_of
from tests.support.raw import RawConnection
from tests.support.stores import Bucket, RedisView
from tests.support.world import World

IDLE = 50
LENGTH = 3 * PART_BYTES + 1000
BODY = body_of(LENGTH)
STALLED_AT = [0, 1, 1000, PART_BYTES + 1000]
"""Bytes after which the idle ones fell silent, in turn: before the first, in a tail, in a part."""


@pytest.fixture(scope="module")
def frugal(
    world: World, start_module_server: StartServer, bucket: Bucket, redis_view: RedisView
) -> World:
    """A server with far fewer connections to S3 than there are idle clients."""
    server = start_module_server(
        over=world.stores,
        s3_connections=4,
        network_timeout="120s",
        checkpoint_interval="200ms",
        lease_ttl="2s",
    )
    return World(server, bucket, redis_view)


@pytest.fixture(scope="module")
def idle(frugal: World) -> Iterator[list[tuple[str, int, RawConnection]]]:
    """PATCHes that have begun and are open: path, bytes sent, connection."""
    with ExitStack() as stack:
        begun = []
        for turn in range(IDLE):
            path, sent = frugal.client.new_upload(LENGTH), STALLED_AT[turn % len(STALLED_AT)]
            holder = frugal.client.begin_patch(path, 0, BODY[:sent], declared=LENGTH)
            begun.append((path, sent, stack.enter_context(holder)))
        # By the time one of them has been silent for a while, all are waited for by the server.
        begun[-1][2].assert_silent_for(1.0)
        yield begun


@pytest.mark.parametrize("length", [0, 1000, PART_BYTES, LENGTH])
def test_lesson_12_an_upload_is_not_held_up_by_fifty_idle_ones(
    frugal: World, idle: list[tuple[str, int, RawConnection]], length: int
) -> None:
    """With fifty idle PATCHes open, an upload is created, sent, asked for and complete, and not
    one of the fifty had to end for it."""
    path = frugal.client.new_upload(length)
    frugal.client.upload_from(path, BODY[:length], [PART_BYTES + 7])
    assert frugal.client.head(path).offset == length
    assert frugal.object_of(path) == BODY[:length]
    for _, _, holder in idle:
        holder.assert_silent_for(0.001)


def test_lesson_12_the_idle_ones_can_still_go_on(
    frugal: World, idle: list[tuple[str, int, RawConnection]]
) -> None:
    """Whoever was silent sends the rest on the same connection, and its upload is whole."""
    for path, sent, holder in idle[:8]:
        holder.send(BODY[sent:])
        response = holder.read_response()
        assert (response.status, response.offset) == (204, LENGTH)
        assert frugal.object_of(path) == BODY
    path, sent, holder = idle[-1]
    assert frugal.client.offset_of(path) == sent
    assert holder.read_response().status == 423
    assert_ends_well(frugal, path, BODY)
