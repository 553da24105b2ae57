"""Lines 6 to 8, in bytes: PATCH, what refuses it, and what counts; and line 23 beside POST."""

from __future__ import annotations

import pytest

from tests.support.bodies import MIB, body_of, pieces
from tests.support.wire_bytes import Peer, chunk, octets, patch_lines
from tests.support.world import World

UNKNOWN = "/files/AAAAAAAAAAAAAAAAAAAAAA"
VERSION = "Tus-Resumable: 1.0.0"
CHUNKED = "Transfer-Encoding: chunked"
CRLF = b"\r\n"


@pytest.mark.parametrize(
    "line",
    ["X-None: 1", "Content-Type:", "Content-Type: application/octet-stream",
     "Content-Type: application/offset+octet-stream2"],
)  # fmt: skip
def test_line_06_another_content_type_is_415(world: World, peer: Peer, line: str) -> None:
    path = peer.upload(6, b"abc")
    head = (f"PATCH {path} HTTP/1.1", "Host: tus", VERSION, "Upload-Offset: 3")
    with world.unchanged():
        answer = peer.ask(*head, line, "Content-Length: 3", body=b"def")
        assert (answer.status, answer.code) == (415, "wrong_content_type")


@pytest.mark.parametrize("offset", [0, 2, 4, 6, 10**17])
def test_line_06_another_offset_is_409_with_the_true_one(
    world: World, peer: Peer, offset: int
) -> None:
    path = peer.upload(6, b"abc")
    with world.unchanged():
        answer = peer.patch(path, offset, b"d")
        assert (answer.status, answer.code) == (409, "offset_mismatch")
        assert answer.offset == 3, "TUSKit goes on from here"
        chunked = peer.ask(
            *patch_lines(path, offset), CHUNKED, body=chunk(b"d") + chunk(b"") + CRLF
        )
        assert (chunked.status, chunked.offset) == (409, 3)


def test_line_06_success_is_204_with_all_that_was_received(world: World, peer: Peer) -> None:
    body = body_of(9)
    path = peer.upload(9)
    first = peer.patch(path, 0, body[:4])
    assert (first.status, first.offset, first.body) == (204, 4, b"")
    rest = chunk(body[4:5]) + chunk(body[5:9]) + chunk(b"") + CRLF
    second = peer.ask(*patch_lines(path, 4), CHUNKED, body=rest)
    assert (second.status, second.offset) == (204, 9)
    assert world.object_of(path) == body


def test_line_06_an_unknown_upload_is_404(world: World, peer: Peer) -> None:
    with world.unchanged():
        answer = peer.patch(UNKNOWN, 0, b"abc")
        assert (answer.status, answer.code) == (404, "upload_not_found")
        assert "upload-offset" not in answer.fields


@pytest.mark.parametrize("sent", [b"", b"abc", b"abcdef"])
def test_line_06_a_declared_body_past_the_end_is_413(world: World, peer: Peer, sent: bytes) -> None:
    path = peer.upload(6, sent)
    with world.unchanged():
        answer = peer.patch(path, len(sent), b"x" * (7 - len(sent)))
        assert (answer.status, answer.code) == (413, "body_too_long")


@pytest.mark.parametrize("cuts", [(10,), (3, 7), (6, 4), (1,) * 10])
def test_line_06_a_chunked_body_past_the_end_is_413_and_stores_nothing_past_it(
    world: World, peer: Peer, cuts: tuple[int, ...]
) -> None:
    path = peer.upload(6)
    body = b"".join(chunk(piece) for _, piece in pieces(b"abcdefGHIJ", cuts))
    answer = peer.ask(*patch_lines(path, 0), CHUNKED, body=body + chunk(b"") + CRLF)
    assert (answer.status, answer.code) == (413, "body_too_long")
    offset = peer.head(path).offset
    assert offset <= 6
    assert peer.patch(path, offset, b"abcdef"[offset:]).offset == 6
    assert world.object_of(path) == b"abcdef"


@pytest.mark.parametrize("size", [1, 999, 512_000, 2 * MIB])
def test_line_07_every_patch_below_a_part_counts_in_its_own_response(peer: Peer, size: int) -> None:
    # Over one connection, as clients do. TUSKit sends 512,000 bytes at a time, go-tus 2 MiB.
    path = peer.post("Upload-Defer-Length: 1").path
    with peer.connect() as wire:
        for offset, piece in pieces(body_of(4 * size), [size]):
            wire.send(octets(*patch_lines(path, offset), f"Content-Length: {size}") + piece)
            answer = wire.read("PATCH")
            assert (answer.status, answer.offset) == (204, offset + size)
            wire.send(octets(f"HEAD {path} HTTP/1.1", "Host: tus", VERSION))
            assert wire.read("HEAD").offset == offset + size


@pytest.mark.parametrize("length", [0, 3])
def test_line_08_an_empty_patch_to_a_finished_upload_is_204(
    world: World, peer: Peer, length: int
) -> None:
    path = peer.upload(length, b"abc"[:length])
    ends = patch_lines(path, length)
    for answer in (
        peer.patch(path, length, b""),
        peer.patch(path, length, b"", f"Upload-Length: {length}"),
        peer.ask(*ends, CHUNKED, body=chunk(b"") + CRLF),
    ):
        assert (answer.status, answer.offset) == (204, length)
    assert world.object_of(path) == b"abc"[:length]


@pytest.mark.parametrize("value", ["partial", f"final;{UNKNOWN}", "neither"])
def test_line_23_upload_concat_is_ignored_beside_post(peer: Peer, value: str) -> None:
    # tus-js-client repeats it on every request of a partial.
    line = f"Upload-Concat: {value}"
    path = peer.upload(6)
    assert peer.head(path, line).offset == 0
    assert peer.patch(path, 0, b"abc", line).offset == 3
    assert "upload-concat" not in peer.head(path).fields
    assert peer.delete(path, line).status == 204
