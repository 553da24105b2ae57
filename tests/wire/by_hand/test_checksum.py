"""Lines 20 and 21, in bytes: bodies with a digest, before them or behind them."""

from __future__ import annotations

import pytest

from tests.support.bodies import PART_BYTES, body_of
from tests.support.tus import id_of
from tests.support.waiting import eventually
from tests.support.wire_bytes import Answer, Peer, chunk, octets, patch_lines
from tests.support.world import World

BYTES = "Content-Type: application/offset+octet-stream"
CHUNKED = "Transfer-Encoding: chunked"
ANNOUNCED = "Trailer: Upload-Checksum"
BODY = b"hello world"
DIGESTS = {
    "sha1": "Kq5sNclPz7QV2+lfQIuc6R7oRu0=",
    "md5": "XrY7u+Ae7tCTyyK7j1rNww==",
    "sha256": "uU0nuZNNPgilLlLX2n2r+sSE7+N6U4DukIj3rOLvzek=",
    "sha512": (
        "MJ7MSJwS1utMxA9QyQLytNDtd+5RGnx6m808qG1M2G+YndNbxf9JlnDaNCVbRbDP2DDoH2Bdz33FVC6TrpzXbw=="
    ),
    "crc32": "DUoRhQ==",
    "crc32c": "yZRlqg==",
}
"""Of BODY, computed elsewhere; CRCs as four bytes, the most significant first."""

OF_ABC = "qZk+NkcGgWq6PiVxeFDCbJzQ2J0="
OF_NOTHING = "2jmj7l5rSw0yVb/vlWAYkK/YBwk="
SHA1 = f"Upload-Checksum: sha1 {DIGESTS['sha1']}"
WRONG = f"Upload-Checksum: sha1 {OF_ABC}"

UNREADABLE = [
    "sha3 qZk+NkcGgWq6PiVxeFDCbJzQ2J0=",
    "crc64 AAAAAAAAAAA=",
    "sha1",
    "sha1 ",
    "",
    "qZk+NkcGgWq6PiVxeFDCbJzQ2J0=",
    "sha1 qZk+NkcGgWq6PiVxeFDCbJzQ2J0",
    "sha1 -Zk_NkcGgWq6PiVxeFDCbJzQ2J0=",
    "sha1 qZk+NkcGgWq6PiVxeFDCbJzQ2J0= x",
    "sha1:qZk+NkcGgWq6PiVxeFDCbJzQ2J0=",
    "sha1 a9993e364706816aba3e25717850c26c9cd0d89d",
]
"""No algorithm that is known, or no base64 of a digest of it."""


def assert_mismatch(answer: Answer) -> None:
    assert answer.status == 460
    assert answer.code.startswith("checksum")


def test_line_20_options_names_the_algorithms(peer: Peer) -> None:
    answer = peer.ask("OPTIONS /files/ HTTP/1.1", "Host: tus")
    assert "checksum" in answer.fields["tus-extension"].split(",")
    assert set(DIGESTS) <= set(answer.fields["tus-checksum-algorithm"].split(","))


@pytest.mark.parametrize("algorithm", DIGESTS)
def test_line_20_a_body_that_agrees_counts(world: World, peer: Peer, algorithm: str) -> None:
    path = peer.upload(len(BODY))
    said = f"Upload-Checksum: {algorithm} {DIGESTS[algorithm]}"
    answer = peer.patch(path, 0, BODY, said)
    assert (answer.status, answer.offset) == (204, len(BODY))
    assert world.object_of(path) == BODY


@pytest.mark.parametrize("algorithm", DIGESTS)
def test_line_20_a_body_that_does_not_agree_is_460_and_never_used(
    world: World, peer: Peer, algorithm: str
) -> None:
    said = f"Upload-Checksum: {algorithm} {DIGESTS[algorithm]}"
    for after in (BODY, b"HELLO WORLD"):
        path = peer.upload(len(BODY))
        with world.unchanged():
            assert_mismatch(peer.patch(path, 0, b"hello World", said))
            assert peer.head(path).offset == 0
        # The right bytes, or quite others, are taken at once.
        again = (said,) if after == BODY else ()
        assert peer.patch(path, 0, after, *again).offset == len(BODY)
        assert world.object_of(path) == after


@pytest.mark.parametrize("value", UNREADABLE)
def test_line_20_an_unknown_algorithm_or_a_malformed_digest_is_400(
    world: World, peer: Peer, value: str
) -> None:
    path = peer.upload(3)
    with world.unchanged():
        for answer in (
            peer.patch(path, 0, b"abc", f"Upload-Checksum: {value}"),
            peer.post("Upload-Length: 3", BYTES, "Content-Length: 3", f"Upload-Checksum: {value}",
                      body=b"abc"),
        ):  # fmt: skip
            assert (answer.status, answer.code) == (400, "invalid_header")
    assert peer.patch(path, 0, b"abc").offset == 3


