"""Line 22: DELETE leaves nothing, whatever state the upload is in."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.bodies import PART_BYTES, body_of
from tests.support.server import ServerProcess
from tests.support.tus import OCTET_STREAM, TUS, patch_headers
from tests.support.waiting import Stopwatch, eventually
from tests.support.world import World

LENGTH = 3 * PART_BYTES


def assert_gone(world: World, path: str) -> None:
    """Nothing of it is found by a client, in the bucket or in Redis."""
    eventually(lambda: world.traces_of(path) == [], within_s=5.0, what="nothing is left")
    assert world.client.head(path).status == 404
    assert world.client.patch(path, 0, b"x").status == 404
    assert world.client.delete(path).status == 404


@pytest.mark.parametrize("stored", [0, 1, 100_000, PART_BYTES, PART_BYTES + 1, 2 * PART_BYTES + 7])
@pytest.mark.parametrize("length", [LENGTH, None])
def test_line_22_delete_of_an_unfinished_upload(
    world: World, stored: int, length: int | None
) -> None:
    client = world.client
    path = client.new_upload(length)
    client.upload_from(path, body_of(stored), [3_000_001])
    assert world.traces_of(path) != []
    response = client.delete(path)
    assert (response.status, response.body) == (204, b"")
    assert_gone(world, path)


@pytest.mark.parametrize("length", [0, 3, PART_BYTES + 1, 2 * PART_BYTES])
def test_line_22_delete_of_a_finished_upload_removes_its_object(world: World, length: int) -> None:
    client = world.client
    path = client.new_upload(length)
    client.upload_from(path, body_of(length))
    assert world.object_of(path) == body_of(length)
    assert client.delete(path).status == 204
    assert_gone(world, path)


@pytest.mark.parametrize("sent", [1, 100_000, PART_BYTES + 100_000, 2 * PART_BYTES + 100_000])
def test_line_22_delete_interrupts_a_patch_in_progress(world: World, sent: int) -> None:
    client = world.client
    path = client.new_upload(LENGTH)
    with client.begin_patch(path, 0, body_of(sent), declared=LENGTH) as holder:
        holder.assert_silent_for(0.3)
        watch = Stopwatch()
        assert client.delete(path).status == 204
        assert watch.elapsed_s < 2.0
        assert holder.read_response().status in {404, 423}
    assert_gone(world, path)


def test_line_22_delete_of_a_patch_that_another_process_serves(
    world: World, second_server: ServerProcess
) -> None:
    path = world.client.new_upload(LENGTH)
    sent = body_of(PART_BYTES + 5)
    with second_server.client.begin_patch(path, 0, sent, declared=LENGTH) as holder:
        holder.assert_silent_for(0.3)
        assert world.client.delete(path).status == 204
        assert holder.read_response().status in {404, 423}
    assert_gone(world, path)


def test_line_22_delete_while_bytes_keep_pouring_in(world: World) -> None:
    client = world.client
    path = client.new_upload(10 * LENGTH)
    with client.connect() as holder:
        holder.send_head("PATCH", path, patch_headers(0, 10 * LENGTH))
        holder.send(body_of(PART_BYTES))
        response = client.delete(path)
        holder.send_until_closed(body_of(LENGTH))
    assert response.status == 204
    assert_gone(world, path)


def test_line_22_of_two_deletes_at_once_one_is_204(
    world: World, second_server: ServerProcess
) -> None:
    path = world.client.new_upload(LENGTH)
    world.client.upload_from(path, body_of(PART_BYTES + 1))
    with ThreadPoolExecutor(2) as pool:
        clients = [world.client, second_server.client]
        statuses = sorted(pool.map(lambda client: client.delete(path).status, clients))
    assert statuses == [204, 404]
    assert_gone(world, path)


def test_line_22_delete_twice_is_404_the_second_time(world: World) -> None:
    path = world.client.new_upload(10)
    assert world.client.delete(path).status == 204
    response = world.client.delete(path)
    assert (response.status, response.code) == (404, "upload_not_found")


def test_line_22_delete_may_carry_what_clients_send_along(world: World) -> None:
    path = world.client.new_upload(10, body=b"abc")
    extra = {"Content-Length": "0", "Content-Type": OCTET_STREAM}
    assert world.client.request("DELETE", path, TUS | extra).status == 204
    assert_gone(world, path)


def test_line_22_delete_leaves_other_uploads_and_other_peoples_alone(world: World) -> None:
    client = world.client
    theirs = world.stores.object_prefix + "theirs"
    multipart_id = world.bucket.start_multipart(theirs)
    mine, other = client.new_upload(LENGTH), client.new_upload(LENGTH)
    for path in (mine, other):
        client.upload_from(path, body_of(PART_BYTES + 9))
    assert client.delete(mine).status == 204
    assert_gone(world, mine)
    assert (theirs, multipart_id) in world.bucket.multipart_uploads(world.stores.object_prefix)
    client.upload_from(other, body_of(LENGTH))
    assert world.object_of(other) == body_of(LENGTH)
