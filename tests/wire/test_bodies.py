"""Lines 9 to 12: bodies that stop, refusals while a body is still coming, and how errors look."""

from __future__ import annotations

import pytest

from tests.support.bodies import KIB, MIB, body_of
from tests.support.raw import RawConnection, RawResponse
from tests.support.tus import OCTET_STREAM, TUS, RawClient, patch_headers
from tests.support.waiting import Stopwatch
from tests.support.world import World

UNKNOWN = "/files/AAAAAAAAAAAAAAAAAAAAAA"
EXPECT = {"Expect": "100-continue"}


def test_line_09_a_silent_body_is_ended_and_what_came_is_kept(client: RawClient) -> None:
    path = client.new_upload(10 * KIB)
    watch = Stopwatch()
    with client.begin_patch(path, 0, body_of(KIB), declared=10 * KIB) as connection:
        response = connection.read_response()
    assert (response.status, response.code) == (503, "body_timed_out")
    assert watch.elapsed_s >= 1.5, "the network timeout is 2 s"
    assert client.offset_of(path) == KIB


def test_line_09_a_body_that_never_begins_is_ended_too(client: RawClient) -> None:
    path = client.new_upload(10)
    with client.begin_patch(path, 0, b"", declared=10) as connection:
        response = connection.read_response()
    assert (response.status, response.code) == (503, "body_timed_out")
    assert client.offset_of(path) == 0


def test_line_09_a_slow_body_that_is_never_silent_is_not_ended(client: RawClient) -> None:
    path = client.new_upload(6)
    with client.begin_patch(path, 0, b"a", declared=6) as connection:
        for byte in (b"b", b"c", b"d", b"e", b"f"):
            connection.assert_silent_for(0.7)
            connection.send(byte)
        response = connection.read_response()
    assert (response.status, response.offset) == (204, 6)


def test_line_09_a_silent_chunked_body_is_ended_and_what_came_is_kept(world: World) -> None:
    client = world.client
    path = client.new_upload(None)
    with client.begin_patch(path, 0, b"abc", declared=None) as connection:
        response = connection.read_response()
    assert (response.status, response.code) == (503, "body_timed_out")
    assert client.offset_of(path) == 3
    client.upload_from(path, b"abcdef")
    assert client.patch(path, 6, b"", {"Upload-Length": "6"}).status == 204
    assert world.object_of(path) == b"abcdef"


def test_line_10_a_newcomer_patch_takes_over_and_the_holder_gets_423(world: World) -> None:
    client = world.client
    path = client.new_upload(6)
    with client.begin_patch(path, 0, b"abc", declared=6) as holder:
        holder.assert_silent_for(0.3)
        watch = Stopwatch()
        newcomer = client.patch(path, 3, b"def")
        assert watch.elapsed_s < 1.5
        interrupted = holder.read_response()
    assert (newcomer.status, newcomer.offset) == (204, 6)
    assert (interrupted.status, interrupted.code) == (423, "upload_interrupted")
    assert world.object_of(path) == b"abcdef"


def test_line_10_a_newcomer_with_a_stale_offset_is_told_the_true_one(client: RawClient) -> None:
    path = client.new_upload(6)
    with client.begin_patch(path, 0, b"abc", declared=6) as holder:
        holder.assert_silent_for(0.3)
        newcomer = client.patch(path, 0, b"abc")
        assert holder.read_response().status == 423
    assert (newcomer.status, newcomer.offset) == (409, 3)


def refusals(path: str) -> dict[str, tuple[str, dict[str, str]]]:
    """PATCHes that must be refused on their headers alone, with the status to expect."""
    good = patch_headers(0, 10)
    no_version = {name: value for name, value in good.items() if name != "Tus-Resumable"}
    return {
        "412": (path, no_version),
        "415": (path, good | {"Content-Type": "text/plain"}),
        "400": (path, good | {"Upload-Offset": "x"}),
        "409": (path, good | {"Upload-Offset": "5", "Content-Length": "5"}),
        "413": (path, good | {"Content-Length": "11"}),
        "404": (UNKNOWN, good),
    }


