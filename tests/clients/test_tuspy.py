"""tuspy: one blocking request after another; it loops on a PATCH that does not advance, and by
itself resumes only as often as it is told to."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from tusclient.client import TusClient
from tusclient.exceptions import TusUploadFailed
from tusclient.storage.filestorage import FileStorage

from tests.support.bodies import KIB, MIB, body_of
from tests.support.tcp_proxy import TcpProxy
from tests.support.tus import metadata_of
from tests.support.world import World

# A cut connection costs what was on its way: what the proxy had sent and the server not yet read.
LOST_MAX_BYTES = MIB


Start = Callable[..., Any]
"""Makes an uploader. Its type is not used: tuspy declares that an uploader's `url` is None."""


@pytest.fixture
def tus(network: TcpProxy) -> Start:
    """Make an uploader that goes through the network."""
    return TusClient(f"{network.url}/files/").uploader


def path_of(url: str) -> str:
    """The upload's path."""
    return urlsplit(url).path


def assert_stored(world: World, url: str, body: bytes) -> None:
    """The upload is complete and its object has these bytes."""
    assert world.client.offset_of(path_of(url)) == len(body)
    assert world.object_of(path_of(url)) == body


# tuspy opens the file anew for every request and leaves it to the collector to close.
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
def test_a_file_in_one_request(world: World, tus: Start, tmp_path: Path) -> None:
    body = body_of(12 * MIB + 345)
    file = tmp_path / "whole.bin"
    file.write_bytes(body)
    uploader = tus(str(file), metadata={"filename": file.name})
    uploader.upload()
    assert_stored(world, uploader.url, body)


@pytest.mark.parametrize("chunk_bytes", [512 * KIB, 6 * MIB])
@pytest.mark.parametrize("length", [6 * MIB, 12 * MIB + 345])
def test_chunks(world: World, tus: Start, chunk_bytes: int, length: int) -> None:
    """Every chunk counts in its own response, whatever it is to a part."""
    body = body_of(length)
    uploader = tus(file_stream=io.BytesIO(body), chunk_size=chunk_bytes)
    offsets = []
    while uploader.offset < length:
        uploader.upload_chunk()
        offsets.append(uploader.offset)
    ends = range(chunk_bytes, length + chunk_bytes, chunk_bytes)
    assert offsets == [min(end, length) for end in ends]
    assert_stored(world, uploader.url, body)


@pytest.mark.parametrize(
    "metadata",
    [
        {"filename": "Überflüge 東京.pdf", "filetype": "application/pdf"},
        {"filename": "", "note": "an empty name"},
        {},
    ],
    ids=["not-ascii", "empty-value", "none"],
)
def test_metadata(world: World, tus: Start, metadata: dict[str, str]) -> None:
    """It comes back as sent; none at all is sent as an empty header."""
    uploader = tus(file_stream=io.BytesIO(b"hello"), metadata=metadata)
    uploader.upload()
    assert_stored(world, uploader.url, b"hello")
    sent = metadata_of(metadata)
    assert (world.client.head(path_of(uploader.url)).headers.get("Upload-Metadata") or "") == sent


def test_an_empty_file(world: World, tus: Start) -> None:
    """Only the POST is sent."""
    uploader = tus(file_stream=io.BytesIO(b""))
    uploader.upload()
    assert_stored(world, uploader.url, b"")


@pytest.mark.parametrize("chunk_bytes", [512 * KIB, 100 * MIB], ids=["chunks", "whole"])
def test_a_cut_connection_is_resumed(
    world: World, tus: Start, network: TcpProxy, chunk_bytes: int
) -> None:
    """With retries, tuspy asks for the offset and goes on from there by itself."""
    body = body_of(20 * MIB)
    uploader = tus(file_stream=io.BytesIO(body), chunk_size=chunk_bytes, retries=3, retry_delay=0)
    network.cut_after(8 * MIB)
    uploader.upload()
    assert network.is_cut
    assert network.sent_bytes < len(body) + LOST_MAX_BYTES
    assert_stored(world, uploader.url, body)


def test_another_process_resumes_from_the_url(world: World, tus: Start, network: TcpProxy) -> None:
    """What a new uploader asks for is what the server has, and nearly all that was sent."""
    body, sent_bytes = body_of(20 * MIB), 8 * MIB
    broken = tus(file_stream=io.BytesIO(body))
    broken.set_url(broken.create_url())
    network.cut_after(sent_bytes)
    with pytest.raises(TusUploadFailed):
        broken.upload()
    resumed = tus(file_stream=io.BytesIO(body), url=broken.url)
    assert sent_bytes - LOST_MAX_BYTES < resumed.offset <= sent_bytes
    assert resumed.offset == world.client.offset_of(path_of(broken.url))
    resumed.upload()
    assert_stored(world, resumed.url, body)


def test_the_url_store_finds_the_upload(world: World, tus: Start, tmp_path: Path) -> None:
    """`store_url`: the same file again goes on where it was."""
    body = body_of(12 * MIB)
    store: Any = FileStorage(str(tmp_path / "urls.json"))  # type: ignore[no-untyped-call] # tuspy's
    stopped = tus(file_stream=_Unclosable(body), store_url=True, url_storage=store)
    stopped.upload(stop_at=6 * MIB)
    again = tus(file_stream=_Unclosable(body), store_url=True, url_storage=store)
    assert (again.url, again.offset) == (stopped.url, 6 * MIB)
    again.upload()
    store.close()
    assert_stored(world, again.url, body)


class _Unclosable(io.BytesIO):
    """tuspy closes the stream it takes a fingerprint of, and then reads from it."""

    def close(self) -> None:
        """Stay open."""
