"""GET of a finished upload: its bytes, all of them or a range, and what goes with them."""

from __future__ import annotations

import random

import pytest

from tests.support.bodies import KIB, PART_BYTES, body_of
from tests.support.raw import RawResponse
from tests.support.tus import RawClient, metadata_of
from tests.support.world import World

SIZE = 2 * PART_BYTES + 12_345


def get(client: RawClient, path: str, **headers: str) -> RawResponse:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.request("GET", path, named)


def stored(client: RawClient, body: bytes, **metadata: str | bytes) -> str:
    """An upload of `body`, finished; its path."""
    path = client.new_upload(len(body), metadata=metadata_of(metadata) or None)
    client.upload_from(path, body)
    return path


@pytest.fixture(scope="module")
def body() -> bytes:
    return body_of(SIZE)


@pytest.fixture(scope="module")
def path(world: World, body: bytes) -> str:
    return stored(world.client, body, filename="film.mp4", filetype="video/mp4")


@pytest.mark.parametrize("size", [0, 1, 70 * KIB, PART_BYTES, PART_BYTES + 1])
def test_the_whole_object(client: RawClient, size: int) -> None:
    whole = body_of(size)
    answer = get(client, stored(client, whole))
    assert (answer.status, answer.body) == (200, whole)
    assert answer.headers["Content-Length"] == f"{size}"
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert "Content-Range" not in answer.headers


def test_three_hundred_random_ranges(client: RawClient, path: str, body: bytes) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")  # noqa: T201 - to replay
    chance = random.Random(seed)
    with client.connect() as connection:
        for _ in range(300):
            first = chance.randrange(SIZE)
            last = min(first + chance.randrange(200 * KIB), SIZE + 10)
            connection.send_head("GET", path, {"Range": f"bytes={first}-{last}"})
            answer = connection.read_response("GET")
            expected = body[first : last + 1]
            assert (answer.status, answer.body) == (206, expected), (first, last)
            end = first + len(expected) - 1
            assert answer.headers["Content-Range"] == f"bytes {first}-{end}/{SIZE}"
            assert answer.headers["Content-Length"] == f"{len(expected)}"


def test_an_unfinished_upload_is_404_and_says_so(client: RawClient) -> None:
    path = client.new_upload(10)
    client.patch(path, 0, b"12345")
    answer = get(client, path)
    assert (answer.status, answer.code) == (404, "upload_unfinished")


@pytest.mark.parametrize("name", ["A" * 22, "nonsense", "%2e%2e"])
def test_an_unknown_upload_is_404(client: RawClient, name: str) -> None:
    answer = get(client, f"/files/{name}")
    assert (answer.status, answer.code) == (404, "upload_not_found")