@pytest.mark.parametrize("status", ["412", "415", "400", "409", "413", "404"])
def test_line_11_a_refusal_comes_before_the_body_and_without_a_100(
    world: World, status: str
) -> None:
    path = world.client.new_upload(10)
    target, headers = refusals(path)[status]
    with world.unchanged(), world.client.connect() as connection:
        connection.send_head("PATCH", target, headers | EXPECT)
        response = connection.read_response(within_s=3.0)
    assert response.status == int(status)
    assert response.interim == ()


@pytest.mark.parametrize("status", ["412", "415", "400", "409", "404"])
def test_line_11_a_refused_chunked_body_gets_no_100_either(client: RawClient, status: str) -> None:
    path = client.new_upload(10)
    target, headers = refusals(path)[status]
    del headers["Content-Length"]
    with client.connect() as connection:
        connection.send_head("PATCH", target, headers | {"Transfer-Encoding": "chunked"} | EXPECT)
        response = connection.read_response(within_s=3.0)
    assert response.status == int(status)
    assert response.interim == ()


def test_line_11_a_welcome_body_gets_its_100(client: RawClient) -> None:
    path = client.new_upload(6)
    chunked = patch_headers(0, None) | EXPECT
    with client.connect() as connection:
        connection.send_head("PATCH", path, chunked)
        assert connection.read_interim() == 100
        connection.send_chunk(b"abcdef")
        connection.end_chunks()
        response = connection.read_response()
    assert (response.status, response.offset) == (204, 6)


def test_line_11_a_refused_post_gets_no_100(client: RawClient) -> None:
    headers = TUS | {"Content-Type": OCTET_STREAM, "Content-Length": "5", "Upload-Length": "4"}
    with client.connect() as connection:
        connection.send_head("POST", "/files/", headers | EXPECT)
        response = connection.read_response(within_s=3.0)
    assert response.status == 413
    assert response.interim == ()


def assert_only_one_answer(connection: RawConnection) -> None:
    """The connection closes, or swallows the rest: in no case is there a second answer."""
    try:
        rest = connection.read_until_closed(within_s=4.0)
    except TimeoutError:
        return
    assert rest == b"", rest


@pytest.mark.parametrize("status", ["412", "415", "409", "413", "404"])
@pytest.mark.parametrize("expect", [{}, EXPECT])
def test_line_11_the_rest_of_a_refused_body_is_never_read_as_a_request(
    world: World, status: str, expect: dict[str, str]
) -> None:
    client = world.client
    path = client.new_upload(10)
    hidden = b"DELETE %s HTTP/1.1\r\nHost: x\r\nTus-Resumable: 1.0.0\r\n\r\n" % path.encode()
    target, headers = refusals(path)[status]
    headers |= {"Content-Length": f"{max(len(hidden) * 3, 11)}"} | expect
    with client.connect() as connection:
        connection.send_head("PATCH", target, headers)
        # A body that is also too long now may be refused for that.
        assert connection.read_response(within_s=3.0).status in {int(status), 413}
        connection.send_until_closed(hidden * 3)
        assert_only_one_answer(connection)
    assert client.head(path).status == 200


def test_line_11_a_request_hidden_in_a_refused_body_sent_at_once(world: World) -> None:
    client = world.client
    path = client.new_upload(10)
    hidden = b"DELETE %s HTTP/1.1\r\nHost: x\r\nTus-Resumable: 1.0.0\r\n\r\n" % path.encode()
    with client.connect() as connection:
        headers = patch_headers(0, len(hidden)) | {"Content-Type": "text/plain"}
        connection.send(connection.head_bytes("PATCH", path, headers) + hidden)
        assert connection.read_response().status == 415
        assert_only_one_answer(connection)
    assert client.head(path).status == 200


