"""Lines 17 to 19 and 22, in bytes: late lengths, metadata, expiry, and the end by DELETE."""

from __future__ import annotations

import re
import time
from base64 import b64encode
from collections.abc import Iterator
from email.utils import parsedate_to_datetime

import pytest

from tests.support.bodies import PART_BYTES, body_of
from tests.support.hosting import served_alone
from tests.support.server import StoreSettings
from tests.support.tus import id_of
from tests.support.waiting import eventually
from tests.support.wire_bytes import Answer, Peer, octets, patch_lines
from tests.support.world import World

DAY_S = 24 * 3600
IMF_FIXDATE = re.compile(
    r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), [0-3]\d "
    r"(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) \d{4} [0-2]\d:[0-5]\d:[0-6]\d GMT"
)


def deferred(peer: Peer, body: bytes) -> str:
    """An upload of no declared length that has `body`."""
    path = peer.post("Upload-Defer-Length: 1").path
    assert peer.patch(path, 0, body).offset == len(body)
    return path


@pytest.mark.parametrize("last", [b"", b"d"])
def test_line_17_a_patch_declares_the_length(world: World, peer: Peer, last: bytes) -> None:
    path = deferred(peer, b"abc")
    head = peer.head(path)
    assert head.fields["upload-defer-length"] == "1"
    assert "upload-length" not in head.fields
    length = 3 + len(last)
    answer = peer.patch(path, 3, last, f"Upload-Length: {length}")
    assert (answer.status, answer.offset) == (204, length)
    head = peer.head(path)
    assert head.fields["upload-length"] == f"{length}"
    assert "upload-defer-length" not in head.fields
    assert world.object_of(path) == b"abc" + last


def test_line_17_the_same_length_may_be_declared_again_and_no_other(
    world: World, peer: Peer
) -> None:
    late = deferred(peer, b"abc")
    assert peer.patch(late, 3, b"", "Upload-Length: 6").status == 204
    for path in (late, peer.upload(6, b"abc")):
        with world.unchanged():
            for other in (5, 7):
                answer = peer.patch(path, 3, b"", f"Upload-Length: {other}")
                assert (answer.status, answer.code) == (400, "length_conflict")
        assert peer.patch(path, 3, b"def", "Upload-Length: 6").offset == 6


def test_line_17_a_length_below_the_offset_is_400_and_forgotten(world: World, peer: Peer) -> None:
    path = deferred(peer, b"abc")
    with world.unchanged():
        answer = peer.patch(path, 3, b"", "Upload-Length: 2")
        assert (answer.status, answer.code) == (400, "length_conflict")
    assert peer.head(path).fields["upload-defer-length"] == "1"
    assert peer.patch(path, 3, b"", "Upload-Length: 3").status == 204


def test_line_17_a_length_over_the_maximum_is_413(world: World, guarded: Peer) -> None:
    path = deferred(guarded, b"abc")
    with world.unchanged():
        answer = guarded.patch(path, 3, b"", "Upload-Length: 101")
        assert (answer.status, answer.code) == (413, "upload_too_large")
    assert guarded.head(path).fields["upload-defer-length"] == "1"


@pytest.mark.parametrize(
    "value", ["k dg==", "k dg==,l ", "k ", "k", "k,l", "relativePath bnVsbA=="]
)
def test_line_18_every_form_of_a_pair_is_taken(peer: Peer, value: str) -> None:
    # A space at the end of a line is not part of a value: HTTP drops it.
    path = peer.post("Upload-Length: 3", f"Upload-Metadata: {value}").path
    assert peer.head(path).fields["upload-metadata"] == value.rstrip()


@pytest.mark.parametrize("line", ["Upload-Metadata:", "Upload-Metadata: ", "Upload-Metadata:\t"])
def test_line_18_an_empty_header_is_no_metadata(peer: Peer, line: str) -> None:
    path = peer.post("Upload-Length: 3", line).path
    assert "upload-metadata" not in peer.head(path).fields


BAD_METADATA = [
    "k !", "k dg", "k dg=", "k d g==", "k -_-_", ",", "k dg==,", ",k", "k dg==,,l", "k dg==,k",
    "k\u00e9 dg==", "k dg==;l dg==",
]  # fmt: skip


