"""Redis lost its data: uploads with parts are rebuilt from S3, the others are cleanly gone."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from tests.conftest import StartServer
from tests.support.bodies import MIB, PART_BYTES, body_of
from tests.support.faults import Answer, Cut, Hold, Stage
from tests.support.raw import RawConnection
from tests.support.redis_proxy import RedisProxy
from tests.support.s3_calls import S3Call
from tests.support.s3_proxy import S3Proxy
from tests.support.server import StoreSettings
from tests.support.stores import Bucket, RedisView
from tests.support.tus import TUS, id_of
from tests.support.waiting import eventually
from tests.support.world import World
from tusd_s3.stores.redis import scripts

LENGTH = 4 * PART_BYTES + 77
BODY = body_of(LENGTH)


@pytest.fixture(scope="module")
def forgetful(
    stores: StoreSettings,
    s3_proxy: S3Proxy,
    start_module_server: StartServer,
    bucket: Bucket,
    redis_view: RedisView,
) -> World:
    """A server whose Redis will lose its data."""
    through = replace(stores, s3_endpoint=s3_proxy.endpoint)
    server = start_module_server(over=through, s3_timeout="2s", lease_ttl="2s")
    return World(server, bucket, redis_view)


@pytest.fixture(autouse=True)
def _mended(s3_proxy: S3Proxy) -> Iterator[None]:
    yield
    s3_proxy.rules.clear()


def assert_resumes(world: World, path: str, offset: int) -> None:
    assert world.client.head(path).offset == offset
    world.client.upload_from(path, BODY)
    assert world.object_of(path) == BODY
    assert world.client.delete(path).status == 204
    assert world.traces_of(path) == []


@pytest.mark.parametrize("sent", [PART_BYTES, PART_BYTES + 1, 3 * PART_BYTES - 1, 4 * PART_BYTES])
def test_the_client_is_taken_back_to_the_last_whole_part(forgetful: World, sent: int) -> None:
    path = forgetful.client.new_upload(LENGTH, metadata="filename ZsO8,k")
    assert forgetful.client.patch(path, 0, BODY[:sent]).offset == sent
    forgetful.redis.lose(id_of(path))
    head = forgetful.client.head(path)
    assert (head.status, head.headers["Upload-Length"]) == (200, f"{LENGTH}")
    assert head.headers["Upload-Metadata"] == "filename ZsO8,k"
    assert_resumes(forgetful, path, sent // PART_BYTES * PART_BYTES)


def test_a_patch_alone_brings_the_upload_back(forgetful: World) -> None:
    path = forgetful.client.new_upload(LENGTH)
    forgetful.client.patch(path, 0, BODY[: 2 * PART_BYTES])
    forgetful.redis.lose(id_of(path))
    assert forgetful.client.patch(path, 0, b"x").status == 409
    forgetful.redis.lose(id_of(path))
    body = BODY[2 * PART_BYTES :]
    assert forgetful.client.patch(path, 2 * PART_BYTES, body).offset == LENGTH
    assert forgetful.object_of(path) == BODY


def test_a_deferred_length_comes_back_deferred(forgetful: World) -> None:
    path = forgetful.client.new_upload(None)
    forgetful.client.patch(path, 0, BODY[: PART_BYTES + 5])
    forgetful.redis.lose(id_of(path))
    head = forgetful.client.head(path)
    assert (head.offset, head.headers["Upload-Defer-Length"]) == (PART_BYTES, "1")
    declared = {"Upload-Length": f"{LENGTH}"}
    response = forgetful.client.patch(path, PART_BYTES, BODY[PART_BYTES:], declared)
    assert response.offset == LENGTH
    assert forgetful.object_of(path) == BODY


def test_parts_behind_a_gap_do_not_count(forgetful: World, s3_proxy: S3Proxy) -> None:
    """Parts 1, 3 and 4 are stored when the process and Redis go."""
    path = forgetful.client.new_upload(LENGTH)
    failing = Answer(500, "InternalError")
    s3_proxy.fail(S3Call.UPLOAD_PART, failing, times=None, part_number=2)
    assert forgetful.client.patch(path, 0, BODY[: 4 * PART_BYTES]).status == 503
    forgetful.redis.lose(id_of(path))
    s3_proxy.rules.clear()
    assert_resumes(forgetful, path, PART_BYTES)


def test_parts_that_were_stored_but_never_recorded_are_adopted(
    forgetful: World, stores: StoreSettings, s3_proxy: S3Proxy, start_server: StartServer
) -> None:
    """The process dies before it could record what S3 already has; Redis loses the rest."""
    through = replace(stores, s3_endpoint=s3_proxy.endpoint)
    doomed = start_server(over=through, checkpoint_interval="60s")
    path = doomed.client.new_upload(LENGTH)
    hold = Hold()
    s3_proxy.fail(S3Call.UPLOAD_PART, hold, times=None, part_number=3)
    with doomed.client.begin_patch(path, 0, BODY[: 3 * PART_BYTES], declared=LENGTH):
        hold.wait_until_reached()
        # Parts are launched in order: with the third on its way, the others are or soon will be.
        key = forgetful.key_of(path)
        multipart = dict(forgetful.bucket.multipart_uploads(forgetful.stores.object_prefix))
        eventually(lambda: len(forgetful.bucket.parts(key, multipart[key]) or ()) >= 2)
        doomed.kill()
    hold.release()
    forgetful.redis.lose(id_of(path))
    assert forgetful.client.head(path).offset >= 2 * PART_BYTES


def test_an_upload_that_was_still_a_tail_is_404(forgetful: World) -> None:
    path = forgetful.client.new_upload(LENGTH)
    forgetful.client.patch(path, 0, BODY[: PART_BYTES - 1])
    forgetful.redis.lose(id_of(path))
    assert forgetful.client.head(path).status == 404
    assert forgetful.client.patch(path, PART_BYTES - 1, b"x").status == 404


@pytest.mark.parametrize("deferred", [False, True])
def test_an_object_that_was_completed_but_not_recorded_is_whole(
    forgetful: World, s3_proxy: S3Proxy, deferred: bool
) -> None:
    path = forgetful.client.new_upload(None if deferred else LENGTH)
    s3_proxy.fail(S3Call.COMPLETE_MULTIPART, Cut.AFTER, times=None)
    declared = {"Upload-Length": f"{LENGTH}"} if deferred else {}
    assert forgetful.client.patch(path, 0, BODY, declared).status == 503
    forgetful.redis.lose(id_of(path))
    assert forgetful.client.head(path).offset == LENGTH
    assert forgetful.object_of(path) == BODY


def test_an_upload_that_s3_dropped_meanwhile_is_404(forgetful: World) -> None:
    path = forgetful.client.new_upload(LENGTH)
    forgetful.client.patch(path, 0, BODY[: 2 * PART_BYTES])
    key = forgetful.key_of(path)
    multipart = dict(forgetful.bucket.multipart_uploads(forgetful.stores.object_prefix))[key]
    forgetful.bucket.client.abort_multipart_upload(
        Bucket=forgetful.bucket.name, Key=key, UploadId=multipart
    )
    forgetful.redis.lose(id_of(path))
    assert forgetful.client.head(path).status == 404


def test_what_was_terminated_or_completed_does_not_come_back(forgetful: World) -> None:
    terminated, complete = forgetful.client.new_upload(LENGTH), forgetful.client.new_upload(LENGTH)
    forgetful.client.patch(terminated, 0, BODY[: 2 * PART_BYTES])
    forgetful.client.delete(terminated)
    forgetful.client.patch(complete, 0, BODY)
    forgetful.redis.lose(id_of(complete))
    assert forgetful.client.head(terminated).status == 404
    assert forgetful.client.head(complete).status == 404
    assert forgetful.object_of(complete) == BODY


def test_an_expired_upload_does_not_come_back(
    stores: StoreSettings, start_server: StartServer
) -> None:
    client = start_server(over=stores, upload_lifetime="1s").client
    path = client.new_upload(LENGTH)
    client.patch(path, 0, BODY[: 2 * PART_BYTES])
    eventually(lambda: client.head(path).status == 404, what="it has expired")


def test_deleting_a_lost_upload_leaves_nothing(forgetful: World) -> None:
    path = forgetful.client.new_upload(LENGTH)
    forgetful.client.patch(path, 0, BODY[: 2 * PART_BYTES + MIB])
    forgetful.redis.lose(id_of(path))
    assert forgetful.client.delete(path).status == 204
    assert forgetful.traces_of(path) == []


def test_without_s3_a_lost_upload_is_not_called_gone(forgetful: World, s3_proxy: S3Proxy) -> None:
    """A 404 would make the client start over from byte 0."""
    path = forgetful.client.new_upload(LENGTH)
    forgetful.client.patch(path, 0, BODY[: 2 * PART_BYTES])
    forgetful.redis.lose(id_of(path))
    s3_proxy.fail(S3Call.GET_RECOVERY, Answer(503), times=None)
    assert forgetful.client.head(path).status == 423
    s3_proxy.rules.clear()
    assert forgetful.client.head(path).offset == 2 * PART_BYTES


def test_an_id_that_never_was_costs_one_look(forgetful: World, s3_proxy: S3Proxy) -> None:
    with s3_proxy.counting() as counted:
        assert forgetful.client.head("/files/" + "A" * 22).status == 404
    assert sum(counted.values()) == 1


def test_a_recovery_object_that_is_not_ours_is_not_believed(forgetful: World) -> None:
    path = forgetful.client.new_upload(LENGTH)
    forgetful.client.patch(path, 0, BODY[: 2 * PART_BYTES])
    forgetful.redis.lose(id_of(path))
    forgetful.bucket.client.put_object(
        Bucket=forgetful.bucket.name,
        Key=f"{forgetful.stores.object_prefix}.tus/{id_of(path)}.json",
        Body=b'{"v": 1}',
    )
    assert forgetful.client.head(path).status == 404


def test_a_patch_that_redis_forgot_in_its_middle_claims_nothing_and_can_go_on(
    forgetful: World,
) -> None:
    path = forgetful.client.new_upload(LENGTH)
    half = 2 * PART_BYTES + 5
    with forgetful.client.begin_patch(path, 0, BODY[:half], declared=LENGTH) as connection:
        eventually(
            lambda: f"{id_of(path)}.json" in "".join(forgetful.bucket.keys()),
            what="the recovery object is stored",
        )
        forgetful.redis.lose(id_of(path))
        connection.send_until_closed(BODY[half:])
        response = connection.read_response("PATCH")
    assert (response.status, response.code) == (503, "lease_lost")
    # Every part that S3 has counts, the short last one as well.
    head = forgetful.client.head(path)
    assert head.offset in {*range(0, LENGTH, PART_BYTES), LENGTH}
    assert_resumes(forgetful, path, head.offset)


def test_a_record_that_is_lost_again_at_once_is_not_called_gone(
    stores: StoreSettings, redis_proxy: RedisProxy, start_server: StartServer, bucket: Bucket
) -> None:
    """Between the rebuilding and the next look Redis loses everything once more."""
    through = replace(stores, redis_url=redis_proxy.url)
    server = start_server(over=through)
    world = World(server, bucket, RedisView(stores.redis_url, stores.redis_prefix))
    path = world.client.new_upload(LENGTH)
    world.client.patch(path, 0, BODY[: 2 * PART_BYTES])
    world.redis.lose(id_of(path))
    hold = Hold()
    redis_proxy.fail("EVALSHA", hold, nth=3)  # inspect, restore, inspect
    with ThreadPoolExecutor(1) as pool:
        head = pool.submit(world.client.head, path)
        hold.wait_until_reached()
        world.redis.lose(id_of(path))
        hold.release()
        assert head.result().status == 423
    redis_proxy.rules.clear()
    assert world.client.head(path).offset == 2 * PART_BYTES


def test_a_head_that_a_stopping_server_gives_up_leaves_no_lease_behind(
    stores: StoreSettings, redis_proxy: RedisProxy, start_server: StartServer, bucket: Bucket
) -> None:
    """It was just taking it, to hold a doubtful record against S3."""
    through = replace(stores, redis_url=redis_proxy.url)
    server = start_server(
        over=through, lease_ttl="30s", shutdown_timeout="1s", expect_traceback=True
    )  # uvicorn reports what it cancels
    world = World(server, bucket, RedisView(stores.redis_url, stores.redis_prefix))
    path = world.client.new_upload(LENGTH)
    world.client.patch(path, 0, BODY[:PART_BYTES])
    world.redis.doubt(id_of(path))
    hold = Hold(Stage.AFTER)
    redis_proxy.rules.add(lambda command: scripts.ACQUIRE.sha in command, hold, nth=1, times=1)
    with RawConnection(("127.0.0.1", server.port)) as connection:
        connection.send_head("HEAD", path, TUS)
        hold.wait_until_reached()
        server.terminate()
        connection.read_until_closed()  # the request was cancelled
    hold.release()
    server.wait_for_exit()
    assert world.redis.keys(f"{{{id_of(path)}}}:lease") == []
