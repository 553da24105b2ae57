"""A multipart upload was started, and its id was lost: it must not stay, for it costs money."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.conftest import StartServer
from tests.support.bodies import PART_BYTES, body_of
from tests.support.faults import Answer, Cut, Hold, Stage
from tests.support.redis_proxy import RedisProxy
from tests.support.s3_calls import S3Call
from tests.support.s3_proxy import S3Proxy
from tests.support.server import StoreSettings
from tests.support.tus import id_of
from tests.support.waiting import eventually
from tests.support.world import World
from tusd_s3.stores.redis.scripts import COMMIT

BODY = body_of(2 * PART_BYTES + 9)


@pytest.fixture(autouse=True)
def _mended(s3_proxy: S3Proxy) -> Iterator[None]:
    yield
    s3_proxy.rules.clear()


def started(world: World, path: str) -> list[str]:
    """Ids of the upload's multipart uploads."""
    listed = world.bucket.multipart_uploads(world.stores.object_prefix)
    return [multipart_id for key, multipart_id in listed if id_of(path) in key]


def test_an_answer_that_was_lost_once(proxied: World, s3_proxy: S3Proxy) -> None:
    """The SDK asks again, and S3 starts a second one."""
    path = proxied.client.new_upload(len(BODY))
    rule = s3_proxy.fail(S3Call.CREATE_MULTIPART, Cut.AFTER)
    assert proxied.client.patch(path, 0, BODY[: PART_BYTES + 1]).status == 204
    assert rule.hits == 1
    assert len(started(proxied, path)) == 1
    proxied.client.upload_from(path, BODY)
    assert proxied.object_of(path) == BODY
    assert started(proxied, path) == []


@pytest.mark.parametrize("then", ["resume", "delete"])
def test_an_answer_that_is_lost_for_good(proxied: World, s3_proxy: S3Proxy, then: str) -> None:
    path = proxied.client.new_upload(len(BODY))
    s3_proxy.fail(S3Call.CREATE_MULTIPART, Cut.AFTER, times=None)
    assert proxied.client.patch(path, 0, BODY[: PART_BYTES + 1]).status == 503
    assert started(proxied, path)
    s3_proxy.rules.clear()
    if then == "resume":
        proxied.client.upload_from(path, BODY)
        assert proxied.object_of(path) == BODY
        assert started(proxied, path) == []
    assert proxied.client.delete(path).status == 204
    assert proxied.traces_of(path) == []


@pytest.mark.parametrize("then", ["resume", "delete"])
def test_a_server_that_dies_between_start_and_record(
    world: World,
    stores: StoreSettings,
    s3_proxy: S3Proxy,
    start_server: StartServer,
    then: str,
) -> None:
    doomed = start_server(over=replace(stores, s3_endpoint=s3_proxy.endpoint), lease_ttl="1s")
    path = world.client.new_upload(len(BODY))
    hold = Hold(Stage.AFTER)
    s3_proxy.fail(S3Call.CREATE_MULTIPART, hold, key_part=id_of(path))
    with doomed.client.begin_patch(path, 0, BODY, declared=len(BODY)):
        hold.wait_until_reached()
        doomed.kill()
    hold.release()
    assert started(world, path)
    if then == "resume":
        world.client.upload_from(path, BODY)
        assert world.object_of(path) == BODY
    assert world.client.delete(path).status == 204
    eventually(lambda: world.traces_of(path) == [], what="nothing is left")


def test_one_that_was_recorded_after_all_is_left_to_the_newcomer(
    world: World,
    stores: StoreSettings,
    redis_proxy: RedisProxy,
    start_server: StartServer,
) -> None:
    """The commit was made, its answer was lost, and before it could be repeated somebody else took
    the upload over: the repeated commit is fenced, and yet the multipart upload is in use."""
    over = replace(stores, redis_url=redis_proxy.url)
    overtaken = start_server(over=over, lease_ttl="1s", network_timeout="60s")
    path = world.client.new_upload(len(BODY))

    def is_commit(command: list[str]) -> bool:
        return command[0].upper() == "EVALSHA" and command[1] == COMMIT.sha

    again = Hold()
    redis_proxy.rules.add(is_commit, Cut.AFTER, nth=2, times=1)  # after the announcement
    redis_proxy.rules.add(is_commit, again, nth=3, times=1)
    with overtaken.client.begin_patch(path, 0, BODY[: PART_BYTES + 1], declared=len(BODY)) as slow:
        again.wait_until_reached()
        overtaken.freeze()
        [multipart_id] = started(world, path)
        eventually(lambda: world.client.patch(path, 0, BODY[:1]).status == 204, within_s=20)
        overtaken.thaw()
        again.release()
        assert slow.read_response().code == "lease_lost"
    redis_proxy.rules.clear()
    assert started(world, path) == [multipart_id]
    world.client.upload_from(path, BODY)
    assert world.object_of(path) == BODY


def test_where_they_cannot_be_listed_nothing_is_started_anew(
    proxied: World, s3_proxy: S3Proxy
) -> None:
    """Each try would leave another one behind."""
    path = proxied.client.new_upload(len(BODY))
    s3_proxy.fail(S3Call.CREATE_MULTIPART, Cut.AFTER, times=None)
    assert proxied.client.patch(path, 0, BODY[: PART_BYTES + 1]).status == 503
    s3_proxy.rules.clear()
    before = len(started(proxied, path))
    s3_proxy.fail(S3Call.BUCKET, Answer(503), times=None)
    offset = proxied.client.offset_of(path)
    assert proxied.client.patch(path, offset, BODY[offset:]).status == 503
    assert len(started(proxied, path)) == before