def test_line_18_bad_base64_and_bad_keys_are_400(world: World, peer: Peer) -> None:
    with world.unchanged():
        for value in BAD_METADATA:
            answer = peer.post("Upload-Length: 3", f"Upload-Metadata: {value}")
            assert (answer.status, answer.code) == (400, "invalid_header"), value


@pytest.mark.parametrize("name", ["filename", "name"])
@pytest.mark.parametrize("kind", ["filetype", "type", "contentType"])
def test_line_18_name_and_type_reach_the_object(
    world: World, peer: Peer, name: str, kind: str
) -> None:
    said = f"{name} {b64encode('ü.mp4'.encode()).decode()},{kind} dmlkZW8vbXA0"
    path = peer.post("Upload-Length: 3", f"Upload-Metadata: {said}").path
    assert peer.patch(path, 0, b"abc").status == 204
    stored = world.bucket.get(world.key_of(path))
    assert stored is not None
    assert stored.content_type == "video/mp4"
    assert stored.content_disposition == "attachment; filename*=UTF-8''%C3%BC.mp4"


def expires_s(answer: Answer) -> float:
    """When the upload ends, in seconds since the epoch."""
    value = answer.fields["upload-expires"]
    assert IMF_FIXDATE.fullmatch(value), value
    return parsedate_to_datetime(value).timestamp()


def test_line_19_an_unfinished_upload_says_when_it_ends(peer: Peer) -> None:
    created = peer.post("Upload-Length: 6")
    answers = [created, peer.patch(created.path, 0, b"abc"), peer.patch(created.path, 3, b"")]
    for answer in [*answers, peer.post("Upload-Defer-Length: 1")]:
        assert abs(expires_s(answer) - time.time() - DAY_S) < 10
    assert "upload-expires" not in peer.patch(created.path, 3, b"def").fields


@pytest.fixture
def short_lived(stores: StoreSettings) -> Iterator[Peer]:
    """A server that keeps unfinished uploads for three seconds."""
    with served_alone(stores, upload_lifetime="3s") as port:
        yield Peer(("127.0.0.1", port))


def test_line_19_a_patch_moves_the_end_and_a_gone_upload_is_404(
    world: World, short_lived: Peer
) -> None:
    created = short_lived.post("Upload-Length: 6")
    # The header counts in whole seconds: it can show the move once one has passed.
    eventually(lambda: time.time() > expires_s(created) - 1.5)
    patched = short_lived.patch(created.path, 0, b"abc")
    assert patched.status == 204
    assert expires_s(patched) > expires_s(created)
    eventually(lambda: short_lived.head(created.path).status == 404, what="the upload is gone")
    assert time.time() > expires_s(created)
    assert short_lived.patch(created.path, 3, b"def").status == 404
    assert short_lived.delete(created.path).status == 404
    eventually(lambda: world.redis.keys(id_of(created.path)) == [])


def assert_gone(world: World, peer: Peer, path: str) -> None:
    """Nothing of the upload is found, by a client or behind the server."""
    eventually(lambda: world.traces_of(path) == [], within_s=5.0, what="nothing is left")
    for answer in (peer.head(path), peer.patch(path, 0, b"a"), peer.delete(path)):
        assert answer.status == 404


@pytest.mark.parametrize("stored", [0, 3, PART_BYTES + 3, PART_BYTES + 9])
def test_line_22_delete_is_204_and_leaves_nothing(world: World, peer: Peer, stored: int) -> None:
    length = PART_BYTES + 9
    path = peer.upload(length)
    assert peer.patch(path, 0, body_of(stored)).offset == stored
    assert world.traces_of(path)
    answer = peer.delete(path)
    assert (answer.status, answer.body) == (204, b"")
    assert_gone(world, peer, path)


def test_line_22_delete_interrupts_a_patch(world: World, peer: Peer) -> None:
    path = peer.upload(6)
    with peer.connect() as wire:
        wire.send(octets(*patch_lines(path, 0), "Content-Length: 6") + b"abc")
        eventually(lambda: [key for key in world.redis.keys(id_of(path)) if key.endswith(":lease")])
        assert peer.delete(path).status == 204
        assert wire.read("PATCH").status in {404, 423}
    assert_gone(world, peer, path)
