"""What a client sees, and what is kept, while S3 or Redis fail."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from tests.conftest import StartServer
from tests.support.bodies import MIB, PART_BYTES, body_of
from tests.support.faults import Answer, Cut, Fault, Hold, Stage
from tests.support.raw import RawResponse
from tests.support.redis_proxy import RedisProxy
from tests.support.s3_calls import S3Call
from tests.support.s3_proxy import S3Proxy
from tests.support.server import StoreSettings
from tests.support.stores import Bucket, RedisView
from tests.support.tus import id_of, path_of
from tests.support.waiting import Stopwatch, eventually
from tests.support.world import World

LENGTH = 3 * PART_BYTES + MIB
ONCE: list[Fault] = [Cut.BEFORE, Cut.AFTER, Answer(503), Answer(500, "InternalError")]


@pytest.fixture(scope="module")
def shaky(
    stores: StoreSettings,
    s3_proxy: S3Proxy,
    redis_proxy: RedisProxy,
    start_module_server: StartServer,
    bucket: Bucket,
    redis_view: RedisView,
) -> World:
    """A server that stands on the proxies and soon gives up waiting."""
    through = replace(stores, s3_endpoint=s3_proxy.endpoint, redis_url=redis_proxy.url)
    server = start_module_server(
        over=through,
        s3_timeout="2s",
        redis_timeout="1s",
        redis_outage_wait="3s",
        lease_ttl="2s",
    )
    return World(server, bucket, redis_view)


@pytest.fixture(autouse=True)
def _mended(s3_proxy: S3Proxy, redis_proxy: RedisProxy) -> Iterator[None]:
    """No fault outlives its test."""
    yield
    s3_proxy.rules.clear()
    redis_proxy.rules.clear()


def assert_plain(response: RawResponse, *codes: str) -> None:
    """An error of ours, with nothing of the store's own words in it."""
    assert response.status in {500, 503}, response
    assert response.code in codes, response
    for word in ("SlowDown", "InternalError", "proxy", "botocore", "redis", "127.0.0.1"):
        assert word not in response.body.decode()


def assert_finished(world: World, path: str, body: bytes) -> None:
    """The upload can be brought to its end, and the object is right."""
    world.client.upload_from(path, body)
    assert world.object_of(path) == body


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_a_part_that_cannot_be_stored_leaves_what_is_before_it(
    shaky: World, s3_proxy: S3Proxy, number: int
) -> None:
    body = body_of(LENGTH)
    path = shaky.client.new_upload(LENGTH)
    fault = Answer(500, "InternalError")
    s3_proxy.fail(S3Call.UPLOAD_PART, fault, times=None, part_number=number)
    response = shaky.client.patch(path, 0, body)
    assert_plain(response, "storage_unavailable", "storage_refused")
    head = shaky.client.head(path)
    if number < 4:
        assert (number - 1) * PART_BYTES <= head.offset <= number * PART_BYTES
    else:
        # Every byte may be there, but no object: that is not for HEAD to call whole.
        assert head.status == 423 or 3 * PART_BYTES <= head.offset < LENGTH
    s3_proxy.rules.clear()
    assert_finished(shaky, path, body)


def test_a_part_that_was_left_over_goes_out_before_anything_more_has_come(
    shaky: World, s3_proxy: S3Proxy
) -> None:
    """All of it waits in Redis, where it takes room."""
    path = shaky.client.new_upload(LENGTH)
    s3_proxy.fail(S3Call.UPLOAD_PART, Answer(500, "InternalError"), times=None)
    shaky.client.patch(path, 0, body_of(PART_BYTES + 1))
    assert shaky.client.head(path).offset == PART_BYTES
    s3_proxy.rules.clear()

    def stored() -> list[tuple[int, int]]:
        uploads = shaky.bucket.multipart_uploads(shaky.key_of(path))
        return [part for upload in uploads for part in shaky.bucket.parts(*upload) or ()]

    assert stored() == []
    with shaky.client.begin_patch(path, PART_BYTES, b"", declared=LENGTH - PART_BYTES):
        eventually(lambda: stored() == [(1, PART_BYTES)], what="the part is in S3")