def test_line_20_two_checksums_are_400(world: World, peer: Peer) -> None:
    path = peer.upload(3)
    with world.unchanged():
        answer = peer.patch(path, 0, b"abc", f"Upload-Checksum: sha1 {OF_ABC}", WRONG)
        assert answer.status == 400


def test_line_20_a_400_comes_before_any_byte_of_the_body(peer: Peer) -> None:
    path = peer.upload(3)
    with peer.connect() as wire:
        unknown = "Upload-Checksum: sha3 AAAA"
        wire.send(octets(*patch_lines(path, 0), CHUNKED, unknown, "Expect: 100-continue"))
        answer = wire.read("PATCH")
    assert (answer.status, answer.interim) == (400, ())


def test_line_20_each_body_is_covered_for_itself(world: World, peer: Peer) -> None:
    path = peer.upload(11)
    first = "Upload-Checksum: sha1 xNhxrROtAP3pp7t/9+0lQ67FQkE="
    second = "Upload-Checksum: sha1 fCEUM/AgcVl3Qeb/Wo6jR4mrv0M="
    assert peer.patch(path, 0, b"hello ", first).offset == 6
    assert_mismatch(peer.patch(path, 6, b"world", SHA1))
    assert peer.head(path).offset == 6
    chunked = chunk(b"wor") + chunk(b"ld") + chunk(b"") + b"\r\n"
    answer = peer.ask(*patch_lines(path, 6), CHUNKED, second, body=chunked)
    assert (answer.status, answer.offset) == (204, 11)
    assert world.object_of(path) == b"hello world"


def test_line_20_an_empty_body_has_a_digest_too(peer: Peer) -> None:
    path = peer.upload(3, b"abc")
    answer = peer.patch(path, 3, b"", f"Upload-Checksum: sha1 {OF_NOTHING}")
    assert (answer.status, answer.offset) == (204, 3)
    assert_mismatch(peer.patch(path, 3, b"", WRONG))


@pytest.mark.parametrize("size", [PART_BYTES + 9, 2 * PART_BYTES + 9])
def test_line_20_no_byte_of_a_long_body_is_used_before_its_digest_agrees(
    world: World, peer: Peer, size: int
) -> None:
    body, other = body_of(size), body_of(size, seed=1)
    path = peer.upload(size)
    assert_mismatch(peer.patch(path, 0, other, WRONG))
    assert peer.head(path).offset == 0
    # Were parts of the refused body still there, they would be the object's.
    assert peer.patch(path, 0, body[:PART_BYTES]).offset == PART_BYTES
    assert_mismatch(peer.patch(path, PART_BYTES, other[PART_BYTES:], WRONG))
    assert peer.patch(path, PART_BYTES, body[PART_BYTES:]).offset == size
    assert world.object_of(path) == body


@pytest.mark.parametrize("size", [100, 2 * PART_BYTES])
@pytest.mark.parametrize("end", ["cut", "newcomer"])
def test_line_20_nothing_is_kept_of_an_interrupted_body(
    world: World, peer: Peer, size: int, end: str
) -> None:
    body = body_of(size)
    path = peer.upload(size)
    with peer.connect() as wire:
        wire.send(octets(*patch_lines(path, 0), f"Content-Length: {size}", SHA1) + body[:-1])
        if end == "cut":
            wire.finish()
            wire.rest()
        else:
            records = world.redis
            eventually(lambda: [key for key in records.keys(id_of(path)) if key.endswith(":lease")])
            assert peer.head(path).offset == 0
            assert wire.read("PATCH").status == 423
    assert peer.head(path).offset == 0
    assert peer.patch(path, 0, body).offset == size
    assert world.object_of(path) == body


def test_line_20_a_first_chunk_is_covered_too(world: World, peer: Peer) -> None:
    length = (f"Upload-Length: {len(BODY)}", BYTES, f"Content-Length: {len(BODY)}")
    created = peer.post(*length, SHA1, body=BODY)
    assert (created.status, created.offset) == (201, len(BODY))
    assert world.object_of(created.path) == BODY
    objects = world.bucket.keys(world.stores.object_prefix)
    assert_mismatch(peer.post(*length, WRONG, body=BODY))
    assert world.bucket.keys(world.stores.object_prefix) == objects


def trailed(
    peer: Peer, path: str, body: bytes, *trailers: str, announced: str = ANNOUNCED
) -> Answer:
    """A chunked PATCH at 0 with lines behind its last chunk."""
    behind = chunk(b"") + octets(*trailers)
    return peer.ask(
        *patch_lines(path, 0), CHUNKED, announced, body=chunk(body[:2]) + chunk(body[2:]) + behind
    )


