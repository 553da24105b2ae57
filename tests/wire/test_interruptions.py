"""Line 9 and 10: connections that end in the middle, and requests that take an upload over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Barrier

import pytest

from tests.support.bodies import KIB, MIB, PART_BYTES, body_of
from tests.support.raw import RawConnection, RawResponse
from tests.support.server import ServerProcess
from tests.support.tus import RawClient, patch_headers
from tests.support.waiting import Stopwatch
from tests.support.world import World

LENGTH = 3 * PART_BYTES + MIB
SENT = [
    1,
    100,
    64 * KIB,
    MIB,
    PART_BYTES - 1,
    PART_BYTES,
    PART_BYTES + 1,
    2 * PART_BYTES,
    12 * MIB + 7,
    LENGTH - 1,
]


def by_fin(connection: RawConnection) -> None:
    connection.finish()
    connection.read_until_closed()


def by_reset(connection: RawConnection) -> None:
    connection.reset()


def by_silence(connection: RawConnection) -> None:
    response = connection.read_response()
    assert (response.status, response.code) == (503, "body_timed_out")


CUTS = [by_fin, by_reset, by_silence]
Cut = Callable[[RawConnection], None]


def interrupt(client: RawClient, sent: int, cut: Cut, *, quiet_s: float) -> str:
    """Send `sent` bytes of an upload, and cut the connection after `quiet_s`; its path."""
    path = client.new_upload(LENGTH)
    body = body_of(LENGTH)[:sent]
    with client.begin_patch(path, 0, body, declared=LENGTH) as connection:
        if quiet_s:
            connection.assert_silent_for(quiet_s)
        cut(connection)
    return path


def resumed(world: World, path: str) -> bytes:
    """The object after the upload was taken up again where HEAD says it is."""
    world.client.upload_from(path, body_of(LENGTH))
    return world.object_of(path)


Outcome = tuple[int, bool]
"""Offset after the interruption, and whether the resumed object is right."""


@pytest.fixture(scope="module")
def interrupted(world: World) -> Iterator[dict[tuple[Cut, int], Future[Outcome]]]:
    """Every cut after every number of bytes, a few at a time: they mostly wait."""

    def run(cut: Cut, sent: int) -> Outcome:
        path = interrupt(world.client, sent, cut, quiet_s=1.0)
        offset = world.client.offset_of(path)
        return offset, resumed(world, path) == body_of(LENGTH)

    body_of(LENGTH)
    with ThreadPoolExecutor(8) as pool:
        yield {(cut, sent): pool.submit(run, cut, sent) for cut in CUTS for sent in SENT}


@pytest.mark.parametrize("sent", SENT)
@pytest.mark.parametrize("cut", CUTS)
def test_line_09_every_byte_that_arrived_before_the_cut_is_kept(
    interrupted: dict[tuple[Cut, int], Future[Outcome]], cut: Cut, sent: int
) -> None:
    offset, is_right = interrupted[cut, sent].result(60)
    assert offset == sent
    assert is_right


@pytest.mark.parametrize("sent", SENT)
@pytest.mark.parametrize("cut", [by_fin, by_reset])
def test_line_09_a_cut_right_behind_the_bytes_never_claims_more_and_a_fin_loses_nothing(
    world: World, cut: Cut, sent: int
) -> None:
    path = interrupt(world.client, sent, cut, quiet_s=0)
    offset = world.client.offset_of(path)
    assert offset <= sent
    if cut is by_fin:
        assert offset == sent  # a reset takes along what the sockets still hold, a FIN does not
    assert resumed(world, path) == body_of(LENGTH)


def test_line_09_a_chunked_body_that_is_cut_is_kept_too(world: World) -> None:
    client = world.client
    body = body_of(LENGTH)
    path = client.new_upload(LENGTH)
    with client.begin_patch(path, 0, body[: PART_BYTES + 9], declared=None) as connection:
        connection.assert_silent_for(1.0)
        connection.finish()
        connection.read_until_closed()
    assert client.offset_of(path) == PART_BYTES + 9
    assert resumed(world, path) == body


def test_line_09_an_upload_survives_many_cuts(world: World) -> None:
    client = world.client
    body = body_of(LENGTH)
    path = client.new_upload(LENGTH)
    for step in range(12):
        offset = client.offset_of(path)
        piece = body[offset : offset + 1_234_567]
        connection = client.begin_patch(path, offset, piece, declared=LENGTH - offset)
        with connection:
            (by_reset if step % 2 else by_fin)(connection)
    assert resumed(world, path) == body


@pytest.mark.parametrize("sent", [1, MIB, PART_BYTES, PART_BYTES + 1, 12 * MIB + 7])
def test_line_10_head_takes_a_stalled_patch_over_within_a_second(world: World, sent: int) -> None:
    client = world.client
    path = client.new_upload(LENGTH)
    with client.begin_patch(path, 0, body_of(LENGTH)[:sent], declared=LENGTH) as holder:
        holder.assert_silent_for(1.0)
        watch = Stopwatch()
        response = client.head(path)
        assert watch.elapsed_s < 1.0
        assert (response.status, response.offset) == (200, sent)
        interrupted = holder.read_response()
    assert (interrupted.status, interrupted.code) == (423, "upload_interrupted")
    assert resumed(world, path) == body_of(LENGTH)


@pytest.mark.parametrize("sent", [100, PART_BYTES + 1])
def test_line_10_head_on_another_process_takes_over_too(
    world: World, second_server: ServerProcess, sent: int
) -> None:
    path = world.client.new_upload(LENGTH)
    begun = world.client.begin_patch(path, 0, body_of(LENGTH)[:sent], declared=LENGTH)
    with begun as holder:
        holder.assert_silent_for(1.0)
        watch = Stopwatch()
        response = second_server.client.head(path)
        assert watch.elapsed_s < 1.0
        assert (response.status, response.offset) == (200, sent)
        assert holder.read_response().code == "upload_interrupted"
    second_server.client.upload_from(path, body_of(LENGTH))
    assert world.object_of(path) == body_of(LENGTH)


def test_line_10_head_takes_over_while_bytes_keep_coming(world: World) -> None:
    client = world.client
    path = client.new_upload(LENGTH)
    body = body_of(LENGTH)
    with client.connect() as holder:
        holder.send_head("PATCH", path, patch_headers(0, LENGTH))
        holder.send(body[: PART_BYTES + MIB])
        response = client.head(path)
        assert response.status == 200
        assert response.offset <= PART_BYTES + MIB
        assert holder.read_response().code == "upload_interrupted"
    assert client.offset_of(path) == response.offset
    assert resumed(world, path) == body


def race(world: World, other: RawClient, bodies: list[bytes]) -> tuple[str, list[RawResponse]]:
    """PATCH an upload at offset 0 through both processes at the same moment."""
    path = world.client.new_upload(len(bodies[0]))
    start = Barrier(2)

    def patch(client: RawClient, body: bytes) -> RawResponse:
        with client.connect() as connection:
            start.wait(10)
            connection.send_head("PATCH", path, patch_headers(0, len(body)))
            connection.send_until_closed(body)
            return connection.read_response()

    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(patch, [world.client, other], bodies))
    return path, both


@pytest.mark.parametrize(("length", "rounds"), [(1000, 20), (MIB, 20), (3 * PART_BYTES, 5)])
def test_line_10_of_two_patches_at_the_same_moment_exactly_one_writes(
    world: World, second_server: ServerProcess, length: int, rounds: int
) -> None:
    # The later one interrupts the earlier. If by then the earlier had stored a beginning, its
    # bytes stand and the later gets 409: then nobody has 204, and the client goes on from there.
    bodies = [body_of(length, seed=1), body_of(length, seed=2)]
    wins = 0
    for _ in range(rounds):
        path, both = race(world, second_server.client, bodies)
        statuses = [response.status for response in both]
        assert set(statuses) <= {204, 409, 423}, both
        assert statuses.count(204) <= 1, both
        offset = world.client.offset_of(path)
        if 204 in statuses:
            wins += 1
            assert offset == length
            assert world.object_of(path) == bodies[statuses.index(204)]
        else:
            assert 409 in statuses
            world.client.upload_from(path, bodies[0])
            stored = world.object_of(path)
            assert stored[:offset] in (bodies[0][:offset], bodies[1][:offset])
            assert stored[offset:] == bodies[0][offset:]
    assert wins, "what is on its way is taken in before the holder lets go"


@pytest.mark.parametrize("length", [100, PART_BYTES, LENGTH])
@pytest.mark.parametrize("cut", [by_fin, by_reset])
def test_line_09_a_client_that_leaves_with_its_last_byte_still_gets_its_object(
    world: World, length: int, cut: Cut
) -> None:
    body = body_of(length)
    path = world.client.new_upload(length)
    with world.client.begin_patch(path, 0, body, declared=length) as connection:
        cut(connection)
    world.client.upload_from(path, body)
    assert world.client.offset_of(path) == length
    assert world.object_of(path) == body


def test_line_10_many_heads_at_once_agree(world: World, second_server: ServerProcess) -> None:
    path = world.client.new_upload(LENGTH)
    with world.client.begin_patch(path, 0, body_of(MIB), declared=LENGTH) as holder:
        holder.assert_silent_for(0.5)
        clients = [world.client, second_server.client] * 8
        with ThreadPoolExecutor(16) as pool:
            offsets = set(pool.map(lambda client: client.offset_of(path), clients))
        assert offsets == {MIB}
        assert holder.read_response().status == 423


@pytest.mark.parametrize("length", [MIB, 2 * PART_BYTES + 77])
def test_line_10_a_crowd_that_sends_the_same_bytes_makes_one_right_object(
    world: World, second_server: ServerProcess, length: int
) -> None:
    body = body_of(length)
    path = world.client.new_upload(length)

    def push(turn: int) -> None:
        client = (world.client, second_server.client)[turn % 2]
        size = (length // 7, length // 3, length)[turn % 3]
        for _ in range(60):
            offset = client.offset_of(path, within_s=20)
            if offset == length:
                return
            with client.connect() as connection:
                piece = body[offset : offset + size]
                connection.send_head("PATCH", path, patch_headers(offset, len(piece)))
                connection.send_until_closed(piece)
                response = connection.read_response()
            assert response.status in {204, 409, 423}, response

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(push, range(6)))
    # They may have interrupted each other for ever; one alone comes through.
    world.client.upload_from(path, body)
    assert world.object_of(path) == body
