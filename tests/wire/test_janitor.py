"""What uploads leave behind is cleaned up without anybody asking; nothing else is touched."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
import redis

from tests.conftest import StartServer
from tests.support.bodies import KIB, MIB, PART_BYTES, body_of
from tests.support.faults import Answer, Cut, Fault, Hold, Stage
from tests.support.redis_proxy import RedisProxy
from tests.support.s3_calls import S3Call
from tests.support.s3_proxy import S3Proxy
from tests.support.server import ServerProcess, StoreSettings
from tests.support.stores import Bucket, RedisView
from tests.support.tus import RawClient, id_of, patch_headers
from tests.support.waiting import Stopwatch, eventually
from tests.support.world import World

LENGTH = 3 * PART_BYTES
BODY = body_of(LENGTH)
LIFETIME_S = 4
QUICK = {"cleanup_interval": "1s", "upload_lifetime": f"{LIFETIME_S}s"}
"""A lifetime long enough for a test to look at an upload, short enough to wait for its end."""
CLEAN_WITHIN_S = 30.0


@pytest.fixture(scope="module")
def through(stores: StoreSettings, s3_proxy: S3Proxy, redis_proxy: RedisProxy) -> StoreSettings:
    """The module's stores, behind proxies."""
    return replace(stores, s3_endpoint=s3_proxy.endpoint, redis_url=redis_proxy.url)


@pytest.fixture(scope="module")
def tidy(
    through: StoreSettings,
    start_module_server: StartServer,
    bucket: Bucket,
    redis_view: RedisView,
) -> World:
    """A server that cleans up every second what nobody touched for a few."""
    server = start_module_server(over=through, s3_timeout="2s", redis_timeout="1s", **QUICK)
    return World(server, bucket, redis_view)


@pytest.fixture(autouse=True)
def _mended(s3_proxy: S3Proxy) -> Iterator[None]:
    yield
    s3_proxy.rules.clear()


@pytest.fixture
def elsewhere(stores: StoreSettings) -> StoreSettings:
    """Prefixes of a single test, for servers that do not share their work with the module's."""
    name = secrets.token_hex(4)
    return replace(stores, object_prefix=f"{name}/", redis_prefix=f"{name}:")


def world_of(server: ServerProcess, bucket: Bucket) -> World:
    return World(server, bucket, RedisView(server.stores.redis_url, server.stores.redis_prefix))


def assert_goes(world: World, path: str) -> None:
    def gone() -> bool:
        assert world.traces_of(path) == []
        return True

    eventually(gone, within_s=CLEAN_WITHIN_S, what=f"nothing is left of {path}")


def assert_only_the_object_stays(world: World, path: str) -> None:
    eventually(
        lambda: world.traces_of(path) == [world.key_of(path)],
        within_s=CLEAN_WITHIN_S,
        what="only the object is left",
    )


def assert_parked(world: World, path: str) -> None:
    """The tail is in S3, and not in Redis any more."""

    def parked() -> bool:
        traces = world.traces_of(path)
        assert [trace for trace in traces if trace.endswith(".tail")]
        assert not [trace for trace in traces if ":tail:" in trace]
        return True

    eventually(parked, what=f"the tail of {path} is parked")


def journal_of(world: World) -> dict[str, str]:
    with redis.Redis.from_url(world.redis.url, decode_responses=True) as client:
        return dict(client.hgetall(f"{world.redis.prefix}janitor:journal"))


# --- expired uploads


def test_an_expired_upload_leaves_nothing_although_nobody_asks_for_it(tidy: World) -> None:
    paths: list[str] = []
    for sent in (0, MIB, PART_BYTES, 2 * PART_BYTES + MIB):
        paths.append(path := tidy.client.new_upload(LENGTH))
        assert tidy.client.patch(path, 0, BODY[:sent]).offset == sent
        assert tidy.traces_of(path) != []
    for path in paths:
        assert_goes(tidy, path)


def test_expired_uploads_whose_tails_are_parked_leave_nothing(
    elsewhere: StoreSettings, start_server: StartServer, bucket: Bucket
) -> None:
    options = QUICK | {"upload_lifetime": "8s", "tail_idle": "1s"}
    world = world_of(start_server(over=elsewhere, **options), bucket)
    only_a_tail, with_parts = (world.client.new_upload(LENGTH) for _ in range(2))
    world.client.patch(only_a_tail, 0, BODY[:KIB])
    world.client.patch(with_parts, 0, BODY[: PART_BYTES + KIB])
    for path in (only_a_tail, with_parts):
        assert_parked(world, path)
    assert_goes(world, only_a_tail)
    assert_goes(world, with_parts)