def test_line_11_a_refused_endless_body_is_cut_off(client: RawClient) -> None:
    path = client.new_upload(10)
    body = body_of(MIB)
    headers = patch_headers(0, 10**12)
    with client.connect() as connection:
        connection.send_head("PATCH", path, headers)
        connection.send(body[: 16 * KIB])
        assert connection.read_response().status == 413
        sent = 0
        while (taken := connection.send_until_closed(body)) == len(body):
            sent += taken
            assert sent < 256 * MIB, "the server swallows a refused body for ever"


@pytest.mark.parametrize("size", [64 * KIB, MIB])
def test_line_11_the_refusal_of_a_body_in_flight_can_be_read(client: RawClient, size: int) -> None:
    path = client.new_upload(10)
    responses = [client.patch(path, 5, body_of(size)) for _ in range(10)]
    assert {response.status for response in responses} <= {409, 413}


def test_line_11_a_good_request_leaves_the_connection_usable(client: RawClient) -> None:
    path = client.new_upload(6)
    with client.connect() as connection:
        for offset, piece in ((0, b"abc"), (3, b"def")):
            connection.send_head("PATCH", path, patch_headers(offset, 3))
            connection.send(piece)
            assert connection.read_response().offset == offset + 3
        connection.send_head("HEAD", path, TUS)
        assert connection.read_response("HEAD").offset == 6


def test_line_11_pipelined_requests_are_answered_in_order(client: RawClient) -> None:
    path = client.new_upload(6)
    with client.connect() as connection:
        first = connection.head_bytes("PATCH", path, patch_headers(0, 3)) + b"abc"
        second = connection.head_bytes("PATCH", path, patch_headers(3, 3)) + b"def"
        third = connection.head_bytes("HEAD", path, TUS)
        connection.send(first + second + third)
        assert connection.read_response().offset == 3
        assert connection.read_response().offset == 6
        assert connection.read_response("HEAD").offset == 6


def test_line_11_both_framings_at_once_are_refused(world: World) -> None:
    path = world.client.new_upload(10)
    headers = patch_headers(0, 5) | {"Transfer-Encoding": "chunked"}
    with world.unchanged(), world.client.connect() as connection:
        connection.send_head("PATCH", path, headers)
        connection.send_until_closed(b"3\r\nabc\r\n0\r\n\r\n")
        assert connection.read_response().status == 400


@pytest.mark.parametrize("junk", [b"zz\r\nabc\r\n", b"-1\r\nabc\r\n", b"3\r\nabcdef\r\n"])
def test_line_11_malformed_chunks_never_count_as_a_whole_body(world: World, junk: bytes) -> None:
    client = world.client
    path = client.new_upload(10)
    with client.begin_patch(path, 0, b"ab", declared=None) as connection:
        connection.send_until_closed(junk)
        connection.read_until_closed()
    offset = client.offset_of(path)
    assert offset in {0, 2, 5}
    client.upload_from(path, b"abcdefghij")
    assert world.object_of(path)[offset:] == b"abcdefghij"[offset:]


