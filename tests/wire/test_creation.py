"""Lines 13, 15, 16 and 18: POST, its lengths, its body, its metadata."""

from __future__ import annotations

import base64
import re

import pytest

from tests.conftest import StartServer
from tests.support.bodies import MIB, PART_BYTES, body_of
from tests.support.tus import OCTET_STREAM, TUS, RawClient, id_of, metadata_of, path_of
from tests.support.world import World


def test_line_13_post_is_201_with_location_and_offset(client: RawClient) -> None:
    response = client.create(10)
    assert (response.status, response.offset, response.body) == (201, 0, b"")
    assert re.fullmatch(r"[A-Za-z0-9_-]{22}", id_of(path_of(response)))


def test_line_13_every_upload_has_its_own_id(client: RawClient) -> None:
    assert len({client.new_upload(10) for _ in range(20)}) == 20


@pytest.mark.parametrize("target", ["/files/", "/files"])
def test_line_13_the_collection_answers_with_and_without_its_slash(
    client: RawClient, target: str
) -> None:
    response = client.request("POST", target, TUS | {"Upload-Length": "3"})
    assert client.offset_of(path_of(response)) == 0


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"Upload-Length": "5", "Upload-Defer-Length": "1"},
        {"Upload-Defer-Length": "0"},
        {"Upload-Defer-Length": "2"},
        {"Upload-Defer-Length": "true"},
        {"Upload-Defer-Length": ""},
        {"Upload-Length": "5", "Upload-Defer-Length": "0"},
    ],
)
def test_line_13_exactly_one_of_length_and_its_deferral(
    world: World, fields: dict[str, str]
) -> None:
    with world.unchanged():
        response = world.client.request("POST", "/files/", TUS | fields)
        assert (response.status, response.code) == (400, "invalid_header")


@pytest.fixture(scope="module")
def limited(start_module_server: StartServer) -> RawClient:
    """A server that takes uploads of at most 1 MiB."""
    return start_module_server(max_size="1MiB").client


def test_line_13_the_maximum_itself_is_taken(limited: RawClient) -> None:
    body = body_of(MIB)
    path = limited.new_upload(MIB)
    assert limited.patch(path, 0, body).status == 204


@pytest.mark.parametrize("length", [MIB + 1, 10**17])
def test_line_13_a_declared_length_over_the_maximum_is_413(limited: RawClient, length: int) -> None:
    response = limited.create(length)
    assert (response.status, response.code) == (413, "upload_too_large")


def test_line_13_a_length_no_store_could_hold_is_413(client: RawClient) -> None:
    assert client.create(10**17).status == 413


def test_line_13_a_length_declared_late_may_not_pass_the_maximum(limited: RawClient) -> None:
    path = limited.new_upload(None)
    response = limited.patch(path, 0, b"abc", {"Upload-Length": f"{MIB + 1}"})
    assert (response.status, response.code) == (413, "upload_too_large")
    assert limited.offset_of(path) == 0


def test_line_13_bytes_of_no_declared_length_may_not_pass_the_maximum(limited: RawClient) -> None:
    body = body_of(MIB + 1)
    path = limited.new_upload(None)
    assert limited.patch(path, 0, body).status == 413
    assert limited.patch_chunked(path, 0, [body]).status == 413
    assert limited.offset_of(path) <= MIB
    created = limited.create(None, body=body)
    assert created.status == 413


def test_line_13_many_small_patches_may_not_pass_the_maximum(limited: RawClient) -> None:
    path = limited.new_upload(None, body=body_of(MIB))
    assert limited.patch(path, MIB, b"x").status == 413
    assert limited.patch_chunked(path, MIB, [b"x"]).status == 413
    assert limited.offset_of(path) == MIB


def test_line_15_a_zero_length_upload_is_complete_at_creation(world: World) -> None:
    response = world.client.create(0)
    path = path_of(response)
    assert response.offset == 0
    assert world.object_of(path) == b""
    head = world.client.head(path)
    assert (head.status, head.offset, head.headers["Upload-Length"]) == (200, 0, "0")


