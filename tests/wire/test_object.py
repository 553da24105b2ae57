"""The object: byte for byte what was sent, under its key, with what the client said of it."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import unquote

import pytest

from tests.conftest import StartServer
from tests.support.bodies import PART_BYTES, body_of
from tests.support.tus import RawClient, id_of, metadata_of, path_of
from tests.support.world import World

SIZES = [
    0,
    1,
    PART_BYTES - 1,
    PART_BYTES,
    PART_BYTES + 1,
    2 * PART_BYTES,
    2 * PART_BYTES + 1,
    3 * PART_BYTES + 12_345,
]
ODD_SIZES = [1, 65_537, 700_001, 4_999_999, 17, 2_222_222]


def in_one_patch(client: RawClient, body: bytes) -> str:
    path = client.new_upload(len(body))
    client.upload_from(path, body)
    return path


def at_creation(client: RawClient, body: bytes) -> str:
    response = client.create(len(body), body=body)
    assert response.offset == len(body)
    return path_of(response)


def in_odd_patches(client: RawClient, body: bytes) -> str:
    path = client.new_upload(len(body))
    client.upload_from(path, body, ODD_SIZES)
    return path


def as_tuskit_does(client: RawClient, body: bytes) -> str:
    path = client.new_upload(len(body))
    client.upload_from(path, body, [512_000])
    return path


def chunked_and_deferred(client: RawClient, body: bytes) -> str:
    path = client.new_upload(None)
    half = len(body) // 2
    first = [body[:half]] if half else []
    assert client.patch_chunked(path, 0, first).offset == half
    declared = {"Upload-Length": f"{len(body)}"}
    rest = [body[half:]] if body else []
    assert client.patch_chunked(path, half, rest, declared).offset == len(body)
    return path


WAYS = [in_one_patch, at_creation, in_odd_patches, as_tuskit_does, chunked_and_deferred]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("way", WAYS)
def test_the_object_is_byte_for_byte_what_was_sent(
    world: World, way: Callable[[RawClient, bytes], str], size: int
) -> None:
    body = body_of(size, seed=size)
    path = way(world.client, body)
    assert world.object_of(path) == body
    assert world.client.offset_of(path) == size


def test_nothing_but_the_object_is_left_in_the_bucket(world: World) -> None:
    path = in_odd_patches(world.client, body_of(2 * PART_BYTES + 1))
    left = [trace for trace in world.traces_of(path) if world.stores.redis_prefix not in trace]
    assert left == [world.key_of(path)]


def test_the_key_is_the_prefix_and_the_id(world: World) -> None:
    path = in_one_patch(world.client, b"abc")
    assert world.stores.object_prefix + id_of(path) in world.bucket.keys(world.stores.object_prefix)


LENGTHS = [3, PART_BYTES + 1]
"""One that becomes a single object at once, and one that is put together of parts."""


@pytest.mark.parametrize("length", LENGTHS)
def test_type_name_and_metadata_reach_the_object(world: World, length: int) -> None:
    said = {"filename": "holiday.jpg", "filetype": "image/jpeg", "album": "2024"}
    path = world.client.new_upload(length, metadata=metadata_of(said))
    world.client.upload_from(path, body_of(length))
    stored = world.bucket.get(world.key_of(path))
    assert stored is not None
    assert stored.content_type == "image/jpeg"
    assert stored.content_disposition == "attachment; filename*=UTF-8''holiday.jpg"
    assert {name.lower(): value for name, value in stored.metadata.items()} == said


@pytest.mark.parametrize("length", LENGTHS)
def test_metadata_of_any_script_reaches_the_object(world: World, length: int) -> None:
    said = {"filename": "Übergröße 写真.png", "note": "naïve\nline two, 100 %", "empty": ""}
    path = world.client.new_upload(length, metadata=metadata_of(said))
    world.client.upload_from(path, body_of(length))
    stored = world.bucket.get(world.key_of(path))
    assert stored is not None
    assert stored.content_disposition is not None
    name = stored.content_disposition.removeprefix("attachment; filename*=UTF-8''")
    assert unquote(name) == said["filename"]
    kept = {key.lower(): unquote(value) for key, value in stored.metadata.items()}
    # Some stores drop empty values; nothing else may be missing.
    assert kept | {"empty": ""} == said


@pytest.mark.parametrize("key", ["filetype", "type", "contentType"])
@pytest.mark.parametrize("name", ["filename", "name"])
def test_every_client_family_s_names_for_type_and_name_count(
    world: World, key: str, name: str
) -> None:
    metadata = metadata_of({key: "video/mp4", name: "clip.mp4"})
    path = path_of(world.client.create(3, metadata=metadata, body=b"abc"))
    stored = world.bucket.get(world.key_of(path))
    assert stored is not None
    assert stored.content_type == "video/mp4"
    assert stored.content_disposition == "attachment; filename*=UTF-8''clip.mp4"


@pytest.mark.parametrize("length", LENGTHS)
def test_metadata_that_no_header_could_carry_does_no_harm(world: World, length: int) -> None:
    said: dict[str, str | bytes] = {
        "filename": "../../etc/pass\r\nwd\x00",
        "filetype": "text/html\r\nX-Evil: 1",
        "bytes": bytes(range(256)),
        "large": "x" * 4000,
        "a/b(c)": "odd key",
    }
    path = world.client.new_upload(length, metadata=metadata_of(said))
    world.client.upload_from(path, body_of(length))
    stored = world.bucket.get(world.key_of(path))
    assert stored is not None
    assert stored.body == body_of(length)
    assert stored.content_type != said["filetype"]
    assert "/" not in unquote((stored.content_disposition or "").partition("''")[2])


def test_a_zero_length_object_has_its_type_too(world: World) -> None:
    path = path_of(world.client.create(0, metadata=metadata_of({"type": "text/plain"})))
    stored = world.bucket.get(world.key_of(path))
    assert stored is not None
    assert (stored.body, stored.content_type) == (b"", "text/plain")


def test_larger_parts_hold_the_same_bytes(world: World, start_server: StartServer) -> None:
    server = start_server(over=world.stores, s3_part_size="8MiB")
    body = body_of(2 * 8 * 1024 * 1024 + 77)
    path = in_odd_patches(server.client, body)
    assert world.object_of(path) == body


def test_two_workers_of_one_server_serve_the_same_uploads(
    world: World, start_server: StartServer
) -> None:
    # Every request has its own connection, so that either worker may get it.
    server = start_server(over=world.stores, workers=2)
    body = body_of(2 * PART_BYTES + 1)
    path = in_odd_patches(server.client, body)
    assert world.object_of(path) == body