def test_an_upload_that_goes_on_outlives_its_lifetime(
    elsewhere: StoreSettings, start_server: StartServer, bucket: Bucket
) -> None:
    """Its multipart upload and its recovery object are then older than any that may stay."""
    world = world_of(start_server(over=elsewhere, **QUICK), bucket)
    path = world.client.new_upload(LENGTH)
    offset = world.client.patch(path, 0, BODY[:PART_BYTES]).offset
    watch = Stopwatch()
    while watch.elapsed_s < 2 * LIFETIME_S:
        answer = world.client.patch(path, offset, BODY[offset : offset + KIB])
        assert answer.status == 204, answer
        offset = answer.offset
        time.sleep(0.05)  # it goes on long enough; without a rest it would be all the machine does
    world.client.upload_from(path, BODY)
    assert world.object_of(path) == BODY


def test_a_complete_upload_keeps_its_object(tidy: World) -> None:
    path = tidy.client.new_upload(LENGTH)
    tidy.client.upload_from(path, BODY)
    assert_only_the_object_stays(tidy, path)
    assert tidy.object_of(path) == BODY


def test_a_recovery_object_that_outlived_its_upload_goes_and_the_object_stays(
    tidy: World, s3_proxy: S3Proxy
) -> None:
    path = tidy.client.new_upload(LENGTH)
    s3_proxy.fail(S3Call.DELETE_RECOVERY, Answer(503), times=3, key_part=id_of(path))
    tidy.client.upload_from(path, BODY)
    assert len(tidy.traces_of(path)) > 1
    assert_only_the_object_stays(tidy, path)


def test_a_recovery_object_whose_multipart_upload_is_gone_goes(tidy: World) -> None:
    path = tidy.client.new_upload(LENGTH)
    tidy.client.patch(path, 0, BODY[:PART_BYTES])
    [upload] = tidy.bucket.multipart_uploads(tidy.key_of(path))
    tidy.bucket.abort(*upload)
    assert_goes(tidy, path)


def test_a_part_that_arrives_after_its_upload_was_removed_leaves_nothing(
    elsewhere: StoreSettings, s3_proxy: S3Proxy, start_server: StartServer, bucket: Bucket
) -> None:
    """The part was on its way when its server died, and S3 took its time."""
    through = replace(elsewhere, s3_endpoint=s3_proxy.endpoint)
    options = {"lease_ttl": "1s", "upload_lifetime": f"{LIFETIME_S}s"}
    writer = world_of(start_server(over=through, **options), bucket)
    path = writer.client.new_upload(LENGTH)
    hold = Hold()
    s3_proxy.fail(S3Call.UPLOAD_PART, hold, nth=2, key_part=id_of(path))
    with writer.client.begin_patch(path, 0, BODY[: 2 * PART_BYTES], declared=LENGTH):
        hold.wait_until_reached()
        writer.server.kill()
    tidy = world_of(start_server(over=elsewhere, **QUICK | options), bucket)
    assert_goes(tidy, path)
    hold.release()
    assert_goes(tidy, path)


# --- failures


FAULTS: dict[S3Call, Fault] = {
    S3Call.ABORT_MULTIPART: Answer(503),
    S3Call.LIST_PARTS: Answer(500, "InternalError"),
    S3Call.GET_RECOVERY: Answer(403, "AccessDenied"),
    S3Call.DELETE_RECOVERY: Cut.BEFORE,
}


def test_what_fails_is_in_the_journal_and_tried_again_until_it_is_done(
    tidy: World, s3_proxy: S3Proxy
) -> None:
    paths: list[str] = []
    for _ in range(len(FAULTS) + 1):
        paths.append(path := tidy.client.new_upload(LENGTH))
        tidy.client.patch(path, 0, BODY[: PART_BYTES + MIB])
    *failing, fine = paths
    for path, (call, fault) in zip(failing, FAULTS.items(), strict=True):
        s3_proxy.fail(call, fault, times=None, key_part=id_of(path))
    names = {f"expired {id_of(path)}" for path in failing}
    eventually(
        lambda: names <= journal_of(tidy).keys(),
        within_s=CLEAN_WITHIN_S,
        what="the failures are in the journal",
    )
    assert {journal_of(tidy)[name].split()[1] for name in names} == {
        "storage_unavailable",
        "storage_refused",
    }
    assert_goes(tidy, fine)  # those that fail do not keep the others waiting
    s3_proxy.rules.clear()
    for path in failing:
        assert_goes(tidy, path)
    eventually(lambda: not names & journal_of(tidy).keys(), what="the journal has forgotten them")