def with_trailers(connection: RawConnection, head: bytes, trailers: dict[str, str]) -> None:
    """Send a whole request with the chunked body `abc` and trailers, in one piece."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in trailers.items())
    connection.send(head + b"3\r\nabc\r\n0\r\n" + lines.encode() + b"\r\n")


def test_line_11_trailers_of_a_patch_are_not_its_headers(world: World) -> None:
    client = world.client
    path = client.new_upload(None)
    trailers = {"Upload-Length": "3", "Upload-Offset": "9", "Content-Type": "a/b"}
    with client.connect() as connection:
        head = connection.head_bytes("PATCH", path, patch_headers(0, None))
        with_trailers(connection, head, trailers)
        response = connection.read_response()
    assert (response.status, response.offset) == (204, 3)
    assert client.head(path).headers["Upload-Defer-Length"] == "1"


@pytest.mark.parametrize("name", ["X-HTTP-Method-Override", "Tus-Resumable"])
def test_line_11_trailers_make_no_other_request_of_a_post(world: World, name: str) -> None:
    client = world.client
    path = client.new_upload(10)
    headers = {"Transfer-Encoding": "chunked", "Trailer": name} | TUS
    trailers = {"X-HTTP-Method-Override": "DELETE", "Tus-Resumable": "1.0.0"}
    if name == "Tus-Resumable":
        headers = {"Transfer-Encoding": "chunked", "X-HTTP-Method-Override": "DELETE"}
    with world.unchanged(), client.connect() as connection:
        head = connection.head_bytes("POST", path, headers)
        with_trailers(connection, head, {name: trailers[name]})
        assert connection.read_response("POST").status in {405, 412}
    assert client.head(path).status == 200


UPGRADES = ["h2c", "websocket", "TLS/1.0"]


@pytest.mark.parametrize("protocol", UPGRADES)
def test_line_11_an_offered_upgrade_costs_no_byte(client: RawClient, protocol: str) -> None:
    # Some HTTP clients offer HTTP/2 with their first request. A server may ignore the offer, and
    # may refuse it; what it may not do is answer 204 and leave the body aside.
    path = client.new_upload(6)
    offer = {"Connection": "Upgrade", "Upgrade": protocol}
    response = client.patch(path, 0, b"abcdef", offer)
    if response.status == 204:
        assert response.offset == 6
    assert client.offset_of(path) == (6 if response.status == 204 else 0)


@pytest.mark.parametrize("protocol", UPGRADES)
def test_line_11_a_body_behind_an_offered_upgrade_is_never_a_request(
    client: RawClient, protocol: str
) -> None:
    victim, path = client.new_upload(10), client.new_upload(1000)
    hidden = b"DELETE %s HTTP/1.1\r\nHost: x\r\nTus-Resumable: 1.0.0\r\n\r\n" % victim.encode()
    offer = {"Connection": "Upgrade", "Upgrade": protocol}
    with client.connect() as connection:
        connection.send_head("PATCH", path, patch_headers(0, len(hidden)) | offer)
        connection.read_response_or_none(within_s=0.5)
        connection.send_until_closed(hidden)
        connection.read_response_or_none(within_s=1.0)
    assert client.head(victim).status == 200


def errors(world: World) -> list[tuple[int, str, RawResponse]]:
    """One response of every kind that headers alone can provoke, with its status and code."""
    client = world.client
    path = client.new_upload(10)
    long = {"Upload-Metadata": "k " + "A" * 9000}
    many = {"Upload-Offset": "1" * 2000}
    return [
        (400, "invalid_header", client.create(5, headers={"Upload-Length": "x"})),
        (400, "length_conflict", client.patch(path, 0, b"", {"Upload-Length": "11"})),
        (404, "not_found", client.request("GET", "/nowhere")),
        (404, "upload_not_found", client.patch(UNKNOWN, 0, b"a")),
        (405, "method_not_allowed", client.request("PUT", path, TUS)),
        (409, "offset_mismatch", client.patch(path, 1, b"a")),
        (412, "unsupported_version", client.request("DELETE", path)),
        (413, "body_too_long", client.patch(path, 0, b"a" * 11)),
        (415, "wrong_content_type", client.patch(path, 0, b"a", {"Content-Type": "a/b"})),
        (431, "header_too_long", client.create(5, headers=long)),
        (431, "header_too_long", client.patch(path, 0, b"a", many)),
    ]


def test_line_12_every_error_is_a_code_and_one_sentence(world: World) -> None:
    for status, code, response in errors(world):
        assert response.status == status, response
        assert response.headers["Content-Type"].startswith("text/plain")
        text = response.body.decode()
        assert text.startswith(f"{code}: "), text
        assert text.endswith(".\n")
        assert text.count("\n") == 1


def test_line_12_no_error_shows_what_stands_behind_the_server(world: World) -> None:
    behind = [world.stores.bucket, world.stores.object_prefix, "redis", "Traceback", "amz"]
    for _, _, response in errors(world):
        shown = response.body.decode() + repr(response.headers)
        assert not [secret for secret in behind if secret in shown], shown
