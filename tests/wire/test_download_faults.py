"""What breaks between S3 and the server while an upload is handed out, and what stores do that are
not Amazon's: the client sees the right bytes, or a body that is too short; never others."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.bodies import KIB, MIB, PART_BYTES, body_of
from tests.support.faults import Answer, Break, Cut, Hold, Rewrite
from tests.support.raw import ConnectionEnded, RawConnection, RawResponse
from tests.support.s3_calls import S3Call
from tests.support.s3_proxy import S3Proxy
from tests.support.stores import Bucket
from tests.support.tus import RawClient
from tests.support.world import World

SIZE = 2 * PART_BYTES + 777
BODY = body_of(SIZE)
GET_OBJECT = S3Call.GET_OBJECT
OTHER = BODY.translate(bytes(reversed(range(256))))
SHORT_BYTES = 16 * KIB
"""Fits any client's window: with more, a connection that is reset may take some of it along."""


def get(client: RawClient, path: str, **headers: str) -> RawResponse:
    return client.request("GET", path, headers)


@pytest.fixture(scope="module")
def path(proxied: World) -> str:
    path = proxied.client.new_upload(SIZE)
    proxied.client.upload_from(path, BODY)
    return path


@pytest.fixture(autouse=True)
def no_rules_left(s3_proxy: S3Proxy) -> Iterator[None]:
    yield
    s3_proxy.rules.clear()


# --- breaks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [0, 1, MIB, SIZE - 1])
def test_a_break_is_healed_unseen(proxied: World, s3_proxy: S3Proxy, path: str, at: int) -> None:
    s3_proxy.fail(GET_OBJECT, Break(at))
    with s3_proxy.counting() as calls:
        answer = get(proxied.client, path)
    assert (answer.status, answer.body == BODY) == (200, True)
    assert calls == {GET_OBJECT: 2}


def test_breaks_within_a_range_are_healed(proxied: World, s3_proxy: S3Proxy, path: str) -> None:
    """As often as it takes, as long as it goes on."""
    s3_proxy.fail(GET_OBJECT, Break(MIB), times=9)
    answer = get(proxied.client, path, Range="bytes=77-")
    assert (answer.status, answer.body == BODY[77:]) == (206, True)


def test_what_does_not_go_on_is_given_up(proxied: World, s3_proxy: S3Proxy, path: str) -> None:
    s3_proxy.fail(GET_OBJECT, Break(1000), times=None)
    assert ends_early(proxied.client, path) == BODY[: 6 * 1000]


@pytest.mark.parametrize("fault", [Cut.BEFORE, Answer(503), Answer(500, "InternalError")])
def test_a_passing_fault_before_the_answer_is_waited_out(
    proxied: World, s3_proxy: S3Proxy, path: str, fault: Cut | Answer
) -> None:
    s3_proxy.fail(GET_OBJECT, fault)
    assert get(proxied.client, path).body == BODY


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Answer(503), (503, "storage_unavailable")),
        (Answer(403, "AccessDenied"), (500, "storage_refused")),
        (Answer(404, "NoSuchKey"), (404, "upload_not_found")),
    ],
)
def test_a_lasting_fault_is_an_error_that_says_nothing_of_the_store(
    proxied: World, s3_proxy: S3Proxy, path: str, fault: Answer, expected: tuple[int, str]
) -> None:
    s3_proxy.fail(GET_OBJECT, fault, times=None)
    answer = get(proxied.client, path)
    assert (answer.status, answer.code) == expected
    text = (answer.body + repr(answer.headers).encode()).decode()
    assert not [word for word in (fault.code, "proxy", proxied.key_of(path)) if word in text]


# --- another object -------------------------------------------------------------------------------


def test_another_object_ends_the_download(
    proxied: World, s3_proxy: S3Proxy, bucket: Bucket
) -> None:
    """It has the same length; only its ETag is another."""
    path = proxied.client.new_upload(SIZE)
    proxied.client.upload_from(path, BODY)
    again = Hold()
    s3_proxy.fail(GET_OBJECT, Break(SHORT_BYTES))
    s3_proxy.fail(GET_OBJECT, again, nth=2)
    with proxied.client.connect() as connection:
        connection.send_head("GET", path)
        again.wait_until_reached()
        bucket.put(proxied.key_of(path), OTHER)
        again.release()
        assert rest_of(connection) == BODY[:SHORT_BYTES]
    assert s3_proxy.calls(proxied.key_of(path))[-1].status == 412  # it sent no byte of the other