@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        (S3Call.CREATE_MULTIPART, Cut.AFTER),
        (S3Call.CREATE_MULTIPART, Answer(503)),
        (S3Call.PUT_RECOVERY, Cut.AFTER),
        (S3Call.PUT_RECOVERY, Answer(503)),
        *((S3Call.UPLOAD_PART, fault) for fault in ONCE),
        *((S3Call.COMPLETE_MULTIPART, fault) for fault in ONCE),
        (S3Call.DELETE_RECOVERY, Cut.AFTER),
        (S3Call.DELETE_RECOVERY, Answer(503)),
    ],
)
def test_a_call_that_fails_once_is_not_noticed(
    shaky: World, s3_proxy: S3Proxy, kind: S3Call, fault: Fault
) -> None:
    body = body_of(2 * PART_BYTES + 5)
    path = shaky.client.new_upload(len(body))
    rule = s3_proxy.fail(kind, fault)
    assert shaky.client.patch(path, 0, body).status == 204
    assert rule.hits == 1
    assert shaky.object_of(path) == body


@pytest.mark.parametrize("fault", ONCE)
def test_a_put_that_fails_once_is_not_noticed(
    shaky: World, s3_proxy: S3Proxy, fault: Fault
) -> None:
    path = shaky.client.new_upload(1000)
    rule = s3_proxy.fail(S3Call.PUT_OBJECT, fault)
    assert shaky.client.patch(path, 0, body_of(1000)).status == 204
    assert rule.hits == 1
    assert shaky.object_of(path) == body_of(1000)


@pytest.mark.parametrize("length", [1000, PART_BYTES, 2 * PART_BYTES + 5])
def test_an_upload_is_not_whole_before_its_object_exists(
    shaky: World, s3_proxy: S3Proxy, length: int
) -> None:
    kind = S3Call.PUT_OBJECT if length <= PART_BYTES else S3Call.COMPLETE_MULTIPART
    body = body_of(length)
    path = shaky.client.new_upload(length)
    s3_proxy.fail(kind, Answer(500, "InternalError"), times=None)
    assert_plain(shaky.client.patch(path, 0, body), "storage_unavailable", "storage_refused")
    head = shaky.client.head(path)
    assert head.status == 423 or (head.status == 200 and head.offset < length)
    s3_proxy.rules.clear()
    # Whoever asks next drives it on.
    eventually(lambda: shaky.client.offset_of(path) == length)
    assert shaky.object_of(path) == body


@pytest.mark.parametrize(
    ("length", "kind"),
    [
        (1000, S3Call.PUT_OBJECT),
        (PART_BYTES, S3Call.PUT_OBJECT),
        (2 * PART_BYTES, S3Call.COMPLETE_MULTIPART),
        (2 * PART_BYTES, S3Call.UPLOAD_PART),
        (2 * PART_BYTES + 5, S3Call.COMPLETE_MULTIPART),
    ],
)
def test_a_creation_that_has_all_bytes_but_no_object_does_not_say_so(
    shaky: World, s3_proxy: S3Proxy, length: int, kind: S3Call
) -> None:
    """The client must learn the address, and must not take the upload for complete."""
    body = body_of(length)
    number = 2 if kind is S3Call.UPLOAD_PART else None
    s3_proxy.fail(kind, Answer(500, "InternalError"), times=None, part_number=number)
    created = shaky.client.create(length, body=body)
    assert created.offset < length
    path = path_of(created)
    s3_proxy.rules.clear()
    assert shaky.client.patch(path, created.offset, body[created.offset :]).status in {409, 423}
    eventually(lambda: shaky.client.offset_of(path) == length)
    assert shaky.object_of(path) == body


def test_a_patch_drives_a_completion_on_too(shaky: World, s3_proxy: S3Proxy) -> None:
    body = body_of(PART_BYTES + 5)
    path = shaky.client.new_upload(len(body))
    s3_proxy.fail(S3Call.COMPLETE_MULTIPART, Answer(500, "InternalError"), times=None)
    assert shaky.client.patch(path, 0, body).status in {500, 503}
    s3_proxy.rules.clear()
    response = shaky.client.patch(path, len(body), b"")
    assert (response.status, response.offset) == (204, len(body))
    assert shaky.object_of(path) == body