def test_a_store_that_is_away_does_not_end_the_cleaning(
    tidy: World, s3_proxy: S3Proxy, redis_proxy: RedisProxy
) -> None:
    path = tidy.client.new_upload(LENGTH)
    tidy.client.patch(path, 0, BODY[:PART_BYTES])
    lists = s3_proxy.fail(S3Call.BUCKET, Answer(503), times=None)
    eventually(lambda: lists.hits > 3, within_s=CLEAN_WITHIN_S, what="S3 cannot be listed")
    redis_proxy.down()
    said = tidy.server.log().count("the clean-up has to wait: state_unavailable")
    eventually(
        lambda: tidy.server.log().count("the clean-up has to wait: state_unavailable") > said,
        within_s=CLEAN_WITHIN_S,
        what="Redis cannot be asked",
    )
    redis_proxy.up()
    s3_proxy.rules.clear()
    assert_goes(tidy, path)


# --- whose they are


def test_what_is_not_ours_is_never_touched(tidy: World) -> None:
    bucket, prefix = tidy.bucket, tidy.stores.object_prefix
    looks_like_ours = "A" * 22
    objects = {
        "outside": f"{secrets.token_hex(4)}/.tus/{looks_like_ours}.json",
        "ours, of another name": f"{prefix}.tus/notes.txt",
        "ours, of a longer name": f"{prefix}.tus/x{looks_like_ours}.json",
        "ours, deeper": f"{prefix}.tus/more/{looks_like_ours}.json",
        "ours, of another kind": f"{prefix}.tus/{looks_like_ours}.tar",
        "an object": f"{prefix}{looks_like_ours}",
    }
    multiparts = {
        "outside": f"{secrets.token_hex(4)}/{looks_like_ours}",
        "inside, of another form": f"{prefix}backup.tar",
        "inside, of almost our form": f"{prefix}{looks_like_ours}A",
        "inside, deeper": f"{prefix}{looks_like_ours}/more",
    }
    for key in objects.values():
        bucket.client.put_object(Bucket=bucket.name, Key=key, Body=b"theirs")
    started = {key: bucket.start_multipart(key) for key in multiparts.values()}
    try:
        # Younger than all of those, and in the same lists: when they go, those were looked at.
        path = tidy.client.new_upload(LENGTH)
        tidy.client.patch(path, 0, BODY[:PART_BYTES])
        orphan = f"{prefix}{secrets.token_urlsafe(16)}"
        bucket.start_multipart(orphan)
        assert_goes(tidy, path)
        eventually(
            lambda: not bucket.multipart_uploads(orphan),
            within_s=CLEAN_WITHIN_S,
            what="the orphan is aborted",
        )
        for key in objects.values():
            assert bucket.body(key) == b"theirs"
        for key, multipart_id in started.items():
            assert (key, multipart_id) in bucket.multipart_uploads(key)
    finally:
        for key in objects.values():
            bucket.client.delete_object(Bucket=bucket.name, Key=key)
        for key, multipart_id in started.items():
            bucket.abort(key, multipart_id)


def test_an_orphaned_multipart_upload_is_aborted(
    elsewhere: StoreSettings, s3_proxy: S3Proxy, start_server: StartServer, bucket: Bucket
) -> None:
    """S3 had started it when the server died, which has never known its id; nobody came back."""
    options = QUICK | {"lease_ttl": "1s"}
    through = replace(elsewhere, s3_endpoint=s3_proxy.endpoint)
    first = start_server(over=through, **options | {"cleanup_interval": "1h"})
    path = first.client.new_upload(LENGTH)
    hold = Hold(Stage.AFTER)
    s3_proxy.fail(S3Call.CREATE_MULTIPART, hold, key_part=id_of(path))
    with first.client.begin_patch(path, 0, BODY[:PART_BYTES], declared=LENGTH):
        hold.wait_until_reached()
        first.kill()
    world = world_of(start_server(over=elsewhere, **options), bucket)
    assert bucket.multipart_uploads(world.key_of(path))
    assert_goes(world, path)


