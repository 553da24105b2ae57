"""A page of another origin than the server's: what Chromium lets it send and read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.clients.conftest import RunScript
from tests.clients.scripts import Said
from tests.support.bodies import KIB, MIB
from tests.support.server import ServerProcess
from tests.support.world import World

CHUNK_BYTES = 256 * KIB

Upload = Callable[..., Said]


@pytest.fixture
def upload(script: RunScript, chromium: str, server: ServerProcess) -> Upload:
    """Upload so many bytes from a page elsewhere: `upload(length, source=..., chunkSize=...)`."""

    def run(length: int, *, source: str = "file", **options: Any) -> Said:  # noqa: ANN401 - JSON
        endpoint = f"http://127.0.0.1:{server.port}/files/"
        job = {"chromium": chromium, "endpoint": endpoint, "length": length, "source": source}
        return script("browser/cors.mjs", **job, options=options).finish()

    return run


def counting(length: int) -> bytes:
    """The bytes that the page uploads."""
    return (bytes(range(251)) * (length // 251 + 1))[:length]


def assert_stored(world: World, result: Said, length: int) -> None:
    """The page has seen no error, and the object is whole."""
    assert result["problems"] == []
    assert world.object_of(urlsplit(result["url"]).path) == counting(length)


@pytest.mark.parametrize("creation", [False, True], ids=["patch", "post"])
def test_a_page_elsewhere_can_upload(
    world: World, upload: Upload, server: ServerProcess, creation: bool
) -> None:
    """It may send what tus needs, and read `Location` and `Upload-Offset`."""
    length = 6 * MIB
    result = upload(length, uploadDataDuringCreation=creation, chunkSize=4 * MIB)
    assert urlsplit(result["origin"]).port != server.port
    created, *patches = result["answers"]
    assert created["location"] == result["url"]
    ends = [4 * MIB, 6 * MIB]
    assert [int(answer["offset"]) for answer in (created, *patches)] == (
        ends if creation else [0, *ends]
    )
    assert_stored(world, result, length)


def test_a_stream_that_ends_on_a_chunk(world: World, upload: Upload) -> None:
    """Its length is declared by an empty PATCH at its end."""
    length = 4 * CHUNK_BYTES
    result = upload(length, source="stream", uploadLengthDeferred=True, chunkSize=CHUNK_BYTES)
    last = [sent for sent in result["exchanges"] if sent["method"] == "PATCH"][-1]
    assert (last["status"], last["length"], last["offset"]) == (204, f"{length}", f"{length}")
    assert_stored(world, result, length)
