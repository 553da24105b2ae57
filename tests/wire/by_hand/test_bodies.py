"""Lines 9 to 12, in bytes: bodies that end early, two at once, refusals, and what errors say; and
line 21 of trailers that are nobody's business."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.support.faults import Answer as Fault
from tests.support.hosting import served_alone
from tests.support.s3_calls import S3Call
from tests.support.s3_proxy import S3Proxy
from tests.support.server import ServerProcess, StoreSettings
from tests.support.tus import id_of
from tests.support.waiting import eventually
from tests.support.wire_bytes import Peer, Wire, chunk, octets, patch_lines
from tests.support.world import World

UNKNOWN = "/files/AAAAAAAAAAAAAAAAAAAAAA"
VERSION = "Tus-Resumable: 1.0.0"
BYTES = "Content-Type: application/offset+octet-stream"
CHUNKED = "Transfer-Encoding: chunked"
EXPECT = "Expect: 100-continue"
CRLF = b"\r\n"
PAGE = "https://app.example"


def assert_held(world: World, path: str) -> None:
    """Wait until a request holds the upload; what came together with its head has then come."""
    lease = f"{{{id_of(path)}}}:lease"
    eventually(lambda: [key for key in world.redis.keys(id_of(path)) if key.endswith(lease)])


def begin(peer: Peer, path: str, *framing: str, body: bytes) -> Wire:
    """A PATCH at 0 whose body stops coming."""
    wire = peer.connect()
    wire.send(octets(*patch_lines(path, 0), *framing) + body)
    return wire


@pytest.mark.parametrize(
    ("framing", "body"),
    [("Content-Length: 6", b"abc"), (CHUNKED, chunk(b"ab") + b"3\r\nc")],
)
def test_line_09_what_came_of_a_body_that_is_cut_is_kept(
    world: World, peer: Peer, framing: str, body: bytes
) -> None:
    path = peer.upload(6)
    with begin(peer, path, framing, body=body) as wire:
        assert_held(world, path)
        wire.finish()
        wire.rest()
    assert peer.head(path).offset == 3
    assert peer.patch(path, 3, b"def").offset == 6
    assert world.object_of(path) == b"abcdef"


def test_line_09_a_silent_body_is_ended_and_kept(peer: Peer) -> None:
    declared, chunked = peer.upload(6), peer.upload(6)
    with (
        begin(peer, declared, "Content-Length: 6", body=b"abc") as first,
        begin(peer, chunked, CHUNKED, body=chunk(b"abc")) as second,
    ):
        first.assert_silent_for(1.0)
        for wire in (first, second):
            answer = wire.read("PATCH")
            assert (answer.status, answer.code) == (503, "body_timed_out")
    assert [peer.head(path).offset for path in (declared, chunked)] == [3, 3]


@pytest.mark.parametrize("newcomer", ["HEAD", "PATCH"])
def test_line_10_a_newcomer_interrupts_the_holder(world: World, peer: Peer, newcomer: str) -> None:
    path = peer.upload(6)
    with begin(peer, path, "Content-Length: 6", body=b"abc") as wire:
        assert_held(world, path)
        answer = peer.head(path) if newcomer == "HEAD" else peer.patch(path, 3, b"def")
        interrupted = wire.read("PATCH")
    assert (interrupted.status, interrupted.code) == (423, "upload_interrupted")
    expected = (200, 3) if newcomer == "HEAD" else (204, 6)
    assert (answer.status, answer.offset) == expected


def test_line_10_a_lease_that_cannot_be_had_in_time_is_423(
    world: World, server: ServerProcess, peer: Peer, guarded: Peer
) -> None:
    # The holder is frozen, so it cannot let go, and its lease lasts longer than `guarded` waits.
    path = peer.upload(6)
    with begin(peer, path, "Content-Length: 6", body=b"abc") as wire:
        assert_held(world, path)
        server.freeze()
        try:
            answers = [guarded.head(path), guarded.patch(path, 3, b"def"), guarded.delete(path)]
        finally:
            server.thaw()
        assert [answer.status for answer in answers] == [423, 423, 423]
        assert {answer.code for answer in answers[1:]} == {"upload_locked"}
        assert not [answer for answer in answers if "upload-offset" in answer.fields]
        wire.read("PATCH")
    assert peer.head(path).offset == 3


def refused(path: str, framing: str) -> dict[int, tuple[str, ...]]:
    """Requests whose heads are reason enough to refuse them, by the status to expect."""
    patch = (f"PATCH {path} HTTP/1.1", "Host: tus", framing)
    return {
        400: (*patch, VERSION, BYTES, "Upload-Offset: x"),
        404: (f"PATCH {UNKNOWN} HTTP/1.1", "Host: tus", framing, VERSION, BYTES,
              "Upload-Offset: 0"),
        405: (f"PUT {path} HTTP/1.1", "Host: tus", framing, VERSION),
        409: (*patch, VERSION, BYTES, "Upload-Offset: 5"),
        412: (*patch, BYTES, "Upload-Offset: 0"),
        415: (*patch, VERSION, "Upload-Offset: 0"),
        431: ("POST /files/ HTTP/1.1", "Host: tus", framing, VERSION, BYTES,
              "Upload-Length: 9", "Upload-Metadata: k " + "A" * 9000),
    }  # fmt: skip


STATUSES = [400, 404, 405, 409, 412, 415, 431]


@pytest.mark.parametrize("framing", ["Content-Length: 5", CHUNKED])
@pytest.mark.parametrize("status", STATUSES)
def test_line_11_a_refusal_comes_before_the_body_and_without_a_100(
    world: World, peer: Peer, status: int, framing: str
) -> None:
    path = peer.upload(10)
    with world.unchanged(), peer.connect() as wire:
        wire.send(octets(*refused(path, framing)[status], EXPECT))
        answer = wire.read("PATCH")
        assert (answer.status, answer.interim) == (status, ())
        assert answer.fields["connection"] == "close"
        assert wire.rest() == b"", "the client may send the body now, or never: it must not stay"


@pytest.mark.parametrize("status", STATUSES)
def test_line_11_the_body_of_a_refused_request_is_never_a_request(peer: Peer, status: int) -> None:
    path, victim = peer.upload(10), peer.upload(10)
    hidden = octets(f"DELETE {victim} HTTP/1.1", "Host: tus", VERSION)
    for framing, body in (
        (f"Content-Length: {2 * len(hidden)}", hidden + hidden),
        (CHUNKED, chunk(hidden) + chunk(b"") + CRLF),
    ):
        head = refused(path, framing)[status]
        # A body that is also too long may be refused for that.
        assert peer.ask(*head, body=body).status in {status, 413}
    assert peer.head(victim).status == 200


def test_line_11_a_chunked_body_may_wait_for_its_100(world: World, peer: Peer) -> None:
    path = peer.upload(6)
    with peer.connect() as wire:
        wire.send(octets(*patch_lines(path, 0), CHUNKED, EXPECT))
        assert wire.read_interim() == 100
        wire.send(chunk(b"abc") + chunk(b"def") + chunk(b"") + CRLF)
        answer = wire.read("PATCH")
        assert (answer.status, answer.offset) == (204, 6)
        wire.send(octets(f"HEAD {path} HTTP/1.1", "Host: tus", VERSION))
        assert wire.read("HEAD").offset == 6, "the connection goes on behind the last chunk"
    assert world.object_of(path) == b"abcdef"


def test_line_11_requests_sent_at_once_are_answered_in_order(peer: Peer) -> None:
    path = peer.upload(6)
    with peer.connect() as wire:
        wire.send(
            octets(*patch_lines(path, 0), CHUNKED) + chunk(b"abc") + chunk(b"") + CRLF
            + octets(*patch_lines(path, 3), "Content-Length: 3") + b"def"
            + octets(f"HEAD {path} HTTP/1.1", "Host: tus", VERSION)
        )  # fmt: skip
        assert [wire.read("PATCH").offset, wire.read("PATCH").offset] == [3, 6]
        assert wire.read("HEAD").offset == 6


OTHER_TRAILERS = (
    "Upload-Offset: 9",
    "Upload-Length: 3",
    "Content-Type: text/plain",
    "Tus-Resumable: 0.2.2",
    "X-HTTP-Method-Override: DELETE",
    "Upload-Metadata: filename eA==",
)


@pytest.mark.parametrize("announced", [True, False])
@pytest.mark.parametrize("method", ["PATCH", "POST"])
def test_line_21_trailers_are_never_read_as_headers(
    peer: Peer, method: str, announced: bool
) -> None:
    names = ", ".join(line.partition(":")[0] for line in OTHER_TRAILERS)
    trailer = f"Trailer: {names}" if announced else "X-None: 1"
    body = chunk(b"abcd") + chunk(b"") + octets(*OTHER_TRAILERS)
    if method == "POST":
        answer = peer.post("Upload-Defer-Length: 1", BYTES, CHUNKED, trailer, body=body)
        path = answer.path
    else:
        path = peer.post("Upload-Defer-Length: 1").path
        answer = peer.ask(*patch_lines(path, 0), CHUNKED, trailer, body=body)
    assert (answer.status, answer.offset) == (201 if method == "POST" else 204, 4)
    head = peer.head(path)
    assert (head.offset, head.fields["upload-defer-length"]) == (4, "1")
    assert "upload-metadata" not in head.fields


@pytest.mark.parametrize("status", STATUSES)
def test_line_12_an_error_is_a_code_and_a_sentence_that_a_page_can_read(
    world: World, peer: Peer, status: int
) -> None:
    # That the text is `code: One sentence.` is checked of every answer.
    answer = peer.ask(*refused(peer.upload(10), "Content-Length: 0")[status], f"Origin: {PAGE}")
    assert answer.status == status
    assert answer.fields["access-control-allow-origin"] in {"*", PAGE}
    assert "upload-offset" in answer.tokens("access-control-expose-headers")
    shown = f"{answer.body!r} {answer.fields}"
    behind = (world.stores.bucket, world.stores.object_prefix, "edis", "Traceback", "amz")
    assert not [word for word in behind if word in shown]


@pytest.fixture
def failing(stores: StoreSettings, s3_proxy: S3Proxy) -> Iterator[Peer]:
    """A server whose S3 fails at every object, in words of its own."""
    through = replace(stores, s3_endpoint=s3_proxy.endpoint)
    with served_alone(through, s3_timeout="1s") as port:
        s3_proxy.fail(S3Call.PUT_OBJECT, Fault(500, "InternalError"), times=None)
        yield Peer(("127.0.0.1", port))
        s3_proxy.rules.clear()


def test_line_12_what_the_store_says_never_reaches_a_client(failing: Peer) -> None:
    path = failing.upload(3)
    answer = failing.patch(path, 0, b"abc", f"Origin: {PAGE}")
    assert answer.status in {500, 503}
    assert answer.code in {"storage_unavailable", "storage_refused"}
    assert answer.fields["access-control-allow-origin"] in {"*", PAGE}
    said = f"{answer.body!r} {answer.fields}"
    assert not [word for word in ("InternalError", "PutObject", "proxy", "127.0") if word in said]