def test_without_a_prefix_only_what_a_record_proves_ours_is_aborted(
    elsewhere: StoreSettings, s3_proxy: S3Proxy, start_server: StartServer, bucket: Bucket
) -> None:
    through = replace(elsewhere, object_prefix="", s3_endpoint=s3_proxy.endpoint)
    foreign = secrets.token_urlsafe(16)
    multipart_id = bucket.start_multipart(foreign)
    try:
        options = QUICK | {"upload_lifetime": "6s"}
        world = world_of(start_server(over=through, **options), bucket)
        path = world.client.new_upload(LENGTH)
        world.client.upload_from(path, BODY)
        bucket.start_multipart(id_of(path))  # as if its id had been lost before it was recorded
        assert_only_the_object_stays(world, path)
        younger = world.client.new_upload(LENGTH)
        world.client.patch(younger, 0, BODY[:PART_BYTES])
        assert_goes(world, younger)
        # Each round lists twice, multipart uploads last: after two more they were looked at.
        listed = s3_proxy.counts()[S3Call.BUCKET]
        eventually(lambda: s3_proxy.counts()[S3Call.BUCKET] > listed + 3, what="another round")
        assert bucket.multipart_uploads(foreign) == [(foreign, multipart_id)]
    finally:
        bucket.abort(foreign, multipart_id)


# --- what got stuck


def test_a_completion_whose_server_died_is_driven_on_without_any_request(
    elsewhere: StoreSettings, s3_proxy: S3Proxy, start_server: StartServer, bucket: Bucket
) -> None:
    through = replace(elsewhere, s3_endpoint=s3_proxy.endpoint)
    first = start_server(over=through, lease_ttl="1s")
    path = first.client.new_upload(LENGTH)
    hold = Hold()
    s3_proxy.fail(S3Call.COMPLETE_MULTIPART, hold, key_part=id_of(path))
    with first.client.connect() as connection:
        connection.send_head("PATCH", path, patch_headers(0, LENGTH))
        connection.send(BODY)
        hold.wait_until_reached()
        first.kill()
    s3_proxy.down()  # with what it holds: the call never reaches S3
    s3_proxy.rules.clear()
    s3_proxy.up()
    world = world_of(start_server(over=through, cleanup_interval="1s", lease_ttl="1s"), bucket)
    stored = eventually(lambda: bucket.get(world.key_of(path)), what="the object is there")
    assert stored.body == BODY
    eventually(lambda: not bucket.multipart_uploads(world.key_of(path)), what="no multipart upload")
    assert world.client.head(path).offset == LENGTH


def test_bytes_that_could_not_be_stored_become_an_object_when_the_client_is_gone(
    elsewhere: StoreSettings, s3_proxy: S3Proxy, start_server: StartServer, bucket: Bucket
) -> None:
    through = replace(elsewhere, s3_endpoint=s3_proxy.endpoint)
    world = world_of(start_server(over=through, cleanup_interval="1s"), bucket)
    path = world.client.new_upload(MIB)
    s3_proxy.fail(S3Call.PUT_OBJECT, Answer(503), times=3, key_part=id_of(path))
    assert world.client.patch(path, 0, BODY[:MIB]).status == 503
    stored = eventually(lambda: bucket.get(world.key_of(path)), what="the object is there")
    assert stored.body == BODY[:MIB]


def test_a_removal_whose_server_died_is_finished(
    elsewhere: StoreSettings, s3_proxy: S3Proxy, start_server: StartServer, bucket: Bucket
) -> None:
    through = replace(elsewhere, s3_endpoint=s3_proxy.endpoint)
    first = start_server(over=through, lease_ttl="1s")
    path = first.client.new_upload(LENGTH)
    first.client.patch(path, 0, BODY[: PART_BYTES + MIB])
    hold = Hold()
    s3_proxy.fail(S3Call.ABORT_MULTIPART, hold, key_part=id_of(path))
    with first.client.connect() as connection:
        connection.send_head("DELETE", path, {"Tus-Resumable": "1.0.0"})
        hold.wait_until_reached()
        first.kill()
    s3_proxy.down()
    s3_proxy.rules.clear()
    s3_proxy.up()
    world = world_of(start_server(over=through, cleanup_interval="1s", lease_ttl="1s"), bucket)
    assert_goes(world, path)


