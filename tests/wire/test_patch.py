"""Lines 6 to 8: PATCH, what refuses it, and that every byte counts in its own response."""

from __future__ import annotations

import pytest

from tests.support.bodies import KIB, MIB, PART_BYTES, body_of, pieces
from tests.support.tus import TUS, RawClient, patch_headers
from tests.support.world import World

UNKNOWN = "/files/AAAAAAAAAAAAAAAAAAAAAA"


@pytest.mark.parametrize(
    "content_type",
    [None, "", "text/plain", "application/octet-stream", "application/offset+octet-streams"],
)
def test_line_06_patch_with_other_content_type_is_415(
    world: World, content_type: str | None
) -> None:
    path = world.client.new_upload(10, body=b"abc")
    headers = patch_headers(3, 3)
    del headers["Content-Type"]
    if content_type is not None:
        headers["Content-Type"] = content_type
    with world.unchanged():
        response = world.client.request("PATCH", path, headers, b"def")
        assert (response.status, response.code) == (415, "wrong_content_type")


@pytest.mark.parametrize("wrong", [0, 2, 4, 10, 11, 10**17])
def test_line_06_another_offset_is_409_with_the_true_one(world: World, wrong: int) -> None:
    path = world.client.new_upload(10, body=b"abc")
    with world.unchanged():
        response = world.client.patch(path, wrong, b"d")
        assert (response.status, response.code) == (409, "offset_mismatch")
        assert response.offset == 3


def test_line_06_another_offset_on_a_finished_upload_is_409(world: World) -> None:
    path = world.client.new_upload(3, body=b"abc")
    with world.unchanged():
        response = world.client.patch(path, 0, b"abc")
        assert response.status in {409, 413}
        response = world.client.patch(path, 2, b"")
        assert (response.status, response.offset) == (409, 3)
    assert world.object_of(path) == b"abc"


def test_line_06_success_is_204_with_the_new_offset(client: RawClient) -> None:
    path = client.new_upload(6)
    first = client.patch(path, 0, b"abc")
    assert (first.status, first.offset, first.body) == (204, 3, b"")
    second = client.patch_chunked(path, 3, [b"d", b"ef"])
    assert (second.status, second.offset) == (204, 6)


def test_line_06_the_content_type_is_read_as_a_media_type(client: RawClient) -> None:
    path = client.new_upload(6)
    kind = {"Content-Type": "Application/Offset+Octet-Stream"}
    assert client.patch(path, 0, b"abc", kind).status == 204


def test_line_06_an_unknown_upload_is_404(world: World) -> None:
    with world.unchanged():
        response = world.client.patch(UNKNOWN, 0, b"abc")
    assert (response.status, response.code) == (404, "upload_not_found")
    assert "Upload-Offset" not in response.headers


@pytest.mark.parametrize("surplus", [1, 7, MIB])
def test_line_06_a_declared_body_past_the_end_is_413(world: World, surplus: int) -> None:
    path = world.client.new_upload(10, body=b"abc")
    with world.unchanged():
        response = world.client.patch(path, 3, body_of(7 + surplus))
        assert (response.status, response.code) == (413, "body_too_long")


@pytest.mark.parametrize("length", [10, MIB, PART_BYTES, PART_BYTES + 10])
@pytest.mark.parametrize("surplus", [1, 70_000])
def test_line_06_a_chunked_body_past_the_end_is_413_and_stores_nothing_past_it(
    world: World, length: int, surplus: int
) -> None:
    client = world.client
    path = client.new_upload(length)
    body = body_of(length + surplus)
    chunks = [piece for _, piece in pieces(body, [100_003])]
    response = client.patch_chunked(path, 0, chunks)
    assert (response.status, response.code) == (413, "body_too_long")
    offset = client.offset_of(path)
    assert offset <= length
    client.upload_from(path, body[:length])
    assert world.object_of(path) == body[:length]


