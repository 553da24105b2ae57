"""tus-js-client in Node: the client that most others are built on, in each way it can be used."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.clients.conftest import RunScript
from tests.clients.scripts import Said, Script
from tests.support.bodies import MIB, body_of
from tests.support.tcp_proxy import TcpProxy
from tests.support.tus import metadata_of
from tests.support.waiting import eventually
from tests.support.world import World

METADATA = {"filename": "Überflüge 東京.pdf", "empty": "", "filetype": "application/pdf"}
LENGTH = 12 * MIB + 345
CHUNK_BYTES = 512_000
# A cut connection costs what was on its way: what was sent and the server had not yet read.
LOST_MAX_BYTES = MIB

Upload = Callable[..., Script]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file of `LENGTH` random bytes."""
    path = tmp_path / "file.bin"
    path.write_bytes(body_of(LENGTH))
    return path


@pytest.fixture
def upload(script: RunScript, network: TcpProxy) -> Upload:
    """Start tus-js-client on a file: `upload(path, source=..., chunkSize=...)`."""

    def start(path: Path, **given: Any) -> Script:  # noqa: ANN401 - becomes JSON
        own = {key: given.pop(key) for key in ("source", "urlStorage", "abortAt") if key in given}
        options = {"metadata": METADATA, **given}
        endpoint = f"{network.url}/files/"
        return script("node/upload.mjs", endpoint=endpoint, path=str(path), options=options, **own)

    return start


def path_of(result: Said) -> str:
    """The upload's path."""
    return urlsplit(result["url"]).path


def methods(result: Said) -> Counter[str]:
    """How often each request was answered."""
    return Counter(request["method"] for request in result["requests"])


def assert_stored(world: World, result: Said, file: Path) -> None:
    """The object has the file's bytes, and the upload the metadata that was sent."""
    path, body = path_of(result), file.read_bytes()
    stored = world.object_of(path)
    assert len(stored) == len(body)
    assert hashlib.sha256(stored).digest() == hashlib.sha256(body).digest()
    head = world.client.head(path)
    assert (head.status, head.offset) == (200, len(body))
    assert head.headers["Upload-Length"] == f"{len(body)}"
    assert head.headers["Upload-Metadata"] == metadata_of(METADATA)


def test_a_whole_file_in_one_patch(world: World, upload: Upload, file: Path) -> None:
    result = upload(file).finish()
    assert methods(result) == {"POST": 1, "PATCH": 1}
    assert_stored(world, result, file)


def test_the_name_and_type_reach_the_object(world: World, upload: Upload, file: Path) -> None:
    result = upload(file).finish()
    stored = world.bucket.get(world.key_of(path_of(result)))
    assert stored is not None
    assert stored.content_type == "application/pdf"
    assert "%E6%9D%B1%E4%BA%AC.pdf" in (stored.content_disposition or "")


