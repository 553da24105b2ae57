"""Line 9 and 10: server processes that die, stop or freeze in the middle of a PATCH."""

from __future__ import annotations

import time

import pytest

from tests.conftest import StartServer
from tests.support.bodies import KIB, MIB, PART_BYTES, body_of
from tests.support.raw import RawConnection
from tests.support.server import ServerProcess
from tests.support.waiting import Stopwatch, eventually
from tests.support.world import World

LENGTH = 3 * PART_BYTES + MIB
LEASE_TTL_S = 2.0
MARGIN_S = 2.0
PATIENT = {"network_timeout": "20s", "lease_ttl": f"{LEASE_TTL_S}s"}
"""A stalled body is to stay open for as long as these tests need it."""


@pytest.fixture
def doomed(world: World, start_server: StartServer) -> ServerProcess:
    """Another process over the same uploads, which will not live long."""
    return start_server(over=world.stores, checkpoint_interval="500ms", **PATIENT)


def assert_resumed(world: World, path: str, *, at_least: int, at_most: int) -> None:
    """The default server finds the offset within the lease's life, and finishes the upload."""
    offset = world.client.offset_of(path, within_s=LEASE_TTL_S + MARGIN_S)
    assert at_least <= offset <= at_most
    world.client.upload_from(path, body_of(LENGTH))
    assert world.object_of(path) == body_of(LENGTH)


@pytest.mark.parametrize(
    ("acknowledged", "in_flight"),
    [
        (0, PART_BYTES + 100_000),
        (100_000, 1),
        (PART_BYTES - 5, 1),
        (PART_BYTES - 5, PART_BYTES + 100_000),
        (PART_BYTES + 100_000, PART_BYTES + 100_000),
    ],
)
def test_line_09_a_killed_process_costs_no_acknowledged_byte(
    world: World, doomed: ServerProcess, acknowledged: int, in_flight: int
) -> None:
    body = body_of(LENGTH)
    path = world.client.new_upload(LENGTH)
    world.client.upload_from(path, body[:acknowledged])
    end = acknowledged + in_flight
    begun = doomed.client.begin_patch(
        path, acknowledged, body[acknowledged:end], declared=LENGTH - acknowledged
    )
    with begun:
        doomed.kill()
        assert_resumed(world, path, at_least=acknowledged, at_most=end)


def test_line_09_a_killed_process_costs_a_slow_upload_seconds_at_most(
    world: World, doomed: ServerProcess
) -> None:
    body = body_of(LENGTH)
    path = world.client.new_upload(LENGTH)
    sent_at: list[tuple[float, int]] = []
    with doomed.client.begin_patch(path, 0, body[:KIB], declared=LENGTH) as connection:
        for step in range(1, 30):
            connection.assert_silent_for(0.1)
            connection.send(body[step * KIB : (step + 1) * KIB])
            sent_at.append((time.monotonic(), (step + 1) * KIB))
        killed_at = time.monotonic()
        doomed.kill()
    # A checkpoint every half second, and plenty of time for it to be made.
    due = [sent for at, sent in sent_at if at < killed_at - 1.5]
    assert_resumed(world, path, at_least=due[-1], at_most=sent_at[-1][1])


def test_line_09_a_stalled_body_is_checkpointed_whole(world: World, doomed: ServerProcess) -> None:
    body = body_of(LENGTH)
    sent = PART_BYTES + 100_000
    path = world.client.new_upload(LENGTH)
    with doomed.client.begin_patch(path, 0, body[:sent], declared=LENGTH) as connection:
        connection.assert_silent_for(2.0)
        doomed.kill()
        assert_resumed(world, path, at_least=sent, at_most=sent)


@pytest.mark.parametrize("sent", [1, 100_000, PART_BYTES + 100_000, 2 * PART_BYTES])
def test_line_09_a_stopped_process_keeps_every_byte_it_received(
    world: World, doomed: ServerProcess, sent: int
) -> None:
    body = body_of(LENGTH)
    path = world.client.new_upload(LENGTH)
    with doomed.client.begin_patch(path, 0, body[:sent], declared=LENGTH) as connection:
        connection.assert_silent_for(0.7)
        watch = Stopwatch()
        doomed.terminate()
        response = connection.read_response()
        assert (response.status, response.code) == (503, "shutting_down")
    assert doomed.wait_for_exit() is not None
    assert watch.elapsed_s < 5.0
    assert "Traceback" not in doomed.log(), doomed.log_tail()
    assert world.client.offset_of(path, within_s=1.0) == sent
    assert_resumed(world, path, at_least=sent, at_most=sent)


