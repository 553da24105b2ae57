"""Parts in flight, parts that fail, and bytes behind them: only what is in a row is recorded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.conftest import StartServer
from tests.support.bodies import MIB, PART_BYTES, body_of
from tests.support.faults import Answer, Cut, Hold
from tests.support.redis_proxy import RedisProxy
from tests.support.s3_calls import S3Call
from tests.support.s3_proxy import S3Proxy
from tests.support.server import ServerProcess, StoreSettings
from tests.support.stores import Bucket, RedisView
from tests.support.waiting import eventually
from tests.support.world import World

LENGTH = 4 * PART_BYTES
CHECKPOINT_S = 0.3


@pytest.fixture
def doomed(
    stores: StoreSettings, s3_proxy: S3Proxy, start_server: StartServer
) -> Iterator[ServerProcess]:
    """A server behind the proxy, which checkpoints often."""
    through = replace(stores, s3_endpoint=s3_proxy.endpoint)
    yield start_server(over=through, checkpoint_interval=f"{CHECKPOINT_S}s", s3_timeout="2s")
    s3_proxy.rules.clear()


@pytest.fixture
def doomed_world(doomed: ServerProcess, bucket: Bucket, redis_view: RedisView) -> World:
    return World(doomed, bucket, redis_view)


def test_line_09_bytes_behind_a_part_in_flight_are_not_recorded_before_it(
    doomed: ServerProcess, server: ServerProcess, world: World, s3_proxy: S3Proxy
) -> None:
    """Part 1 hangs, part 2 is stored, and bytes of part 3 keep coming for several checkpoints."""
    body = body_of(LENGTH)
    path = doomed.client.new_upload(LENGTH)
    hold = Hold()
    s3_proxy.fail(S3Call.UPLOAD_PART, hold, times=None, part_number=1)
    sent = 2 * PART_BYTES + 1000
    with doomed.client.begin_patch(path, 0, body[:sent], declared=LENGTH) as connection:
        hold.wait_until_reached()
        for index in range(8):
            connection.send(body[sent + index : sent + index + 1])
            connection.assert_silent_for(CHECKPOINT_S / 2)
        doomed.kill()
    # Nothing was in a row with the beginning, so nothing may be claimed.
    assert server.client.offset_of(path) == 0
    server.client.upload_from(path, body)
    assert world.object_of(path) == body


@pytest.mark.parametrize("number", [1, 2, 3])
def test_line_09_a_part_that_cannot_be_stored_waits_in_the_tail(
    doomed_world: World, s3_proxy: S3Proxy, number: int
) -> None:
    """What was received up to the failure is kept, so that it need not be sent again."""
    body = body_of(LENGTH)
    path = doomed_world.client.new_upload(LENGTH)
    failing = Answer(500, "InternalError")
    s3_proxy.fail(S3Call.UPLOAD_PART, failing, times=None, part_number=number)
    response = doomed_world.client.patch(path, 0, body)
    assert (response.status, response.code) == (503, "storage_unavailable")
    assert doomed_world.client.head(path).offset == number * PART_BYTES
    s3_proxy.rules.clear()
    doomed_world.client.upload_from(path, body)
    assert doomed_world.object_of(path) == body


def test_line_09_a_tail_is_parked_together_with_what_came_after_it(
    doomed_world: World, s3_proxy: S3Proxy
) -> None:
    """The failing part begins with an old tail: the tail stays, and the new bytes join it."""
    body = body_of(LENGTH)
    client = doomed_world.client
    path = client.new_upload(LENGTH)
    assert client.patch(path, 0, body[:MIB]).offset == MIB
    s3_proxy.fail(S3Call.UPLOAD_PART, Answer(500, "InternalError"), times=None)
    assert client.patch(path, MIB, body[MIB:]).status == 503
    assert client.head(path).offset == PART_BYTES
    # Parked again and again, it stays as it is.
    assert client.patch(path, PART_BYTES, body[PART_BYTES:]).status == 503
    assert client.head(path).offset == PART_BYTES
    s3_proxy.rules.clear()
    client.upload_from(path, body)
    assert doomed_world.object_of(path) == body


def test_line_09_a_checkpointed_tail_becomes_part_of_its_part(
    doomed_world: World, s3_proxy: S3Proxy
) -> None:
    """Bytes that left memory for the tail come back when their part is full, in one body."""
    body = body_of(LENGTH)
    path = doomed_world.client.new_upload(LENGTH)
    with doomed_world.client.begin_patch(path, 0, body[:MIB], declared=LENGTH) as connection:
        eventually(
            lambda: len(doomed_world.redis.keys(":tail:")) == 1, what="the tail was checkpointed"
        )
        connection.send(body[MIB:])
        assert connection.read_response("PATCH").offset == LENGTH
    assert doomed_world.object_of(path) == body
    assert s3_proxy.counts(doomed_world.key_of(path))[S3Call.UPLOAD_PART] == 4


def test_line_15_a_part_upload_is_given_up_before_its_lease_can_expire(
    stores: StoreSettings,
    s3_proxy: S3Proxy,
    redis_proxy: RedisProxy,
    start_server: StartServer,
) -> None:
    """S3 hangs and Redis is away: soon somebody else may send this very part."""
    through = replace(stores, s3_endpoint=s3_proxy.endpoint, redis_url=redis_proxy.url)
    client = start_server(over=through, s3_timeout="60s", redis_timeout="1s", lease_ttl="2s").client
    path = client.new_upload(LENGTH)
    hold = Hold()
    s3_proxy.fail(S3Call.UPLOAD_PART, hold, times=None)
    try:
        sent = body_of(LENGTH)[: PART_BYTES + 1]
        with client.begin_patch(path, 0, sent, declared=LENGTH) as connection:
            hold.wait_until_reached()
            redis_proxy.down()
            # Far less than S3 is given: the part was not waited for.
            assert connection.read_response("PATCH", within_s=20).status == 503
    finally:
        redis_proxy.up()
        s3_proxy.rules.clear()


def test_line_09_a_completion_whose_answer_was_lost_is_recognised(
    doomed_world: World, s3_proxy: S3Proxy
) -> None:
    """S3 forgets the multipart upload once it is complete: to the repeated call it says 404."""
    body = body_of(LENGTH)
    path = doomed_world.client.new_upload(LENGTH)
    s3_proxy.fail(S3Call.COMPLETE_MULTIPART, Cut.AFTER)
    s3_proxy.fail(S3Call.COMPLETE_MULTIPART, Answer(404, "NoSuchUpload"), nth=2, times=None)
    response = doomed_world.client.patch(path, 0, body)
    assert (response.status, response.offset) == (204, LENGTH)
    assert doomed_world.client.head(path).offset == LENGTH
    assert doomed_world.object_of(path) == body


def test_line_05_an_upload_that_s3_dropped_is_404_even_if_its_key_holds_something_else(
    doomed_world: World, s3_proxy: S3Proxy, bucket: Bucket
) -> None:
    body = body_of(LENGTH)
    path = doomed_world.client.new_upload(LENGTH)
    key = doomed_world.key_of(path)
    bucket.client.put_object(Bucket=bucket.name, Key=key, Body=b"not this upload")
    s3_proxy.fail(S3Call.COMPLETE_MULTIPART, Answer(404, "NoSuchUpload"), times=None)
    assert doomed_world.client.patch(path, 0, body).status == 404
    assert doomed_world.client.head(path).status == 404