@pytest.mark.parametrize("source", ["file", "buffer"])
def test_chunks_smaller_than_a_part(world: World, upload: Upload, file: Path, source: str) -> None:
    result = upload(file, source=source, chunkSize=CHUNK_BYTES).finish()
    assert methods(result) == {"POST": 1, "PATCH": -(-LENGTH // CHUNK_BYTES)}
    assert_stored(world, result, file)


@pytest.mark.parametrize("chunk_bytes", [None, 5 * MIB], ids=["whole", "chunks"])
def test_data_during_creation(
    world: World, upload: Upload, file: Path, chunk_bytes: int | None
) -> None:
    """The POST carries the first bytes, and its answer says how many were taken."""
    chunks = {} if chunk_bytes is None else {"chunkSize": chunk_bytes}
    result = upload(file, uploadDataDuringCreation=True, **chunks).finish()
    patches = 0 if chunk_bytes is None else -(-LENGTH // chunk_bytes) - 1
    assert methods(result) == Counter(POST=1, PATCH=patches) - Counter()
    assert_stored(world, result, file)


@pytest.mark.parametrize("length", [1, 20 * CHUNK_BYTES - 1, LENGTH])
def test_a_stream_of_unknown_length(
    world: World, upload: Upload, tmp_path: Path, length: int
) -> None:
    """The length is declared with the last bytes. (On a stream that ends on a chunk's boundary,
    tus-js-client itself waits for ever.)"""
    file = tmp_path / "stream.bin"
    file.write_bytes(body_of(length))
    result = upload(
        file, source="stream", uploadLengthDeferred=True, chunkSize=CHUNK_BYTES
    ).finish()
    assert [request["length"] for request in result["requests"] if "length" in request] == [
        f"{length}"
    ]
    assert_stored(world, result, file)


def test_an_empty_file(world: World, upload: Upload, tmp_path: Path) -> None:
    file = tmp_path / "empty.bin"
    file.touch()
    result = upload(file).finish()
    assert methods(result) == {"POST": 1}
    assert_stored(world, result, file)


def test_patch_by_post(world: World, upload: Upload, file: Path) -> None:
    """`overridePatchMethod`, for networks that know no PATCH."""
    result = upload(file, overridePatchMethod=True, chunkSize=5 * MIB).finish()
    assert [request.get("override") for request in result["requests"]] == [None, *["PATCH"] * 3]
    assert_stored(world, result, file)


def test_abort_and_terminate(world: World, upload: Upload, file: Path) -> None:
    """`abort(true)` in the middle of a PATCH: the upload is gone, and so is all it had stored."""
    result = upload(file, chunkSize=6 * MIB, abortAt=6 * MIB).finish()
    assert methods(result)["DELETE"] == 1
    assert result["requests"][-1]["status"] == 204
    path = path_of(result)
    assert world.client.head(path).status == 404
    eventually(lambda: not world.traces_of(path), what="nothing is left of the upload")


@pytest.mark.parametrize("chunks", [{}, {"chunkSize": CHUNK_BYTES}], ids=["whole", "chunks"])
@pytest.mark.parametrize("creation", [False, True], ids=["patch", "post"])
def test_a_cut_connection_is_resumed(
    world: World,
    upload: Upload,
    network: TcpProxy,
    file: Path,
    chunks: dict[str, int],
    creation: bool,
) -> None:
    """With its default `retryDelays`, by the client itself, sending little again."""
    network.cut_after(LENGTH // 2)
    result = upload(file, uploadDataDuringCreation=creation, **chunks).finish()
    assert network.is_cut
    if not creation or chunks:
        # A POST that was cut short has told the client no URL: it has to begin again.
        assert methods(result)["HEAD"] == 1
        assert network.sent_bytes < LENGTH + LOST_MAX_BYTES
    assert_stored(world, result, file)


def test_a_network_that_is_away_for_seconds(
    world: World, upload: Upload, network: TcpProxy, file: Path
) -> None:
    """The client's attempts fail until there is a way again; then it goes on."""
    network.cut_after(LENGTH // 2, goes_down=True)
    client = upload(file)
    eventually(lambda: network.is_cut, what="the connection is cut")
    network.up()
    result = client.finish()
    assert methods(result) == {"POST": 1, "HEAD": 1, "PATCH": 1}
    assert_stored(world, result, file)


@pytest.mark.parametrize("chunks", [{}, {"chunkSize": CHUNK_BYTES}], ids=["whole", "chunks"])
def test_another_process_finds_the_upload(
    world: World,
    upload: Upload,
    network: TcpProxy,
    file: Path,
    tmp_path: Path,
    chunks: dict[str, int],
) -> None:
    """`findPreviousUploads`: the next run goes on where the server says."""
    urls = str(tmp_path / "urls.json")
    network.cut_after(LENGTH // 2)
    first = upload(file, urlStorage=urls, retryDelays=None, **chunks)
    first.expect("failed")
    assert first.exit_status() == 1
    sent_bytes = network.sent_bytes

    result = upload(file, urlStorage=urls, **chunks).finish()
    assert methods(result)["POST"] == 0
    offset = int(result["requests"][1]["offset"])
    assert sent_bytes - LOST_MAX_BYTES < offset < sent_bytes
    assert network.sent_bytes - sent_bytes < LENGTH - offset + LOST_MAX_BYTES
    assert_stored(world, result, file)


def test_a_known_url_is_resumed(world: World, upload: Upload, file: Path) -> None:
    """`uploadUrl`: HEAD, then one PATCH from there."""
    start = 7 * MIB
    path = world.client.new_upload(
        LENGTH, metadata=metadata_of(METADATA), body=file.read_bytes()[:start]
    )
    host, port = world.client.address
    result = upload(file, uploadUrl=f"http://{host}:{port}{path}").finish()
    assert methods(result) == {"HEAD": 1, "PATCH": 1}
    assert result["requests"][1]["offset"] == f"{start}"
    assert_stored(world, result, file)


def test_a_gone_upload_is_made_anew(world: World, upload: Upload, file: Path) -> None:
    """A URL that the server does not know (404) is answered by the client with a POST."""
    host, port = world.client.address
    gone = f"http://{host}:{port}/files/AAAAAAAAAAAAAAAAAAAAAA"
    result = upload(file, uploadUrl=gone).finish()
    assert methods(result) == {"HEAD": 1, "POST": 1, "PATCH": 1}
    assert_stored(world, result, file)