def test_not_even_where_the_store_knows_no_conditions(
    proxied: World, s3_proxy: S3Proxy, path: str
) -> None:
    s3_proxy.fail(GET_OBJECT, Break(SHORT_BYTES))
    s3_proxy.fail(GET_OBJECT, Rewrite(206, also={"etag": '"another"'}), nth=2, times=None)
    assert ends_early(proxied.client, path) == BODY[:SHORT_BYTES]


def test_without_a_tag_nothing_is_put_together(
    proxied: World, s3_proxy: S3Proxy, path: str
) -> None:
    """It breaks, and nobody could tell whether the rest is of the same object."""
    bare = Rewrite(
        200,
        without=frozenset({"etag"}),
        also={"content-length": f"{SIZE}"},
        body=BODY[:SHORT_BYTES],
    )
    s3_proxy.fail(GET_OBJECT, bare)
    with s3_proxy.counting() as calls:
        assert ends_early(proxied.client, path) == BODY[:SHORT_BYTES]
    assert calls == {GET_OBJECT: 1}


# --- stores that are not Amazon's -----------------------------------------------------------------


@pytest.mark.parametrize("asked", ["bytes=1000-", "bytes=1000-1999", "bytes=-1000"])
def test_a_range_that_is_answered_200_is_206_here(
    proxied: World, s3_proxy: S3Proxy, path: str, asked: str
) -> None:
    """rclone sends the range, and says so in Content-Range only."""
    s3_proxy.fail(GET_OBJECT, Rewrite(200))
    expected = {"bytes=1000-": BODY[1000:], "bytes=-1000": BODY[-1000:]}
    answer = get(proxied.client, path, Range=asked)
    assert (answer.status, answer.body) == (206, expected.get(asked, BODY[1000:2000]))


@pytest.mark.parametrize("asked", ["bytes=1000000-", "bytes=0-999", "bytes=1000-1999", "bytes=-9"])
def test_of_a_store_that_knows_no_ranges_the_beginning_is_thrown_away(
    proxied: World, s3_proxy: S3Proxy, path: str, asked: str
) -> None:
    whole = Rewrite(200, without=frozenset({"content-range"}), body=BODY)
    s3_proxy.fail(GET_OBJECT, whole, times=None)
    first, _, last = asked.removeprefix("bytes=").partition("-")
    expected = BODY[int(first) : int(last or SIZE) + 1] if first else BODY[-int(last) :]
    answer = get(proxied.client, path, Range=asked)
    assert (answer.status, answer.body == expected) == (206, True)


def test_there_a_break_is_healed_too(proxied: World, s3_proxy: S3Proxy, path: str) -> None:
    whole = Rewrite(200, without=frozenset({"content-range"}), body=BODY)
    s3_proxy.fail(GET_OBJECT, Break(MIB))
    s3_proxy.fail(GET_OBJECT, whole, nth=2)
    assert get(proxied.client, path).body == BODY


@pytest.mark.parametrize(
    "said", ["bytes 0-9/100", "bytes 5-9/100", "nonsense", "bytes 9-5/100", "bytes 10-999/100"]
)
def test_bytes_that_nobody_asked_for_are_not_handed_out(
    proxied: World, s3_proxy: S3Proxy, path: str, said: str
) -> None:
    wrong = Rewrite(206, also={"content-range": said}, body=b"0123456789")
    s3_proxy.fail(GET_OBJECT, wrong, times=None)
    answer = get(proxied.client, path, Range="bytes=10-19")
    assert (answer.status, answer.code) == (500, "storage_refused")


def test_conditions_that_the_store_does_not_know_are_judged_here(
    proxied: World, s3_proxy: S3Proxy, path: str
) -> None:
    etag = get(proxied.client, path, Range="bytes=0-0").headers["ETag"]
    plain = Rewrite(200, also={"etag": etag}, without=frozenset({"content-range"}), body=BODY)
    s3_proxy.fail(GET_OBJECT, plain, times=None)
    assert get(proxied.client, path, **{"If-None-Match": etag}).status == 304
    assert get(proxied.client, path, **{"If-Match": '"other"'}).status == 412


def ends_early(client: RawClient, path: str) -> bytes:
    """What comes of a body that is broken off."""
    with client.connect() as connection:
        connection.send_head("GET", path)
        return rest_of(connection)


def rest_of(connection: RawConnection) -> bytes:
    with pytest.raises((ConnectionEnded, ConnectionResetError)):
        connection.read_response("GET")
    return connection.unread()
