"""Line 24: what a final upload costs S3 and the server; stores that copy badly or not at all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from tests.conftest import StartServer
from tests.support.bodies import KIB, MIB, PART_BYTES, body_of
from tests.support.concat import (
    assert_made_of,
    head_when_whole,
    new_final,
    new_partial,
    partial_key,
    post_final,
)
from tests.support.faults import Answer, Cut, Delay, Hold
from tests.support.s3_calls import S3Call
from tests.support.s3_proxy import S3Proxy
from tests.support.server import SWITCH, ServerProcess, StoreSettings
from tests.support.stores import Bucket, RedisView
from tests.support.tus import RawClient, id_of, path_of
from tests.support.waiting import eventually
from tests.support.world import World

P = PART_BYTES
EMPTY_PART = b'<CopyPartResult><ETag>"d41d8cd98f00b204e9800998ecf8427e"</ETag></CopyPartResult>'
MEMORY_MARGIN_BYTES = 30 * MIB
"""What a server may need more for a final upload of hundreds of MiB than for one of 40: nothing but
what the allocator keeps. Sixteen parts at once instead of four would be 60 MiB."""


@pytest.fixture
def behind(
    stores: StoreSettings, s3_proxy: S3Proxy, start_server: StartServer, bucket: Bucket
) -> World:
    """A server of its own, which has not yet learned anything of its store, behind the proxy."""
    server = start_server(over=replace(stores, s3_endpoint=s3_proxy.endpoint))
    return world_of(server, bucket)


@pytest.fixture(autouse=True)
def _mended(s3_proxy: S3Proxy) -> Iterator[None]:
    yield
    s3_proxy.rules.clear()


def world_of(server: ServerProcess, bucket: Bucket) -> World:
    stores = server.stores
    return World(server, bucket, RedisView(stores.redis_url, stores.redis_prefix))


def through_the_server(s3_proxy: S3Proxy, path: str, partials: list[str]) -> int:
    """Bytes of payload that S3 got for a final upload, and gave of its partial ones."""
    sent = sum(
        call.sent_bytes
        for call in s3_proxy.calls(id_of(path))
        if call.kind in {S3Call.PUT_OBJECT, S3Call.UPLOAD_PART}
    )
    given = sum(
        call.answered_bytes
        for partial in set(partials)
        for call in s3_proxy.calls(id_of(partial))
        if call.kind is S3Call.GET_OBJECT
    )
    assert given <= sent
    return sent


# --- costs


@pytest.mark.parametrize("size", [0, 1, 300 * KIB, P])
def test_line_24_a_short_partial_costs_no_object_of_its_own(
    proxied: World, s3_proxy: S3Proxy, size: int
) -> None:
    """Its bytes go into the final one straight from the tail: no call to S3 speaks of it."""
    bodies = [body_of(size, 1), body_of(10 * KIB, 2)]
    paths = [new_partial(proxied.client, body) for body in bodies]
    final = new_final(proxied.client, paths)
    assert_made_of(proxied, final, bodies)
    for path in paths:
        assert s3_proxy.calls(id_of(path)) == []


def test_line_24_a_final_that_fits_a_part_is_one_put(proxied: World, s3_proxy: S3Proxy) -> None:
    bodies = [body_of(size, size) for size in (MIB, 2 * MIB, 7)]
    final = new_final(proxied.client, [new_partial(proxied.client, body) for body in bodies])
    assert_made_of(proxied, final, bodies)
    assert s3_proxy.counts(id_of(final)) == {S3Call.PUT_OBJECT: 1}


def test_line_24_whole_objects_are_copied_and_no_byte_passes_through(
    proxied: World, s3_proxy: S3Proxy
) -> None:
    bodies = [body_of(size, size) for size in (2 * P, P + 1, 3 * P - 1)]
    paths = [new_partial(proxied.client, body) for body in bodies]
    final = new_final(proxied.client, paths)
    assert_made_of(proxied, final, bodies)
    assert through_the_server(s3_proxy, final, paths) == 0
    assert s3_proxy.counts(id_of(final)) == {
        S3Call.CREATE_MULTIPART: 1,
        S3Call.PUT_RECOVERY: 1,
        S3Call.COPY_PART: 3,
        S3Call.LIST_PARTS: 1,
        S3Call.COMPLETE_MULTIPART: 1,
        S3Call.DELETE_RECOVERY: 1,
    }


@pytest.mark.parametrize(
    "sizes",
    [
        [P + 1, 2 * P, P + 1],
        [2 * P - 1] * 3,
        [P + 1, 1, P + 1],
        [1, P + 1, 1, P + 1, 1],
        [P + 1, P + 2, P + 3, P + 4],
    ],
    ids=str,
)
def test_line_24_at_most_5_mib_for_each_boundary_pass_through(
    proxied: World, s3_proxy: S3Proxy, sizes: list[int]
) -> None:
    bodies = [body_of(size, seed) for seed, size in enumerate(sizes)]
    paths = [new_partial(proxied.client, body) for body in bodies]
    final = new_final(proxied.client, paths)
    assert_made_of(proxied, final, bodies)
    assert through_the_server(s3_proxy, final, paths) <= (len(sizes) - 1) * 5 * MIB


# --- stores that copy badly


def bodies_of_objects() -> list[bytes]:
    return [body_of(2 * P + 5, 1), body_of(MIB, 2), body_of(P + 77, 3), body_of(3 * P, 4)]


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(Answer(501, "NotImplemented"), id="not implemented"),
        pytest.param(Answer(400, "InvalidRequest"), id="refused"),
        pytest.param(Answer(405, "MethodNotAllowed"), id="not allowed"),
        pytest.param(Answer(200, body=b""), id="taken for an upload of nothing"),
        pytest.param(Answer(200, body=EMPTY_PART), id="answered but not done"),
    ],
)
def test_line_24_without_a_working_copy_bytes_pass_through_the_server(
    behind: World, s3_proxy: S3Proxy, answer: Answer
) -> None:
    s3_proxy.fail(S3Call.COPY_PART, answer, times=None)
    bodies = bodies_of_objects()
    paths = [new_partial(behind.client, body) for body in bodies]
    final = new_final(behind.client, paths)
    assert_made_of(behind, final, bodies)
    assert behind.bucket.multipart_uploads(behind.key_of(final)) == []


def test_line_24_a_copy_that_stored_nothing_is_noticed(behind: World, s3_proxy: S3Proxy) -> None:
    """As rclone does it: the part is there, its ETag is right, and it is empty."""
    body = bodies_of_objects()[0]
    path = new_partial(behind.client, body)
    hold = Hold()
    s3_proxy.fail(S3Call.PUT_RECOVERY, hold)
    s3_proxy.fail(S3Call.COPY_PART, Answer(200, body=EMPTY_PART), times=None)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(new_final, behind.client, [path])
        hold.wait_until_reached()
        [(key, multipart_id)] = behind.bucket.multipart_uploads(behind.stores.object_prefix)
        behind.bucket.client.upload_part(
            Bucket=behind.bucket.name, Key=key, UploadId=multipart_id, PartNumber=1, Body=b""
        )
        hold.release()
        assert_made_of(behind, answer.result(), [body])


@pytest.mark.parametrize(
    "answer", [Answer(501, "NotImplemented"), Answer(200, body=EMPTY_PART)], ids=["501", "empty"]
)
def test_line_24_a_store_that_does_not_copy_is_asked_once(
    behind: World, s3_proxy: S3Proxy, answer: Answer
) -> None:
    s3_proxy.fail(S3Call.COPY_PART, answer, times=None)
    bodies = bodies_of_objects()
    paths = [new_partial(behind.client, body) for body in bodies]
    new_final(behind.client, paths)
    again = new_final(behind.client, paths[::-1])
    assert_made_of(behind, again, bodies[::-1])
    assert s3_proxy.counts(id_of(again))[S3Call.COPY_PART] == 0
    assert behind.server.log().count("does not copy parts") == 1


def test_line_24_an_error_behind_a_200_is_an_error_that_passes(
    behind: World, s3_proxy: S3Proxy
) -> None:
    rule = s3_proxy.fail(S3Call.COPY_PART, Answer(200, "InternalError"), times=2)
    bodies = bodies_of_objects()
    final = new_final(behind.client, [new_partial(behind.client, body) for body in bodies])
    assert_made_of(behind, final, bodies)
    assert rule.hits == 2
    assert behind.server.log().count("does not copy parts") == 0


def test_line_24_a_copy_whose_answer_is_lost_is_asked_for_again(
    behind: World, s3_proxy: S3Proxy
) -> None:
    s3_proxy.fail(S3Call.COPY_PART, Cut.AFTER, times=2)
    bodies = bodies_of_objects()
    final = new_final(behind.client, [new_partial(behind.client, body) for body in bodies])
    assert_made_of(behind, final, bodies)


@pytest.mark.parametrize("copies", [True, False], ids=["copies", "streams"])
def test_line_24_a_store_that_wants_equal_parts_gets_them(
    stores: StoreSettings,
    s3_proxy: S3Proxy,
    start_server: StartServer,
    bucket: Bucket,
    copies: bool,
) -> None:
    if not copies:
        s3_proxy.fail(S3Call.COPY_PART, Answer(501, "NotImplemented"), times=None)
    over = replace(stores, s3_endpoint=s3_proxy.endpoint)
    world = world_of(start_server(over=over, s3_equal_parts=SWITCH), bucket)
    bodies = bodies_of_objects()
    paths = [new_partial(world.client, body) for body in bodies]
    final = new_final(world.client, paths)
    assert_made_of(world, final, bodies)
    calls = [call for call in s3_proxy.calls(id_of(final)) if call.part_number]
    stored = {call.part_number: call.kind for call in calls if call.status == 200}
    count = -(-sum(map(len, bodies)) // P)
    assert stored.keys() == set(range(1, count + 1))
    assert Counter(stored.values())[S3Call.COPY_PART] == (5 if copies else 0)
    # Of the try with copies, too, which the store refused: the ranges are the same.
    sent = [call for call in calls if call.kind is S3Call.UPLOAD_PART]
    assert {call.sent_bytes for call in sent if call.part_number != count} <= {P}


def test_line_24_parts_that_a_store_refuses_are_made_equal(
    behind: World, s3_proxy: S3Proxy
) -> None:
    """R2 notices unequal parts at the end only; somebody forgot --s3-equal-parts."""
    rule = s3_proxy.fail(S3Call.COMPLETE_MULTIPART, Answer(400, "InvalidPart"), nth=4)
    bodies = bodies_of_objects()
    paths = [new_partial(behind.client, body) for body in bodies]
    final = new_final(behind.client, paths)
    assert rule.hits == 1
    assert_made_of(behind, final, bodies)


def test_line_24_a_multipart_upload_that_s3_dropped_is_begun_anew(
    behind: World, s3_proxy: S3Proxy
) -> None:
    s3_proxy.fail(S3Call.COPY_PART, Answer(404, "NoSuchUpload"), nth=2)
    bodies = bodies_of_objects()
    final = new_final(behind.client, [new_partial(behind.client, body) for body in bodies])
    assert_made_of(behind, final, bodies)


def test_line_26_while_the_store_is_away_a_final_is_503_and_later_the_same(
    behind: World, s3_proxy: S3Proxy
) -> None:
    bodies = bodies_of_objects()
    paths = [new_partial(behind.client, body) for body in bodies]
    s3_proxy.fail(S3Call.COPY_PART, Answer(503), times=None)
    refused = post_final(behind.client, paths)
    assert (refused.status, refused.code) == (503, "storage_unavailable")
    s3_proxy.rules.clear()
    before = set(behind.bucket.keys(behind.stores.object_prefix))
    made = {new_final(behind.client, paths) for _ in range(2)}
    assert len(made) == 1
    [final] = made
    assert_made_of(behind, final, bodies)
    new = set(behind.bucket.keys(behind.stores.object_prefix)) - before
    assert new == {behind.key_of(final)}


# --- sources that are gone


def test_line_25_a_final_whose_partial_lost_its_object_is_gone_and_leaves_nothing(
    behind: World,
) -> None:
    bodies = bodies_of_objects()
    paths = [new_partial(behind.client, body) for body in bodies]
    key = partial_key(behind, paths[2])
    behind.bucket.client.delete_object(Bucket=behind.bucket.name, Key=key)
    before = set(behind.bucket.keys(behind.stores.object_prefix))
    assert post_final(behind.client, paths).status == 404
    assert behind.bucket.multipart_uploads(behind.stores.object_prefix) == []
    assert set(behind.bucket.keys(behind.stores.object_prefix)) == before


def test_line_24_a_parked_tail_goes_into_the_final_from_where_it_is(
    stores: StoreSettings, start_server: StartServer, bucket: Bucket
) -> None:
    world = world_of(start_server(over=stores, cleanup_interval="1s", tail_idle="1s"), bucket)
    bodies = [body_of(MIB, 1), body_of(P + 1, 2), body_of(7, 3)]
    paths = [new_partial(world.client, body) for body in bodies]

    def tails() -> list[str]:
        return [trace for path in paths for trace in world.traces_of(path) if ":tail:" in trace]

    eventually(lambda: not tails(), what="the tails are parked")
    assert [world.client.head(path).offset for path in paths] == [MIB, P + 1, 7]
    final = new_final(world.client, paths)
    assert_made_of(world, final, bodies)


# --- memory


def test_line_24_streaming_takes_no_more_memory_for_more_bytes(
    behind: World, s3_proxy: S3Proxy
) -> None:
    s3_proxy.fail(S3Call.COPY_PART, Answer(501, "NotImplemented"), times=None)
    s3_proxy.fail(S3Call.UPLOAD_PART, Delay(0.3), times=None)  # so that they do meet
    body = body_of(4 * P + 1)
    path = new_partial(behind.client, body)
    assert_made_of(behind, new_final(behind.client, [path] * 2), [body] * 2)
    before = behind.server.most_resident_bytes
    patient = RawClient(behind.client.address, timeout_s=60.0)
    final = path_of(post_final(patient, [path] * 16))
    assert head_when_whole(behind, final).offset == 16 * len(body)
    assert behind.server.most_resident_bytes - before < MEMORY_MARGIN_BYTES
    assert behind.object_of(final) == body * 16