def test_line_21_options_names_the_extension(peer: Peer) -> None:
    answer = peer.ask("OPTIONS /files/ HTTP/1.1", "Host: tus")
    assert "checksum-trailer" in answer.fields["tus-extension"].split(",")


@pytest.mark.parametrize("algorithm", DIGESTS)
def test_line_21_a_digest_may_follow_the_body(world: World, peer: Peer, algorithm: str) -> None:
    path = peer.upload(len(BODY))
    said = f"Upload-Checksum: {algorithm} {DIGESTS[algorithm]}"
    with world.unchanged():
        assert_mismatch(trailed(peer, path, b"hello World", said))
        assert peer.head(path).offset == 0
    answer = trailed(peer, path, BODY, said)
    assert (answer.status, answer.offset) == (204, len(BODY))
    assert world.object_of(path) == BODY


@pytest.mark.parametrize("name", ["trailer: upload-checksum", "Trailer: X-Other, Upload-Checksum"])
def test_line_21_it_is_announced_in_any_case_and_company(peer: Peer, name: str) -> None:
    path = peer.upload(len(BODY))
    assert_mismatch(
        trailed(peer, path, BODY, "x-other: 1", f"upload-checksum: sha1 {OF_ABC}", announced=name)
    )
    right = ("X-Other: 1", f"upload-checksum: sha1 {DIGESTS['sha1']}")
    assert trailed(peer, path, BODY, *right, announced=name).offset == len(BODY)


@pytest.mark.parametrize("value", UNREADABLE)
def test_line_21_an_unreadable_trailer_is_400_and_nothing_is_kept(
    world: World, peer: Peer, value: str
) -> None:
    path = peer.upload(3)
    with world.unchanged():
        answer = trailed(peer, path, b"abc", f"Upload-Checksum: {value}")
        assert (answer.status, answer.code) == (400, "invalid_header")
    assert peer.head(path).offset == 0


def test_line_21_what_was_announced_and_does_not_come_verifies_nothing(
    world: World, peer: Peer
) -> None:
    path = peer.upload(3)
    with world.unchanged():
        assert trailed(peer, path, b"abc").status in {400, 460}
        assert trailed(peer, path, b"abc", "X-Other: 1").status in {400, 460}
    assert peer.head(path).offset == 0


def test_line_21_an_unannounced_trailer_is_ignored(world: World, peer: Peer) -> None:
    for announced in ("X-None: 1", "Trailer: X-Other"):
        path = peer.upload(len(BODY))
        answer = trailed(peer, path, BODY, WRONG, announced=announced)
        assert (answer.status, answer.offset) == (204, len(BODY))
        assert world.object_of(path) == BODY


def test_line_21_a_body_cut_before_its_digest_is_not_kept(peer: Peer) -> None:
    path = peer.upload(6)
    with peer.connect() as wire:
        wire.send(octets(*patch_lines(path, 0), CHUNKED, ANNOUNCED) + chunk(b"abc"))
        wire.finish()
        wire.rest()
    assert peer.head(path).offset == 0


def test_line_21_no_other_trailer_changes_anything(peer: Peer) -> None:
    others = (
        "Upload-Offset: 9",
        "Upload-Length: 3",
        "Content-Type: text/plain",
        "X-HTTP-Method-Override: DELETE",
        "Tus-Resumable: 0.2.2",
    )
    names = ", ".join(line.partition(":")[0] for line in others)
    right = "Upload-Checksum: sha1 gf6L/odXbD7LIkJvjleEc4KRes8="
    for announced, trailers in (
        ("X-None: 1", others),
        (f"Trailer: {names}", others),
        (f"{ANNOUNCED}, {names}", (*others, right)),
    ):
        path = peer.post("Upload-Defer-Length: 1").path
        answer = trailed(peer, path, b"abcd", *trailers, announced=announced)
        assert (answer.status, answer.offset) == (204, 4)
        head = peer.head(path)
        assert (head.offset, head.fields["upload-defer-length"]) == (4, "1")


def test_line_21_a_first_chunk_may_have_its_digest_behind_it(world: World, peer: Peer) -> None:
    lines = (f"Upload-Length: {len(BODY)}", BYTES, CHUNKED, ANNOUNCED)
    body = chunk(BODY) + chunk(b"")
    created = peer.post(*lines, body=body + octets(SHA1))
    assert (created.status, created.offset) == (201, len(BODY))
    assert world.object_of(created.path) == BODY
    objects = world.bucket.keys(world.stores.object_prefix)
    assert_mismatch(peer.post(*lines, body=body + octets(WRONG)))
    assert world.bucket.keys(world.stores.object_prefix) == objects