def test_line_06_a_chunk_that_straddles_the_end_is_413(world: World) -> None:
    client = world.client
    path = client.new_upload(10, body=b"abc")
    response = client.patch_chunked(path, 3, [b"defghijKLM"])
    assert (response.status, response.code) == (413, "body_too_long")
    assert client.offset_of(path) in {3, 10}
    client.upload_from(path, b"abcdefghij")
    assert world.object_of(path) == b"abcdefghij"


def test_line_06_a_body_past_the_end_of_a_finished_upload_is_413(world: World) -> None:
    path = world.client.new_upload(3, body=b"abc")
    with world.unchanged():
        assert world.client.patch(path, 3, b"d").status == 413
        assert world.client.patch_chunked(path, 3, [b"d"]).status == 413
    assert world.object_of(path) == b"abc"


def test_line_07_every_small_patch_counts_in_its_own_response(client: RawClient) -> None:
    body = body_of(20_000)
    path = client.new_upload(len(body))
    for offset, piece in pieces(body, [1, 2, 999, 4096]):
        response = client.patch(path, offset, piece)
        assert (response.status, response.offset) == (204, offset + len(piece))
        assert client.head(path).offset == offset + len(piece)


@pytest.mark.parametrize("size", [512_000, 2 * MIB])
def test_line_07_patch_sizes_of_known_clients_advance_each_time(world: World, size: int) -> None:
    body = body_of(PART_BYTES + 3 * size + 17)
    path = world.client.new_upload(len(body))
    for offset, piece in pieces(body, [size]):
        response = world.client.patch(path, offset, piece)
        assert (response.status, response.offset) == (204, offset + len(piece))
    assert world.object_of(path) == body


def test_line_07_an_offset_once_answered_is_never_taken_back(world: World) -> None:
    # Around the part boundary the tail is replaced: HEAD between any two PATCHes stays true.
    client = world.client
    body = body_of(PART_BYTES + 300 * KIB)
    path = client.new_upload(None)
    client.upload_from(path, body[: PART_BYTES - 150 * KIB])
    for start, piece in pieces(body[PART_BYTES - 150 * KIB :], [50 * KIB]):
        offset = PART_BYTES - 150 * KIB + start
        assert client.patch(path, offset, piece).status == 204
        assert client.offset_of(path) == offset + len(piece)
    declared = {"Upload-Length": f"{len(body)}"}
    assert client.patch(path, len(body), b"", declared).status == 204
    assert world.object_of(path) == body


@pytest.mark.parametrize("length", [0, 3])
def test_line_08_an_empty_patch_to_a_finished_upload_is_204(world: World, length: int) -> None:
    client = world.client
    path = client.new_upload(length, body=b"abc"[:length] or None)
    plain = client.patch(path, length, b"")
    assert (plain.status, plain.offset) == (204, length)
    declared = client.patch(path, length, b"", {"Upload-Length": f"{length}"})
    assert (declared.status, declared.offset) == (204, length)
    chunked = client.patch_chunked(path, length, [])
    assert (chunked.status, chunked.offset) == (204, length)
    assert world.object_of(path) == b"abc"[:length]


def test_line_08_an_empty_patch_to_an_open_upload_changes_no_offset(client: RawClient) -> None:
    path = client.new_upload(10, body=b"abc")
    response = client.patch(path, 3, b"")
    assert (response.status, response.offset) == (204, 3)
    assert client.request("PATCH", path, patch_headers(4, 0), b"").status == 409


def test_line_08_a_length_that_contradicts_is_refused_on_a_finished_upload(world: World) -> None:
    path = world.client.new_upload(3, body=b"abc")
    with world.unchanged():
        response = world.client.patch(path, 3, b"", {"Upload-Length": "4"})
        assert (response.status, response.code) == (400, "length_conflict")
    assert world.client.request("HEAD", path, TUS).headers["Upload-Length"] == "3"
