"""Lesson 15: of two who write the same bytes of an upload, one does, wherever they run."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from threading import Barrier

import pytest

from tests.conftest import StartServer
from tests.lessons.client import assert_ends_well
from tests.support.bodies import PART_BYTES, body_of
from tests.support.faults import Hold, Stage
from tests.support.raw import RawResponse
from tests.support.redis_proxy import TAIL_BYTES, RedisProxy
from tests.support.s3_calls import S3Call
from tests.support.s3_proxy import S3Proxy
from tests.support.server import ServerProcess, StoreSettings
from tests.support.tus import RawClient, patch_headers
from tests.support.waiting import eventually
from tests.support.world import World

LENGTH = 2 * PART_BYTES
FRESH, STALE = body_of(LENGTH), body_of(LENGTH, seed=1)
ROUNDS = 40


@pytest.fixture
def frozen_server(through: StoreSettings, start_server: StartServer) -> ServerProcess:
    """A process behind the proxies that is there to be frozen past its lease."""
    return start_server(
        over=through, lease_ttl="1s", network_timeout="60s", redis_timeout="60s", s3_timeout="60s"
    )


@pytest.mark.parametrize("acknowledged", [0, 1000, PART_BYTES - 500])
def test_lesson_15_of_two_patches_at_the_same_moment_one_counts(
    world: World, second_server: ServerProcess, acknowledged: int
) -> None:
    """Two processes get a PATCH for the same offset at the same moment, many times: one says 204
    and its bytes are there; the other one's are not."""
    path = world.client.new_upload(None)
    world.client.upload_from(path, FRESH[:acknowledged])
    expected = FRESH[:acknowledged]
    for turn in range(ROUNDS):
        bodies = [body_of(300, seed=2 * turn + 2), body_of(300, seed=2 * turn + 3)]
        both = race([world.client, second_server.client], path, len(expected), bodies)
        statuses = [response.status for response in both]
        assert statuses.count(204) == 1, both
        assert set(statuses) <= {204, 409, 423}, both
        expected += bodies[statuses.index(204)]
        assert {world.client.offset_of(path), second_server.client.offset_of(path)} == {
            len(expected)
        }
    assert_ends_well(world, path, expected)


def race(
    clients: list[RawClient], path: str, offset: int, bodies: list[bytes]
) -> list[RawResponse]:
    """The answers to one PATCH of each client, sent at the same moment."""
    start = Barrier(len(clients))

    def patch(client: RawClient, body: bytes) -> RawResponse:
        with client.connect() as connection:
            head = connection.head_bytes("PATCH", path, patch_headers(offset, len(body)))
            start.wait(10)
            connection.send(head + body)
            return connection.read_response()

    with ThreadPoolExecutor(len(clients)) as pool:
        return list(pool.map(patch, clients, bodies))


def test_lesson_15_a_part_that_comes_too_late_is_never_mixed_in(
    world: World,
    through: StoreSettings,
    held_server: ServerProcess,
    start_server: StartServer,
    s3_proxy: S3Proxy,
) -> None:
    """S3 has no fence: the last part of a dead holder arrives behind that of its successor, and
    before the completion. With the same bytes it does no harm; with others, the upload is refused,
    or S3 takes the one that is meant, but they are never mixed."""
    length, successor = PART_BYTES + 1000, start_server(over=through)
    rest, others = FRESH[PART_BYTES:length], STALE[PART_BYTES:length]
    same, other = (world.client.new_upload(length, body=FRESH[:PART_BYTES]) for _ in range(2))
    parts, answers = Hold(), Hold(Stage.AFTER)
    s3_proxy.fail(S3Call.UPLOAD_PART, parts, times=2)
    s3_proxy.fail(S3Call.UPLOAD_PART, answers, nth=3, times=2)
    with ExitStack() as stack:
        for path, late in ((same, rest), (other, others)):
            begun = held_server.client.begin_patch(path, PART_BYTES, late, declared=1000)
            stack.enter_context(begun)
        eventually(lambda: answered(s3_proxy, None) == 2, what="both parts are under way")
        held_server.kill()
    with ExitStack() as stack:
        for path in (same, other):
            assert world.client.offset_of(path) == PART_BYTES
        writers = [
            stack.enter_context(successor.client.begin_patch(path, PART_BYTES, rest, declared=1000))
            for path in (same, other)
        ]
        eventually(lambda: answered(s3_proxy, 200) == 2, what="their successors' are stored")
        parts.release()
        eventually(lambda: answered(s3_proxy, 200) == 4, what="the late parts are stored")
        answers.release()
        first, second = (writer.read_response() for writer in writers)
    assert (first.status, first.offset) == (204, length)
    assert world.object_of(same) == FRESH[:length]
    if second.status == 204:
        assert world.object_of(other) == FRESH[:length]
    else:
        assert second.status in {404, 500, 503}, second
        assert world.client.head(other).status in {404, 423, 500}
        assert world.bucket.get(world.key_of(other)) is None