def test_without_s3_small_steps_still_work(shaky: World, s3_proxy: S3Proxy) -> None:
    body = body_of(2 * PART_BYTES)
    s3_proxy.down()
    try:
        path = shaky.client.new_upload(len(body))
        assert shaky.client.patch(path, 0, body[:1000]).status == 204
        assert shaky.client.head(path).offset == 1000
        response = shaky.client.patch(path, 1000, body[1000:])
        assert_plain(response, "storage_unavailable")
        offset = shaky.client.offset_of(path)
        assert 1000 <= offset <= PART_BYTES
    finally:
        s3_proxy.up()
    assert_finished(shaky, path, body)


def test_without_redis_clients_are_asked_to_try_again(
    shaky: World, redis_proxy: RedisProxy
) -> None:
    path = shaky.client.new_upload(10, body=b"abc")
    redis_proxy.down()
    try:
        assert shaky.client.head(path).status == 423
        assert_plain(shaky.client.patch(path, 3, b"defghij"), "state_unavailable")
        assert_plain(shaky.client.create(10), "state_unavailable")
        assert_plain(shaky.client.delete(path), "state_unavailable")
    finally:
        redis_proxy.up()
    assert_finished(shaky, path, b"abcdefghij")


def test_take_over_works_again_after_redis_came_back(shaky: World, redis_proxy: RedisProxy) -> None:
    redis_proxy.cut_all()
    path = shaky.client.new_upload(10)
    with shaky.client.begin_patch(path, 0, b"abc", declared=10) as holder:
        holder.assert_silent_for(1.0)
        watch = Stopwatch()
        assert shaky.client.offset_of(path) == 3
        assert watch.elapsed_s < 1.5
        assert holder.read_response().status == 423


@pytest.mark.parametrize(
    ("length", "nth"),
    [(2_000_000, 1), (2_000_000, 2), *((2 * PART_BYTES + 5, nth) for nth in (1, 2, 3, 4))],
)
@pytest.mark.parametrize("cut", [Cut.BEFORE, Cut.AFTER])
def test_a_step_whose_answer_redis_lost_is_never_taken_twice(
    shaky: World, redis_proxy: RedisProxy, length: int, cut: Cut, nth: int
) -> None:
    body = body_of(length)
    path = shaky.client.new_upload(length)
    shaky.client.upload_from(path, body[:1_000_000], [300_000])
    rule = redis_proxy.fail("EVALSHA", cut, nth=nth)
    response = shaky.client.patch(path, 1_000_000, body[1_000_000:])
    assert rule.hits == 1
    assert response.status in {204, 503}, response
    redis_proxy.rules.clear()
    offset = shaky.client.offset_of(path)
    assert offset >= (length if response.status == 204 else 1_000_000)
    assert_finished(shaky, path, body)


def test_a_first_chunk_that_cannot_be_stored_leaves_nothing_or_an_upload(
    shaky: World, s3_proxy: S3Proxy
) -> None:
    before = shaky.snapshot()
    s3_proxy.fail(S3Call.UPLOAD_PART, Answer(500, "InternalError"), times=None)
    response = shaky.client.create(LENGTH, body=body_of(LENGTH))
    s3_proxy.rules.clear()
    if response.status == 201:
        assert response.offset > 0
    else:
        assert_plain(response, "storage_unavailable", "storage_refused")

        def unchanged() -> bool:
            assert shaky.snapshot() == before
            return True

        eventually(unchanged, within_s=5.0, what="nothing is left of the failed creation")


