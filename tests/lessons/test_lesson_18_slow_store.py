"""Lesson 18: what a client had sent before it left is kept, however slow S3 is."""

from __future__ import annotations

import pytest

from tests.conftest import StartServer
from tests.lessons.client import assert_ends_well
from tests.support.bodies import PART_BYTES, body_of
from tests.support.faults import Hold, Stage
from tests.support.s3_calls import S3Call
from tests.support.s3_proxy import S3Proxy
from tests.support.server import StoreSettings
from tests.support.stores import Bucket, RedisView
from tests.support.tus import RawClient, id_of
from tests.support.waiting import Stopwatch, eventually
from tests.support.world import World

LENGTH = 4 * PART_BYTES
BODY = body_of(LENGTH)
SENT = 2 * PART_BYTES + 1000
SLOW_S = 6.0
"""How long S3 hangs: longer than each wait below, and than two leases."""


@pytest.fixture(scope="module")
def leaving(
    through: StoreSettings, start_module_server: StartServer, bucket: Bucket, redis_view: RedisView
) -> World:
    """A server behind the proxies that waits for nobody but S3 for long."""
    server = start_module_server(
        over=through,
        s3_timeout="60s",
        network_timeout="1s",
        lease_ttl="2s",
        lease_wait="1s",
        checkpoint_interval="500ms",
    )
    return World(server, bucket, redis_view)


def leave(client: RawClient, path: str, sent: int) -> None:
    """Send the beginning of an upload and go away."""
    with client.begin_patch(path, 0, BODY[:sent], declared=LENGTH) as connection:
        connection.finish()
        connection.read_response_or_none(within_s=0.1)


def test_lesson_18_bytes_wait_for_a_slow_store_longer_than_for_anything_else(
    leaving: World, s3_proxy: S3Proxy
) -> None:
    """The client has left, others ask for the upload, leases come and go, and S3 takes its time
    with a part: when it is done, every byte that had arrived counts, in its order."""
    paths = [leaving.client.new_upload(LENGTH) for _ in range(2)]
    for hanging, path in enumerate(paths, start=1):
        hold = Hold()
        s3_proxy.fail(
            S3Call.UPLOAD_PART, hold, times=None, key_part=id_of(path), part_number=hanging
        )
        leave(leaving.client, path, SENT)
        hold.wait_until_reached()
    watch = Stopwatch()
    while watch.elapsed_s < SLOW_S:
        # Nobody may be told an offset that is not durable.
        assert {leaving.client.head(path).status for path in paths} == {423}
    s3_proxy.rules.clear()
    for path in paths:
        assert leaving.client.offset_of(path) == SENT
        assert_ends_well(leaving, path, BODY)


def test_lesson_18_what_is_given_up_is_given_up_from_its_end(
    through: StoreSettings,
    start_server: StartServer,
    bucket: Bucket,
    redis_view: RedisView,
    s3_proxy: S3Proxy,
) -> None:
    """S3 never takes the second part. The first one is kept, and nothing that came behind the
    second counts, although S3 has it."""
    hasty = World(
        start_server(over=through, s3_timeout="1s", network_timeout="1s"), bucket, redis_view
    )
    path = hasty.client.new_upload(LENGTH)
    rule = s3_proxy.fail(
        S3Call.UPLOAD_PART, Hold(Stage.AFTER), times=None, key_part=id_of(path), part_number=2
    )
    leave(hasty.client, path, 3 * PART_BYTES + 1000)
    offset = hasty.client.offset_of(path, within_s=30)
    assert rule.hits > 0
    assert PART_BYTES <= offset <= 2 * PART_BYTES
    third = eventually(lambda: parts_of(hasty, path), what="S3 lists the parts")
    assert 3 in third
    s3_proxy.rules.clear()
    assert_ends_well(hasty, path, BODY)


def parts_of(world: World, path: str) -> list[int]:
    """Numbers of the parts that S3 has."""
    uploads = world.bucket.multipart_uploads(world.key_of(path))
    return [number for upload in uploads for number, _ in world.bucket.parts(*upload) or ()]