def answered(s3_proxy: S3Proxy, status: int | None) -> int:
    """How many parts have come through the proxy and have this status; None: not stored yet."""
    calls = [call for call in s3_proxy.calls() if call.kind is S3Call.UPLOAD_PART]
    return sum(call.status == status for call in calls)


@pytest.mark.parametrize("sent", [3000, PART_BYTES + 3000])
def test_lesson_15_a_commit_that_comes_too_late_changes_nothing(
    world: World, frozen_server: ServerProcess, redis_proxy: RedisProxy, sent: int
) -> None:
    """A holder is frozen with its commit on the way to Redis. Its lease ends, others write, and
    then both arrive, the commit and the holder: nothing of what it had is seen."""
    path = world.client.new_upload(LENGTH, body=FRESH[:1000])
    hold = Hold()
    redis_proxy.fail(TAIL_BYTES, hold)
    stale = STALE[1000 : 1000 + sent]
    with frozen_server.client.begin_patch(path, 1000, stale, declared=sent) as holder:
        hold.wait_until_reached()
        frozen_server.freeze()
        assert world.client.offset_of(path) == 1000
        assert world.client.patch(path, 1000, FRESH[1000:2500]).offset == 2500
        with world.unchanged():
            hold.release()
            frozen_server.thaw()
            response = holder.read_response()
        assert response.status in {409, 423, 503}, response
    assert world.client.offset_of(path) == 2500
    assert_ends_well(world, path, FRESH)


def test_lesson_15_a_holder_that_slept_too_long_records_no_further_byte(
    world: World, frozen_server: ServerProcess
) -> None:
    """A holder that wakes up in the middle of a body learns that it is none before it records
    anything more, also when the upload is whole by then, or gone."""
    paths = [world.client.new_upload(LENGTH, body=FRESH[:1000]) for _ in range(3)]
    half, rest = STALE[1000:PART_BYTES], STALE[PART_BYTES:]
    begun = [
        frozen_server.client.begin_patch(path, 1000, half, declared=LENGTH - 1000) for path in paths
    ]
    # Nothing is under way to S3, which has no fence, when the holder falls asleep.
    eventually(lambda: {stored(world, path) for path in paths} == {1}, what="S3 has all parts")
    frozen_server.freeze()
    offsets = [world.client.offset_of(path) for path in paths]
    assert set(offsets) <= {1000, PART_BYTES}
    going, whole, gone = paths
    assert world.client.patch(going, offsets[0], FRESH[offsets[0] : offsets[0] + 10]).status == 204
    world.client.upload_from(whole, FRESH)
    assert world.client.delete(gone).status == 204
    before = world.redis.snapshot()
    frozen_server.thaw()
    for holder in begun:
        holder.send_until_closed(rest)
        assert holder.read_response().status in {404, 409, 423, 503}
        holder.close()
    eventually(lambda: world.redis.snapshot() == before, what="nothing was recorded")
    assert world.object_of(whole) == begun_stale(offsets[1])
    assert world.traces_of(gone) == []
    assert world.client.offset_of(going) == offsets[0] + 10
    assert_ends_well(world, going, begun_stale(offsets[0]))


def stored(world: World, path: str) -> int:
    """How many parts of an unfinished upload S3 has."""
    uploads = world.bucket.multipart_uploads(world.key_of(path))
    return sum(len(world.bucket.parts(*upload) or ()) for upload in uploads)


def begun_stale(offset: int) -> bytes:
    """An upload whose first PATCH, the one that slept, had got as far as `offset`."""
    return FRESH[:1000] + STALE[1000:offset] + FRESH[offset:]
