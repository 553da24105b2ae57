"""Line 17: uploads whose length is declared late, in every way, with bytes waiting."""

from __future__ import annotations

import pytest

from tests.support.bodies import PART_BYTES, body_of, pieces
from tests.support.tus import RawClient
from tests.support.world import World

WAITING = [0, 1, 100_000, PART_BYTES - 1, PART_BYTES, PART_BYTES + 1, 2 * PART_BYTES + 100_000]
"""Bytes that are there before the length is declared: as a tail, as parts, as both."""


def declared(length: int) -> dict[str, str]:
    return {"Upload-Length": f"{length}"}


def deferred_upload(world: World, body: bytes, *, at_creation: bool = False) -> str:
    """An upload of no declared length that has `body` already."""
    path = world.client.new_upload(None, body=body if at_creation else None)
    if not at_creation:
        world.client.upload_from(path, body, [2_000_003])
    return path


def test_line_17_head_says_that_the_length_is_deferred(client: RawClient) -> None:
    path = client.new_upload(None, body=b"abc")
    head = client.head(path)
    assert (head.status, head.offset) == (200, 3)
    assert head.headers["Upload-Defer-Length"] == "1"
    assert "Upload-Length" not in head.headers
    assert client.patch(path, 3, b"", declared(6)).status == 204
    head = client.head(path)
    assert head.headers["Upload-Length"] == "6"
    assert "Upload-Defer-Length" not in head.headers


@pytest.mark.parametrize("waiting", WAITING)
def test_line_17_declared_at_the_end_by_an_empty_patch(world: World, waiting: int) -> None:
    body = body_of(waiting)
    path = deferred_upload(world, body)
    response = world.client.patch(path, waiting, b"", declared(waiting))
    assert (response.status, response.offset) == (204, waiting)
    assert world.object_of(path) == body


@pytest.mark.parametrize("waiting", WAITING)
@pytest.mark.parametrize("last", [1, PART_BYTES + 7])
def test_line_17_declared_with_the_last_bytes(world: World, waiting: int, last: int) -> None:
    body = body_of(waiting + last)
    path = deferred_upload(world, body[:waiting])
    response = world.client.patch(path, waiting, body[waiting:], declared(len(body)))
    assert (response.status, response.offset) == (204, len(body))
    assert world.object_of(path) == body


@pytest.mark.parametrize("waiting", [0, 1, PART_BYTES - 1, PART_BYTES + 1])
def test_line_17_declared_in_the_middle(world: World, waiting: int) -> None:
    client = world.client
    body = body_of(waiting + PART_BYTES + 11)
    path = deferred_upload(world, body[:waiting], at_creation=waiting > 0)
    first = client.patch(path, waiting, body[waiting : waiting + 5], declared(len(body)))
    assert (first.status, first.offset) == (204, waiting + 5)
    client.upload_from(path, body, [1_000_000])
    assert world.object_of(path) == body


@pytest.mark.parametrize("waiting", [0, PART_BYTES - 1, PART_BYTES + 1])
def test_line_17_declared_on_every_patch(world: World, waiting: int) -> None:
    body = body_of(waiting + 2_500_000)
    path = deferred_upload(world, body[:waiting])
    for offset, piece in pieces(body[waiting:], [1_000_000]):
        response = world.client.patch(path, waiting + offset, piece, declared(len(body)))
        assert (response.status, response.offset) == (204, waiting + offset + len(piece))
    assert world.object_of(path) == body


def test_line_17_declared_with_a_chunked_body(world: World) -> None:
    body = body_of(PART_BYTES + 100)
    path = world.client.new_upload(None, body=body[:50])
    chunks = [piece for _, piece in pieces(body[50:], [300_007])]
    response = world.client.patch_chunked(path, 50, chunks, declared(len(body)))
    assert (response.status, response.offset) == (204, len(body))
    assert world.object_of(path) == body


def test_line_17_declared_before_any_byte(world: World) -> None:
    path = world.client.new_upload(None)
    assert world.client.patch(path, 0, b"", declared(3)).status == 204
    world.client.upload_from(path, b"abc")
    assert world.object_of(path) == b"abc"


def test_line_17_an_upload_of_no_bytes_can_be_declared_empty(world: World) -> None:
    path = world.client.new_upload(None)
    response = world.client.patch(path, 0, b"", declared(0))
    assert (response.status, response.offset) == (204, 0)
    assert world.object_of(path) == b""


def test_line_17_the_same_length_may_be_declared_again(world: World) -> None:
    path = world.client.new_upload(None, body=b"abc")
    for _ in range(2):
        assert world.client.patch(path, 3, b"", declared(6)).status == 204
    assert world.client.patch(path, 3, b"def", declared(6)).status == 204
    assert world.client.patch(path, 6, b"", declared(6)).status == 204
    assert world.object_of(path) == b"abcdef"


@pytest.mark.parametrize("other", [3, 5, 7])
def test_line_17_another_length_declared_again_is_400(world: World, other: int) -> None:
    path = world.client.new_upload(None, body=b"abc")
    assert world.client.patch(path, 3, b"", declared(6)).status == 204
    with world.unchanged():
        response = world.client.patch(path, 3, b"", declared(other))
        assert (response.status, response.code) == (400, "length_conflict")


def test_line_17_another_length_than_at_creation_is_400(world: World) -> None:
    path = world.client.new_upload(6, body=b"abc")
    with world.unchanged():
        response = world.client.patch(path, 3, b"def", declared(7))
        assert (response.status, response.code) == (400, "length_conflict")


@pytest.mark.parametrize("length", [0, 1, 2])
def test_line_17_a_length_below_the_offset_is_400(world: World, length: int) -> None:
    path = world.client.new_upload(None, body=b"abc")
    with world.unchanged():
        response = world.client.patch(path, 3, b"", declared(length))
        assert (response.status, response.code) == (400, "length_conflict")


def test_line_17_a_length_below_what_the_body_brings_is_413(world: World) -> None:
    path = world.client.new_upload(None, body=b"abc")
    with world.unchanged():
        response = world.client.patch(path, 3, b"def", declared(5))
        assert (response.status, response.code) == (413, "body_too_long")


def test_line_17_a_refused_declaration_is_forgotten(world: World) -> None:
    path = world.client.new_upload(None, body=b"abc")
    with world.unchanged():
        response = world.client.patch(path, 2, b"c", declared(4))
        assert response.status == 409
    assert world.client.patch(path, 3, b"", declared(3)).status == 204
    assert world.object_of(path) == b"abc"


def test_line_17_an_upload_is_not_complete_while_its_length_is_unknown(world: World) -> None:
    path = world.client.new_upload(None, body=b"abc")
    assert world.bucket.get(world.key_of(path)) is None
    assert world.client.patch(path, 3, b"").status == 204
    assert world.bucket.get(world.key_of(path)) is None