def test_line_15_a_zero_length_upload_with_an_empty_first_chunk(world: World) -> None:
    headers = {"Content-Type": OCTET_STREAM}
    path = path_of(world.client.create(0, headers=headers))
    assert world.object_of(path) == b""
    headers |= TUS | {"Upload-Length": "0", "Transfer-Encoding": "chunked"}
    path = path_of(world.client.request("POST", "/files/", headers, chunks=[]))
    assert world.object_of(path) == b""


def test_line_16_the_body_is_the_first_chunk(world: World) -> None:
    response = world.client.create(6, body=b"abc")
    assert (response.status, response.offset) == (201, 3)
    path = path_of(response)
    assert world.client.offset_of(path) == 3
    world.client.upload_from(path, b"abcdef")
    assert world.object_of(path) == b"abcdef"


def test_line_16_the_body_may_be_the_whole_upload(world: World) -> None:
    response = world.client.create(6, body=b"abcdef")
    assert (response.status, response.offset) == (201, 6)
    assert world.object_of(path_of(response)) == b"abcdef"


def test_line_16_the_first_chunk_may_be_chunked(world: World) -> None:
    headers = TUS | {"Upload-Length": "6", "Content-Type": OCTET_STREAM}
    response = world.client.request("POST", "/files/", headers, chunks=[b"ab", b"c"])
    assert (response.status, response.offset) == (201, 3)


def test_line_16_a_first_chunk_past_the_length_is_413(world: World) -> None:
    with world.unchanged():
        assert world.client.create(3, body=b"abcd").status == 413


def test_line_16_a_first_chunk_refused_late_leaves_nothing(world: World) -> None:
    # That the body is too long shows only after parts of it were stored.
    headers = TUS | {"Upload-Length": f"{2 * PART_BYTES}", "Content-Type": OCTET_STREAM}
    with world.unchanged():
        chunks = [body_of(MIB)] * 11
        response = world.client.request("POST", "/files/", headers, chunks=chunks)
        assert (response.status, response.code) == (413, "body_too_long")


def test_line_16_a_chunked_first_chunk_past_the_length_is_413(client: RawClient) -> None:
    headers = TUS | {"Upload-Length": "3", "Content-Type": OCTET_STREAM}
    response = client.request("POST", "/files/", headers, chunks=[b"ab", b"cd"])
    assert (response.status, response.code) == (413, "body_too_long")


@pytest.mark.parametrize("kind", ["text/plain", "application/json", "multipart/form-data"])
def test_line_16_a_body_of_another_type_is_ignored(world: World, kind: str) -> None:
    headers = TUS | {"Upload-Length": "6", "Content-Type": kind}
    response = world.client.request("POST", "/files/", headers, b"{}")
    assert (response.status, response.offset) == (201, 0)
    path = path_of(response)
    world.client.upload_from(path, b"abcdef")
    assert world.object_of(path) == b"abcdef"


def test_line_16_an_ignored_body_is_not_read_as_a_request(world: World) -> None:
    victim = world.client.new_upload(5)
    hidden = b"DELETE %s HTTP/1.1\r\nHost: x\r\nTus-Resumable: 1.0.0\r\n\r\n" % victim.encode()
    headers = TUS | {"Upload-Length": "6", "Content-Type": "text/plain"}
    length = {"Content-Length": f"{len(hidden)}"}
    with world.client.connect() as connection:
        connection.send(connection.head_bytes("POST", "/files/", headers | length) + hidden)
        assert connection.read_response("POST").status == 201
        connection.finish()
        assert connection.read_until_closed() == b""
    assert world.client.head(victim).status == 200


@pytest.mark.parametrize("sent", [1, 100_000, PART_BYTES + 100_000])
def test_line_16_a_first_chunk_cut_short_leaves_an_upload_that_head_can_find(
    world: World, sent: int
) -> None:
    client = world.client
    body = body_of(2 * PART_BYTES)
    headers = TUS | {
        "Upload-Length": f"{len(body)}",
        "Content-Type": OCTET_STREAM,
        "Content-Length": f"{len(body)}",
    }
    before = set(world.redis.keys())
    with client.connect() as connection:
        connection.send_head("POST", "/files/", headers)
        connection.send(body[:sent])
        connection.assert_silent_for(1.0)

    path = world.made_since(before)
    assert client.offset_of(path) == sent
    client.upload_from(path, body)
    assert world.object_of(path) == body


