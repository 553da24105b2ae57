"""Lesson 16: a holder that is silent, gone or dead keeps nobody waiting for long."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

import pytest

from tests.conftest import StartServer
from tests.lessons.client import assert_ends_well
from tests.support.bodies import PART_BYTES, body_of
from tests.support.raw import RawConnection, RawResponse
from tests.support.server import ServerProcess
from tests.support.tus import RawClient
from tests.support.waiting import Stopwatch
from tests.support.world import World

LENGTH = 2 * PART_BYTES
BODY = body_of(LENGTH)
SENT = [1, 1000, PART_BYTES, PART_BYTES + 1000]
DEFAULT_TTL_S = 4.0
MARGIN_S = 1.5
RETRY_BUDGET_S = 9.0
"""What common clients give a failing upload, all their retries together."""


@pytest.fixture(scope="module")
def patient(start_module_server: StartServer, world: World) -> ServerProcess:
    """A server that lets a body be silent for longer than any client would wait."""
    return start_module_server(over=world.stores, network_timeout="120s", checkpoint_interval="60s")


def silent(_: RawConnection) -> None:
    """The connection died without a word, or its client sleeps."""


def half_closed(connection: RawConnection) -> None:
    """The client has said that nothing more will come."""
    connection.finish()


@pytest.mark.parametrize("ending", [silent, half_closed])
@pytest.mark.parametrize("sent", SENT)
def test_lesson_16_head_during_a_silent_patch_is_true_and_quick(
    world: World, patient: ServerProcess, sent: int, ending: Callable[[RawConnection], None]
) -> None:
    """While a PATCH says nothing, HEAD on another process gives every byte it had sent, within a
    second, and the client goes on from there."""
    path = patient.client.new_upload(LENGTH)
    with patient.client.begin_patch(path, 0, BODY[:sent], declared=LENGTH) as holder:
        holder.assert_silent_for(0.3)
        ending(holder)
        watch = Stopwatch()
        head = world.client.head(path)
        assert watch.elapsed_s < 1.0
        assert (head.status, head.offset) == (200, sent)
    assert_ends_well(world, path, BODY)


def test_lesson_16_a_new_patch_takes_over_from_a_silent_one(
    world: World, patient: ServerProcess
) -> None:
    """A client that knows its offset need not ask first: its PATCH is taken within a second."""
    path = patient.client.new_upload(LENGTH)
    with patient.client.begin_patch(path, 0, BODY[:1000], declared=LENGTH) as holder:
        holder.assert_silent_for(0.3)
        watch = Stopwatch()
        response = world.client.patch(path, 1000, BODY[1000:2000])
        assert watch.elapsed_s < 1.0
        assert (response.status, response.offset) == (204, 2000)
        assert holder.read_response().status == 423
    assert_ends_well(world, path, BODY)


def by_head(client: RawClient, path: str) -> RawResponse:
    return client.head(path)


def by_patch(client: RawClient, path: str) -> RawResponse:
    return client.patch(path, 1000, BODY[1000:2000])


def by_delete(client: RawClient, path: str) -> RawResponse:
    return client.delete(path)


def test_lesson_16_a_dead_holder_blocks_for_no_longer_than_its_lease(
    world: World, start_server: StartServer
) -> None:
    """The process that held the upload is gone, or does not move any more: whoever comes next
    gets through when the lease has ended, well within what clients are willing to wait."""
    killed, frozen = (
        start_server(over=world.stores, lease_ttl=f"{DEFAULT_TTL_S}s", network_timeout="60s")
        for _ in range(2)
    )
    cases = [(server, way) for server in (killed, frozen) for way in (by_head, by_patch, by_delete)]
    paths = [world.client.new_upload(LENGTH, body=BODY[:1000]) for _ in cases]
    with ExitStack() as stack:
        for path, (server, _) in zip(paths, cases, strict=True):
            sent = BODY[1000:2000]
            begun = server.client.begin_patch(path, 1000, sent, declared=LENGTH - 1000)
            stack.enter_context(begun).assert_silent_for(0.1)
        killed.kill()
        frozen.freeze()
        watch = Stopwatch()
        statuses = [
            way(world.client, path).status for path, (_, way) in zip(paths, cases, strict=True)
        ]
        waited_s = watch.elapsed_s
        frozen.thaw()
    assert waited_s < DEFAULT_TTL_S + MARGIN_S < RETRY_BUDGET_S
    assert statuses == [200, 204, 204] * 2
    for path, (_, way) in zip(paths, cases, strict=True):
        if way is by_delete:
            assert world.traces_of(path) == []
        else:
            assert_ends_well(world, path, BODY)