def test_a_tail_that_was_idle_comes_back_whole(
    elsewhere: StoreSettings, start_server: StartServer, bucket: Bucket
) -> None:
    """As large as tails get, so that S3 does not send it in one piece."""
    options = {"cleanup_interval": "1s", "tail_idle": "1s"}
    world = world_of(start_server(over=elsewhere, **options), bucket)
    sent = 2 * PART_BYTES - 1
    path = world.client.new_upload(LENGTH)
    assert world.client.patch(path, 0, BODY[:sent]).offset == sent
    assert_parked(world, path)
    assert world.client.patch(path, sent, BODY[sent:]).offset == LENGTH
    assert world.object_of(path) == BODY


# --- several janitors


TAKES_OVER = "this worker does the clean-up from now on"


def leaders(*servers: ServerProcess) -> list[ServerProcess]:
    return [server for server in servers if TAKES_OVER in server.log()]


def test_a_start_whose_id_was_lost_is_aborted_although_nobody_comes_back(
    elsewhere: StoreSettings, s3_proxy: S3Proxy, start_server: StartServer, bucket: Bucket
) -> None:
    over = replace(elsewhere, s3_endpoint=s3_proxy.endpoint)
    server = start_server(over=over, cleanup_interval="1s", tail_idle="2s", s3_timeout="2s")
    path = server.client.new_upload(LENGTH)
    s3_proxy.fail(S3Call.CREATE_MULTIPART, Cut.AFTER, times=None)
    assert server.client.patch(path, 0, BODY[: PART_BYTES + 1]).status == 503
    assert bucket.multipart_uploads(elsewhere.object_prefix)
    s3_proxy.rules.clear()
    eventually(
        lambda: bucket.multipart_uploads(elsewhere.object_prefix) == [],
        within_s=CLEAN_WITHIN_S,
        what="the multipart uploads are gone",
    )
    server.client.upload_from(path, BODY)
    assert world_of(server, bucket).object_of(path) == BODY


def test_of_two_servers_one_cleans_up_and_when_it_dies_the_other_does(
    elsewhere: StoreSettings, start_server: StartServer, bucket: Bucket
) -> None:
    servers = [start_server(over=elsewhere, **QUICK) for _ in range(2)]
    worlds = [world_of(server, bucket) for server in servers]
    for world in worlds:
        path = world.client.new_upload(LENGTH)
        world.client.patch(path, 0, BODY[:PART_BYTES])
        assert_goes(world, path)
    [at_work] = leaders(*servers)
    [other] = [server for server in servers if server is not at_work]
    assert "remove expired upload" not in other.log()
    at_work.kill()
    world = worlds[servers.index(other)]
    path = world.client.new_upload(LENGTH)
    world.client.patch(path, 0, BODY[:PART_BYTES])
    assert_goes(world, path)
    assert leaders(other)


def test_a_server_that_stops_in_good_order_leaves_the_work_to_the_next_at_once(
    elsewhere: StoreSettings, start_server: StartServer
) -> None:
    options = {"cleanup_interval": "3s"}
    first = start_server(over=elsewhere, **options)
    eventually(lambda: leaders(first), what="the first one cleans up")
    view = RedisView(elsewhere.redis_url, elsewhere.redis_prefix)
    assert view.keys("janitor:lease")
    first.stop()
    assert view.keys("janitor:lease") == []


def test_a_janitor_that_was_frozen_past_its_lease_does_no_harm(
    elsewhere: StoreSettings, s3_proxy: S3Proxy, start_server: StartServer, bucket: Bucket
) -> None:
    through = replace(elsewhere, s3_endpoint=s3_proxy.endpoint)
    frozen = start_server(over=through, **QUICK)
    path = frozen.client.new_upload(LENGTH)
    hold = Hold()
    s3_proxy.fail(S3Call.ABORT_MULTIPART, hold, key_part=id_of(path))
    frozen.client.patch(path, 0, BODY[:PART_BYTES])
    hold.wait_until_reached(within_s=CLEAN_WITHIN_S)
    frozen.freeze()
    world = world_of(start_server(over=elsewhere, **QUICK), bucket)
    assert_goes(world, path)
    hold.release()
    frozen.thaw()
    second = RawClient(frozen.client.address).new_upload(LENGTH)
    frozen.client.patch(second, 0, BODY[:PART_BYTES])
    assert_goes(world, second)