def test_line_09_a_stopped_process_does_not_wait_for_idle_connections(
    doomed: ServerProcess,
) -> None:
    with RawConnection(("127.0.0.1", doomed.port)) as idle:
        idle.send_head("OPTIONS", "/files/")
        assert idle.read_response("OPTIONS").status == 204
        watch = Stopwatch()
        doomed.stop()
        assert watch.elapsed_s < 5.0


def test_line_09_a_stopped_process_finishes_what_is_whole(
    world: World, doomed: ServerProcess
) -> None:
    path = world.client.new_upload(2 * PART_BYTES)
    body = body_of(2 * PART_BYTES)
    begun = doomed.client.begin_patch(path, 0, body, declared=len(body))
    with begun as connection:
        doomed.terminate()
        response = connection.read_response()
        doomed.wait_for_exit()
    assert response.status in {204, 503}
    world.client.upload_from(path, body)
    assert world.object_of(path) == body


@pytest.mark.parametrize("sent", [100_000, PART_BYTES + 100_000])
def test_line_10_a_frozen_holder_that_wakes_up_late_changes_nothing(
    world: World, doomed: ServerProcess, sent: int
) -> None:
    stale, fresh = body_of(LENGTH, seed=1), body_of(LENGTH)
    path = world.client.new_upload(LENGTH)
    with doomed.client.begin_patch(path, 0, stale[:sent], declared=LENGTH) as frozen:
        frozen.assert_silent_for(0.3)
        doomed.freeze()
        offset = world.client.offset_of(path, within_s=LEASE_TTL_S + MARGIN_S)
        assert offset <= sent
        response = world.client.patch(path, offset, fresh[offset : offset + 300_000])
        assert response.status == 204
        doomed.thaw()
        frozen.send_until_closed(stale[sent : sent + PART_BYTES])
        assert frozen.read_response().status in {423, 503}
    assert world.client.offset_of(path) == offset + 300_000
    world.client.upload_from(path, stale[:offset] + fresh[offset:])
    assert world.object_of(path) == stale[:offset] + fresh[offset:]


def test_line_10_a_frozen_holder_does_not_bring_a_deleted_upload_back(
    world: World, doomed: ServerProcess
) -> None:
    path = world.client.new_upload(LENGTH)
    sent = body_of(PART_BYTES + 100_000)
    with doomed.client.begin_patch(path, 0, sent, declared=LENGTH) as frozen:
        frozen.assert_silent_for(0.3)
        doomed.freeze()
        eventually(lambda: world.client.delete(path).status == 204)
        doomed.thaw()
        frozen.send_until_closed(body_of(LENGTH)[len(sent) :])
        assert frozen.read_response().status in {404, 423, 503}
    eventually(lambda: world.traces_of(path) == [], what="nothing is left")
    assert world.client.head(path).status == 404


def test_line_10_the_last_patch_of_a_killed_process_is_completed_by_another(
    world: World, doomed: ServerProcess
) -> None:
    # All bytes are on their way when the process dies: whatever was stored, the end is the same.
    path = world.client.new_upload(LENGTH)
    body = body_of(LENGTH)
    with doomed.client.begin_patch(path, 0, body, declared=LENGTH):
        doomed.kill()
    assert_resumed(world, path, at_least=0, at_most=LENGTH)


def test_line_10_several_workers_end_together(world: World, start_server: StartServer) -> None:
    server = start_server(over=world.stores, workers=2, **PATIENT)
    path = world.client.new_upload(LENGTH)
    with server.client.begin_patch(path, 0, body_of(LENGTH)[:MIB], declared=LENGTH) as connection:
        connection.assert_silent_for(0.7)
        server.terminate()
        assert connection.read_response().status == 503
    server.wait_for_exit()
    eventually(lambda: world.client.offset_of(path) == MIB)