def test_a_creation_at_once_without_redis_leaves_no_object(
    shaky: World, s3_proxy: S3Proxy, redis_proxy: RedisProxy
) -> None:
    hold = Hold(Stage.AFTER)
    s3_proxy.fail(S3Call.PUT_OBJECT, hold)
    with shaky.unchanged(), ThreadPoolExecutor(1) as pool:
        creating = pool.submit(shaky.client.create, 1000, body=body_of(1000))
        hold.wait_until_reached()
        redis_proxy.down()
        try:
            hold.release()
            response = creating.result()
        finally:
            redis_proxy.up()
        assert (response.status, response.code) == (503, "state_unavailable")


def test_head_is_not_kept_waiting_by_a_store_that_hangs(shaky: World, s3_proxy: S3Proxy) -> None:
    hold = Hold()
    s3_proxy.fail(S3Call.UPLOAD_PART, hold, times=None)
    body = body_of(2 * PART_BYTES)
    path = shaky.client.new_upload(len(body))
    with shaky.client.begin_patch(path, 0, body[: PART_BYTES + 9], declared=len(body)) as holder:
        hold.wait_until_reached()
        watch = Stopwatch()
        assert shaky.client.head(path).status in {200, 423}
        assert watch.elapsed_s < 6.0
        hold.release()
        holder.read_response()
    assert_finished(shaky, path, body)


def test_delete_finds_every_part_although_one_was_in_flight(
    shaky: World, s3_proxy: S3Proxy
) -> None:
    hold = Hold()
    s3_proxy.fail(S3Call.UPLOAD_PART, hold, part_number=2)
    path = shaky.client.new_upload(LENGTH)
    sent = body_of(2 * PART_BYTES + 9)
    with shaky.client.begin_patch(path, 0, sent, declared=LENGTH) as holder:
        hold.wait_until_reached()
        deleted = shaky.client.delete(path)
        hold.release()
        holder.read_response()
    if deleted.status == 423:
        deleted = shaky.client.delete(path)
    assert deleted.status == 204
    eventually(lambda: shaky.traces_of(path) == [], what="nothing is left")


def test_a_delete_that_failed_half_way_can_be_repeated(shaky: World, s3_proxy: S3Proxy) -> None:
    path = shaky.client.new_upload(LENGTH)
    shaky.client.upload_from(path, body_of(PART_BYTES + 9))
    s3_proxy.fail(S3Call.ABORT_MULTIPART, Answer(500, "InternalError"), times=None)
    response = shaky.client.delete(path)
    assert_plain(response, "storage_unavailable", "storage_refused")
    assert shaky.client.head(path).status == 404
    s3_proxy.rules.clear()
    assert shaky.client.delete(path).status == 204
    eventually(lambda: shaky.traces_of(path) == [], what="nothing is left")


def test_a_lease_that_cannot_be_renewed_ends_the_patch(
    shaky: World, redis_proxy: RedisProxy
) -> None:
    # The lease lives for two seconds; Redis is away for longer than that.
    body = body_of(LENGTH)
    path = shaky.client.new_upload(LENGTH)
    shaky.client.upload_from(path, body[:1000])
    sent = body[1000 : PART_BYTES + 1000]
    with shaky.client.begin_patch(path, 1000, sent, declared=LENGTH - 1000) as holder:
        redis_proxy.down()
        try:
            response = holder.read_response()
        finally:
            redis_proxy.up()
    assert_plain(response, "lease_lost", "state_unavailable", "body_timed_out")
    assert 1000 <= shaky.client.offset_of(path) <= PART_BYTES + 1000
    assert_finished(shaky, path, body)


def test_an_upload_that_s3_dropped_is_gone_and_never_whole(shaky: World) -> None:
    body = body_of(2 * PART_BYTES)
    path = shaky.client.new_upload(len(body))
    shaky.client.upload_from(path, body[: PART_BYTES + 5])
    prefix = shaky.stores.object_prefix
    for key, multipart_id in shaky.bucket.multipart_uploads(prefix):
        if id_of(path) in key:
            shaky.bucket.abort(key, multipart_id)
    assert shaky.client.patch(path, PART_BYTES + 5, body[PART_BYTES + 5 :]).status == 404
    assert shaky.client.head(path).status == 404
    assert shaky.bucket.get(shaky.key_of(path)) is None
    eventually(lambda: shaky.traces_of(path) == [], what="nothing is left")
