"""Lines 13 to 16, in bytes: POST, the address it gives, its lengths and its body."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.support.hosting import served_alone
from tests.support.server import StoreSettings
from tests.support.waiting import eventually
from tests.support.wire_bytes import Peer, chunk, octets
from tests.support.world import World

VERSION = "Tus-Resumable: 1.0.0"
BYTES = "Content-Type: application/offset+octet-stream"
CHUNKED = "Transfer-Encoding: chunked"
END = chunk(b"") + b"\r\n"
MAXIMUM = 100
"""What `guarded` takes."""


def test_line_13_post_is_201_with_location_and_offset(peer: Peer) -> None:
    for line in ("Upload-Length: 6", "Upload-Length: 0", "Upload-Defer-Length: 1"):
        for framing in ("X-None: 1", "Content-Length: 0"):
            answer = peer.post(line, framing)
            assert (answer.status, answer.offset, answer.body) == (201, 0, b"")
            assert answer.path.startswith("/files/")
    stored = peer.post("Upload-Length: 6", BYTES, "Content-Length: 3", body=b"abc")
    assert (stored.status, stored.offset) == (201, 3)


@pytest.mark.parametrize(
    "lines",
    [
        [],
        ["Upload-Length: 5", "Upload-Defer-Length: 1"],
        ["Upload-Defer-Length: 0"],
        ["Upload-Defer-Length: 2"],
        ["Upload-Defer-Length:"],
        ["Upload-Defer-Length: 1", "Upload-Defer-Length: 1"],
    ],
)
def test_line_13_anything_but_one_length_or_its_deferral_is_400(
    world: World, peer: Peer, lines: list[str]
) -> None:
    with world.unchanged():
        answer = peer.post(*lines)
        assert (answer.status, answer.code) == (400, "invalid_header")


def test_line_13_over_the_maximum_is_413_when_the_length_is_declared(
    world: World, guarded: Peer
) -> None:
    with world.unchanged():
        for length in (MAXIMUM + 1, 10**17):
            answer = guarded.post(f"Upload-Length: {length}")
            assert (answer.status, answer.code) == (413, "upload_too_large")
    path = guarded.post(f"Upload-Length: {MAXIMUM}").path
    assert guarded.patch(path, 0, b"x" * MAXIMUM).status == 204


def test_line_13_over_the_maximum_is_413_when_the_length_is_declared_late(
    world: World, guarded: Peer
) -> None:
    path = guarded.post("Upload-Defer-Length: 1").path
    assert guarded.patch(path, 0, b"abc").offset == 3
    with world.unchanged():
        for body in (b"", b"d"):
            answer = guarded.patch(path, 3, body, f"Upload-Length: {MAXIMUM + 1}")
            assert (answer.status, answer.code) == (413, "upload_too_large")
    assert guarded.patch(path, 3, b"", f"Upload-Length: {MAXIMUM}").status == 204


def test_line_13_over_the_maximum_is_413_when_no_length_is_declared(guarded: Peer) -> None:
    path = guarded.post("Upload-Defer-Length: 1").path
    too_long = b"x" * (MAXIMUM + 1)
    target = (f"PATCH {path} HTTP/1.1", "Host: tus", VERSION, BYTES, "Upload-Offset: 0")
    for answer in (
        guarded.patch(path, 0, too_long),
        guarded.ask(*target, CHUNKED, body=chunk(too_long) + END),
        guarded.post("Upload-Defer-Length: 1", BYTES, CHUNKED, body=chunk(too_long) + END),
        guarded.post(
            "Upload-Defer-Length: 1", BYTES, f"Content-Length: {len(too_long)}", body=too_long
        ),
    ):
        assert (answer.status, answer.code) == (413, "upload_too_large")
    assert guarded.head(path).offset <= MAXIMUM


def location(peer: Peer, *lines: str) -> str:
    """`Location` of a new upload, up to its id."""
    answer = peer.ask(
        f"POST {peer.base} HTTP/1.1", VERSION, "Upload-Length: 3", "Content-Length: 0", *lines
    )
    assert answer.status == 201, answer
    found = re.fullmatch(r"(.*/)[A-Za-z0-9_-]{22}", answer.fields["location"])
    assert found is not None, answer
    return found[1]


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "u.example.com", "[::1]:80"])
def test_line_14_location_is_absolute_and_of_the_host_that_was_asked(peer: Peer, host: str) -> None:
    assert location(peer, f"Host: {host}") == f"http://{host}/files/"


FORWARDED = {
    ("X-Forwarded-Proto: https",): "https://app/files/",
    ("X-Forwarded-Proto: https", "X-Forwarded-Host: u.example"): "https://u.example/files/",
    ("X-Forwarded-Proto: https", "X-Forwarded-Port: 8443"): "https://app:8443/files/",
    ("X-Forwarded-Prefix: /storage",): "http://app/storage/files/",
    ('Forwarded: for=1.2.3.4;host="u.example:81";proto=https',): "https://u.example:81/files/",
}


@pytest.mark.parametrize("lines", FORWARDED)
def test_line_14_a_trusted_proxy_says_where_clients_are(peer: Peer, lines: tuple[str, ...]) -> None:
    assert location(peer, "Host: app", *lines) == FORWARDED[lines]


@pytest.mark.parametrize("lines", FORWARDED)
def test_line_14_nobody_else_is_believed(guarded: Peer, lines: tuple[str, ...]) -> None:
    assert location(guarded, "Host: app", *lines) == "http://app/files/"


@pytest.fixture
def published(stores: StoreSettings) -> Iterator[Peer]:
    """A server that was told its public address."""
    with served_alone(stores, public_url="https://u.example.com/storage/") as port:
        yield Peer(("127.0.0.1", port))


def test_line_14_a_public_url_is_final(published: Peer) -> None:
    for lines in FORWARDED:
        assert location(published, "Host: app", *lines) == "https://u.example.com/storage/"


def test_line_15_a_length_of_zero_is_complete_at_creation(world: World, peer: Peer) -> None:
    for lines in (
        (),
        (BYTES, "Content-Length: 0"),
        (BYTES, CHUNKED),
    ):
        answer = peer.post("Upload-Length: 0", *lines, body=END if CHUNKED in lines else b"")
        assert (answer.status, answer.offset) == (201, 0)
        assert "upload-expires" not in answer.fields, "what is complete does not expire"
        assert world.object_of(answer.path) == b""
        head = peer.head(answer.path)
        assert (head.offset, head.fields["upload-length"]) == (0, "0")


@pytest.mark.parametrize("kind", [BYTES, BYTES + "; charset=utf-8", BYTES.upper()])
def test_line_16_a_body_of_the_type_is_the_first_chunk(world: World, peer: Peer, kind: str) -> None:
    for lines, body in (
        (("Content-Length: 3",), b"abc"),
        ((CHUNKED,), chunk(b"ab") + chunk(b"c") + END),
    ):
        answer = peer.post("Upload-Length: 6", kind, *lines, body=body)
        assert (answer.status, answer.offset) == (201, 3)
        assert peer.patch(answer.path, 3, b"def").offset == 6
        assert world.object_of(answer.path) == b"abcdef"


def test_line_16_a_first_chunk_past_the_length_is_413_and_makes_nothing(
    world: World, peer: Peer
) -> None:
    with world.unchanged():
        for lines, body in (
            (("Content-Length: 4",), b"abcd"),
            ((CHUNKED,), chunk(b"ab") + chunk(b"cd") + END),
        ):
            answer = peer.post("Upload-Length: 3", BYTES, *lines, body=body)
            assert (answer.status, answer.code) == (413, "body_too_long")


@pytest.mark.parametrize("kind", ["X-None: 1", "Content-Type: application/json"])
def test_line_16_a_body_of_another_type_is_ignored(world: World, peer: Peer, kind: str) -> None:
    victim = peer.upload(3)
    hidden = octets(f"DELETE {victim} HTTP/1.1", "Host: tus", VERSION)
    answer = peer.post("Upload-Length: 3", kind, f"Content-Length: {len(hidden)}", body=hidden)
    assert (answer.status, answer.offset) == (201, 0)
    assert peer.patch(answer.path, 0, b"abc").offset == 3
    assert world.object_of(answer.path) == b"abc"
    assert peer.head(victim).status == 200


def test_line_16_a_first_chunk_cut_short_leaves_an_upload(world: World, peer: Peer) -> None:
    before = set(world.redis.keys())

    def made() -> set[str]:
        new = set(world.redis.keys()) - before
        return {found[1] for key in new if (found := re.search(r"{([A-Za-z0-9_-]{22})}", key))}

    with peer.connect() as wire:
        head = ("POST /files/ HTTP/1.1", "Host: tus", VERSION, "Upload-Length: 6", BYTES)
        wire.send(octets(*head, "Content-Length: 6") + b"abc")
        [upload_id] = eventually(made, what="the creation is recorded")
        wire.finish()
        answer = wire.rest()
    path = f"/files/{upload_id}"
    assert not answer or path.encode() in answer
    assert peer.head(path).offset == 3
    assert peer.patch(path, 3, b"def").offset == 6
    assert world.object_of(path) == b"abcdef"