def test_line_16_a_first_chunk_that_falls_silent_is_answered(client: RawClient) -> None:
    headers = TUS | {"Upload-Length": "6", "Content-Type": OCTET_STREAM, "Content-Length": "6"}
    with client.connect() as connection:
        connection.send_head("POST", "/files/", headers)
        connection.send(b"abc")
        response = connection.read_response("POST")
    assert response.status in {201, 503}
    if response.status == 201:
        assert client.offset_of(path_of(response)) == response.offset == 3


@pytest.mark.parametrize(
    "metadata",
    ["", " ", "k", "k ", "k dg==", "k dg==,l", "k ,l dg==", "k dg== , l dg==", "a/b.c-d dg=="],
)
def test_line_18_valid_metadata_is_taken(client: RawClient, metadata: str) -> None:
    response = client.create(5, metadata=metadata)
    assert response.status == 201
    head = client.head(path_of(response))
    assert (head.headers.get("Upload-Metadata") or "") == metadata.strip()


@pytest.mark.parametrize(
    "metadata",
    [
        "k !!!!", "k dg=", "k dg", "k dg==x", "k d g==", ",", "k dg==,", ",k dg==", "k dg==,k dg==",
        "k dg==,,l dg==", "k\u00e9 dg==", "k dg==\u00e9", "k -_-_", "k dg==;l dg==",
    ],
)  # fmt: skip
def test_line_18_malformed_metadata_is_400(world: World, metadata: str) -> None:
    with world.unchanged():
        response = world.client.create(5, metadata=metadata)
        assert (response.status, response.code) == (400, "invalid_header")


def test_line_18_metadata_up_to_the_limit_is_taken_and_beyond_it_refused(world: World) -> None:
    fitting = "k " + base64.b64encode(b"x" * 6138).decode()
    assert len(fitting) <= 8192
    path = world.client.new_upload(3, metadata=fitting)
    assert world.client.head(path).headers["Upload-Metadata"] == fitting
    world.client.upload_from(path, b"abc")
    assert world.object_of(path) == b"abc"
    with world.unchanged():
        response = world.client.create(3, metadata="k " + "A" * 8192)
        assert (response.status, response.code) == (431, "header_too_long")
        many = metadata_of({f"k{n}": "v" for n in range(65)})
        assert world.client.create(3, metadata=many).status == 400


def test_line_18_two_metadata_headers_never_mix(world: World) -> None:
    headers = [*TUS.items(), ("Upload-Length", "3")]
    twice = [*headers, ("Upload-Metadata", "a dg=="), ("Upload-Metadata", "b dg==")]
    with world.unchanged():
        assert world.client.request("POST", "/files/", twice).status == 400


def test_line_18_uppy_sends_strings_for_everything(client: RawClient) -> None:
    metadata = metadata_of({"relativePath": "null", "name": "x.jpg", "type": "image/jpeg"})
    path = client.new_upload(3, metadata=metadata)
    assert client.head(path).headers["Upload-Metadata"] == metadata


def test_line_18_metadata_cannot_inject_a_header(client: RawClient) -> None:
    evil = metadata_of({"filename": "a\r\nX-Evil: 1\r\n\r\n<html>", "filetype": "a/b\r\nX-Evil: 1"})
    path = client.new_upload(3, metadata=evil)
    assert client.patch(path, 0, b"abc").status == 204
    head = client.head(path)
    assert "X-Evil" not in head.headers
    assert head.headers["Upload-Metadata"] == evil


def test_line_18_headers_beyond_every_limit_do_no_harm(client: RawClient) -> None:
    with client.connect() as connection:
        connection.send_until_closed(
            connection.head_bytes("POST", "/files/", TUS | {"X-Long": "a" * 500_000})
        )
        connection.finish()
        connection.read_until_closed()
    assert client.create(3).status == 201
