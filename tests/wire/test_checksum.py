"""Lines 20 and 21: a body with a checksum counts when it agrees, and not at all otherwise."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from tests.support.bodies import MIB, PART_BYTES, body_of
from tests.support.checksums import ALGORITHMS, checksum_of, with_checksum
from tests.support.raw import RawResponse
from tests.support.tus import TUS, RawClient, id_of, patch_headers, path_of
from tests.support.world import World

SIZES = [0, 1, 70_000, PART_BYTES - 1, PART_BYTES, PART_BYTES + 1, 3 * PART_BYTES + 5]
WRONG = {"Upload-Checksum": checksum_of(b"something else")}


def patch_with_trailer(
    client: RawClient,
    path: str,
    offset: int,
    chunks: Iterable[bytes],
    trailer: str,
    announced: str | None = "Upload-Checksum",
) -> RawResponse:
    """A chunked PATCH with `trailer` (whole lines) behind its body."""
    headers = patch_headers(offset, None, {} if announced is None else {"Trailer": announced})
    with client.connect() as connection:
        connection.send_head("PATCH", path, headers)
        for chunk in chunks:
            connection.send_chunk(chunk)
        connection.send(f"0\r\n{trailer}\r\n".encode())
        return connection.read_response()


# --- in front of the body


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_line_20_a_body_that_agrees_is_taken(world: World, algorithm: str) -> None:
    body = body_of(5_000)
    path = world.client.new_upload(len(body))
    first, rest = body[:2_000], body[2_000:]
    response = world.client.patch(path, 0, first, with_checksum(first, algorithm))
    assert (response.status, response.offset) == (204, 2_000)
    response = world.client.patch_chunked(path, 2_000, [rest], with_checksum(rest, algorithm))
    assert (response.status, response.offset) == (204, 5_000)
    assert world.object_of(path) == body


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_line_20_a_body_that_does_not_agree_is_460_and_changes_nothing(
    world: World, algorithm: str
) -> None:
    path = world.client.new_upload(10, body=b"abc")
    with world.unchanged():
        response = world.client.patch(path, 3, b"defg", with_checksum(b"defh", algorithm))
        assert (response.status, response.code) == (460, "checksum_mismatch")
        assert response.offset == 3
    assert world.client.offset_of(path) == 3


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("before", [0, 1, MIB])
def test_line_20_the_same_or_other_bytes_may_follow_at_once(
    world: World, size: int, before: int
) -> None:
    good, bad = body_of(before + size, 1), body_of(size, 2) + b"!"
    path = world.client.new_upload(len(good) + 3, body=good[:before])
    rest = good[before:]
    assert world.client.patch(path, before, bad, WRONG).status == 460
    assert world.client.patch(path, before, rest, WRONG).status == 460
    response = world.client.patch(path, before, rest, with_checksum(rest))
    assert (response.status, response.offset) == (204, len(good))
    assert world.client.patch(path, len(good), b"end", with_checksum(b"end")).status == 204
    assert world.object_of(path) == good + b"end"
    assert world.client.delete(path).status == 204
    assert world.traces_of(path) == []


def test_line_20_a_plain_body_may_follow_one_that_did_not_agree(world: World) -> None:
    good, bad = body_of(4 * PART_BYTES + 9, 3), body_of(4 * PART_BYTES + 9, 4)
    path = world.client.new_upload(len(good))
    assert world.client.patch(path, 0, bad, WRONG).status == 460
    assert world.client.offset_of(path) == 0
    world.client.upload_from(path, good, [PART_BYTES + 7])
    assert world.object_of(path) == good


@pytest.mark.parametrize("declared", ["with the body that fails", "later"])
def test_line_20_a_length_declared_by_a_refused_body_is_not_declared(
    world: World, declared: str
) -> None:
    body = body_of(3 * PART_BYTES, 5)
    path = world.client.new_upload(None)
    length = {"Upload-Length": f"{len(body)}"} if declared != "later" else {}
    assert world.client.patch(path, 0, body[: 2 * PART_BYTES], length | WRONG).status == 460
    head = world.client.head(path)
    assert (head.offset, head.headers["Upload-Defer-Length"]) == (0, "1")
    assert "Upload-Length" not in head.headers
    longer = body + b"more"
    headers = with_checksum(longer) | {"Upload-Length": f"{len(longer)}"}
    assert world.client.patch(path, 0, longer, headers).status == 204
    assert world.object_of(path) == longer


@pytest.mark.parametrize(
    "value",
    [
        *("", " ", "sha1", "sha1 ", "sha1  Kq5sNclPz7QV2+lfQIuc6R7oRu0=", "sha1 Kq5sNclPz7QV2"),
        *("sha3 Kq5sNclPz7QV2+lfQIuc6R7oRu0=", "SHA1 Kq5sNclPz7QV2+lfQIuc6R7oRu0="),
        *("Kq5sNclPz7QV2+lfQIuc6R7oRu0=", "md5 Kq5sNclPz7QV2+lfQIuc6R7oRu0=", "crc32 AAA="),
        *("sha1 2aae6c35c94fcfb415dbe95f408b9ce91ee846ed", "sha1 Kq5sNclPz7QV2-lfQIuc6R7oRu0="),
        "sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=,md5 XrY7u+Ae7tCTyyK7j1rNww==",
    ],
)
def test_line_20_an_unknown_algorithm_or_a_malformed_value_is_400(world: World, value: str) -> None:
    path = world.client.new_upload(14, body=b"abc")
    with world.unchanged():
        response = world.client.patch(path, 3, b"hello world", {"Upload-Checksum": value})
        assert (response.status, response.code) == (400, "invalid_header")
        body, headers = b"hello world", {"Upload-Checksum": value}
        assert world.client.create(11, body=body, headers=headers).status == 400
    assert world.client.offset_of(path) == 3


def test_line_20_options_name_the_algorithms(client: RawClient) -> None:
    response = client.request("OPTIONS", client.base_path)
    assert response.headers["Tus-Checksum-Algorithm"] == ",".join(ALGORITHMS)
    assert {"checksum", "checksum-trailer"} <= response.headers.tokens("Tus-Extension")


@pytest.mark.parametrize("sent", [10, PART_BYTES, 2 * PART_BYTES + 10])
@pytest.mark.parametrize("end", ["newcomer", "reset", "close"])
def test_line_20_nothing_is_kept_of_an_interrupted_body(world: World, sent: int, end: str) -> None:
    body = body_of(3 * PART_BYTES, 6)
    path = world.client.new_upload(len(body) + 3, body=b"abc")
    headers = patch_headers(3, len(body), with_checksum(body))
    with world.client.connect() as connection:
        connection.send_head("PATCH", path, headers)
        connection.send(body[:sent])
        if end == "newcomer":
            assert world.client.offset_of(path) == 3
            response = connection.read_response()
            assert (response.status, response.code) == (423, "upload_interrupted")
            assert response.offset == 3
            assert b"nothing of it was kept" in response.body
        elif end == "reset":
            connection.reset()
        else:
            connection.close()
    assert world.client.offset_of(path) == 3
    assert world.client.patch(path, 3, body, with_checksum(body)).status == 204
    assert world.object_of(path) == b"abc" + body


def test_line_20_nothing_is_kept_of_a_body_that_goes_past_the_end(world: World) -> None:
    body = body_of(2 * PART_BYTES, 7)
    path = world.client.new_upload(len(body) - 1)
    assert world.client.patch_chunked(path, 0, [body], with_checksum(body)).status == 413
    assert world.client.offset_of(path) == 0


# --- with a creation


@pytest.mark.parametrize("size", SIZES[1:])
def test_line_20_a_first_chunk_is_checked_too(world: World, size: int) -> None:
    body = body_of(size, 8)
    with world.unchanged():
        response = world.client.create(size + 1, body=body, headers=WRONG)
        assert (response.status, response.code) == (460, "checksum_mismatch")
    for length in (size, size + 1):
        response = world.client.create(length, body=body, headers=with_checksum(body))
        assert (response.status, response.offset) == (201, size)
        assert world.client.offset_of(path_of(response)) == size


def test_line_20_a_creation_without_a_first_chunk_has_nothing_to_check(client: RawClient) -> None:
    response = client.request("POST", client.base_path, {**TUS, "Upload-Length": "3", **WRONG})
    assert (response.status, response.offset) == (201, 0)


# --- behind the body


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("announced", ["Upload-Checksum", "X-Other, upload-checksum"])
def test_line_21_a_checksum_may_come_behind_the_body(
    world: World, algorithm: str, announced: str
) -> None:
    body = body_of(3_000, 9)
    path = world.client.new_upload(len(body))
    trailer = f"Upload-Checksum: {checksum_of(body, algorithm)}\r\n"
    wrong = f"Upload-Checksum: {checksum_of(body + b'!', algorithm)}\r\n"
    with world.unchanged():
        response = patch_with_trailer(world.client, path, 0, [body], wrong, announced)
        assert (response.status, response.offset) == (460, 0)
    response = patch_with_trailer(world.client, path, 0, [body], trailer, announced)
    assert (response.status, response.offset) == (204, len(body))
    assert world.object_of(path) == body


def test_line_21_of_a_body_of_many_parts(world: World) -> None:
    body = body_of(3 * PART_BYTES + 1, 10)
    path = world.client.new_upload(len(body))
    chunks = [body[at : at + MIB] for at in range(0, len(body), MIB)]
    trailer = f"Upload-Checksum: {checksum_of(body)}\r\n"
    assert patch_with_trailer(world.client, path, 0, chunks[::-1], trailer).status == 460
    assert patch_with_trailer(world.client, path, 0, chunks, trailer).status == 204
    assert world.object_of(path) == body


@pytest.mark.parametrize(
    "trailer",
    [
        "",
        "X-Other: 1\r\n",
        "Upload-Checksum: \r\n",
        "Upload-Checksum: sha1 AAAA\r\n",
        f"Upload-Checksum: {checksum_of(b'abc')}\r\nUpload-Checksum: {checksum_of(b'abc')}\r\n",
    ],
)
def test_line_21_an_announced_checksum_that_does_not_come_is_400(
    world: World, trailer: str
) -> None:
    path = world.client.new_upload(10)
    with world.unchanged():
        response = patch_with_trailer(world.client, path, 0, [b"abc"], trailer)
        assert (response.status, response.code) == (400, "invalid_header")


def test_line_21_one_in_front_and_one_behind_are_400(world: World) -> None:
    path = world.client.new_upload(3)
    headers = with_checksum(b"abc") | {"Trailer": "Upload-Checksum"}
    with world.unchanged():
        assert world.client.patch_chunked(path, 0, [b"abc"], headers).status == 400


def test_line_21_a_checksum_that_was_not_announced_is_not_read(world: World) -> None:
    path = world.client.new_upload(3)
    trailer = f"Upload-Checksum: {checksum_of(b'other')}\r\n"
    response = patch_with_trailer(world.client, path, 0, [b"abc"], trailer, announced=None)
    assert (response.status, response.offset) == (204, 3)


def test_line_21_nothing_else_behind_a_body_means_anything(world: World) -> None:
    path = world.client.new_upload(10)
    trailer = (
        f"Upload-Checksum: {checksum_of(b'abc')}\r\nUpload-Offset: 7\r\nUpload-Length: 3\r\n"
        "Content-Type: text/plain\r\nTus-Resumable: 2.0.0\r\n"
    )
    response = patch_with_trailer(world.client, path, 0, [b"abc"], trailer)
    assert (response.status, response.offset) == (204, 3)
    assert world.client.head(path).headers["Upload-Length"] == "10"


def test_line_21_it_does_not_reach_the_next_request_of_the_connection(world: World) -> None:
    one, other = world.client.new_upload(3), world.client.new_upload(3)
    announced = {"Trailer": "Upload-Checksum"}
    with world.client.connect() as connection:
        for path, trailer in ((one, f"Upload-Checksum: {checksum_of(b'abc')}\r\n"), (other, "")):
            connection.send_head("PATCH", path, patch_headers(0, None, announced))
            connection.send_chunk(b"abc")
            connection.send(f"0\r\n{trailer}\r\n".encode())
            status = connection.read_response().status
            assert status == (204 if path == one else 400), id_of(path)
