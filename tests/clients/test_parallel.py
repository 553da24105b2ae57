"""`parallelUploads`: a file in several partial uploads at once, put together at the end."""

from __future__ import annotations

import hashlib
from collections import Counter
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

METADATA = {"filename": "Überflüge 東京.pdf", "filetype": "application/pdf"}
PARALLEL = 4
LENGTH = 30 * MIB + 345
SMALL = 3 * MIB + 7
"""Its partial uploads are all short of a part: none becomes an object."""
LOST_MAX_BYTES = PARALLEL * MIB
"""What was on its way on each connection that was cut."""


@pytest.fixture(params=[LENGTH, SMALL], ids=["large", "small"])
def file(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A file of random bytes."""
    path = tmp_path / "file.bin"
    path.write_bytes(body_of(request.param))
    return path


def start(script: RunScript, network: TcpProxy, path: Path, **given: Any) -> Script:  # noqa: ANN401 - options of tus-js-client
    """tus-js-client at work on a file."""
    own = {key: given.pop(key) for key in ("urlStorage",) if key in given}
    options = {"metadata": METADATA, "parallelUploads": PARALLEL, **given}
    endpoint = f"{network.url}/files/"
    return script("node/upload.mjs", endpoint=endpoint, path=str(path), options=options, **own)


def assert_stored(world: World, result: Said, file: Path) -> None:
    """The object has the file's bytes and the metadata of the whole."""
    path, body = urlsplit(result["url"]).path, file.read_bytes()
    stored = world.bucket.get(world.key_of(path))
    assert stored is not None
    assert hashlib.sha256(stored.body).digest() == hashlib.sha256(body).digest()
    assert stored.content_type == "application/pdf"
    head = world.client.head(path)
    assert (head.offset, head.headers["Upload-Length"]) == (len(body), f"{len(body)}")
    assert head.headers["Upload-Metadata"] == metadata_of(METADATA)
    assert len(head.headers["Upload-Concat"].split()) == PARALLEL


@pytest.mark.parametrize("chunks", [{}, {"chunkSize": 512_000}], ids=["whole", "chunks"])
def test_line_23_tus_js_client_uploads_in_parallel(
    world: World, script: RunScript, network: TcpProxy, file: Path, chunks: dict[str, int]
) -> None:
    result = start(script, network, file, **chunks).finish()
    methods = Counter(request["method"] for request in result["requests"])
    assert methods["POST"] == PARALLEL + 1
    assert_stored(world, result, file)


def test_line_23_tus_js_client_resumes_all_its_parts_by_itself(
    world: World, script: RunScript, network: TcpProxy, file: Path
) -> None:
    """The network is away in the middle of all of them."""
    length = file.stat().st_size
    network.cut_after(length // 2, goes_down=True)
    client = start(script, network, file)
    eventually(lambda: network.is_cut, what="the connections are cut")
    network.up()
    result = client.finish()
    assert Counter(request["method"] for request in result["requests"])["HEAD"] >= 1
    assert network.sent_bytes < length + LOST_MAX_BYTES
    assert_stored(world, result, file)


def test_line_23_another_run_of_tus_js_client_goes_on(
    world: World, script: RunScript, network: TcpProxy, file: Path, tmp_path: Path
) -> None:
    """`findPreviousUploads` knows the partial uploads' URLs."""
    urls = str(tmp_path / "urls.json")
    length = file.stat().st_size
    network.cut_after(length // 2, goes_down=True)
    first = start(script, network, file, urlStorage=urls, retryDelays=None)
    first.expect("failed")
    assert first.exit_status() == 1
    network.up()
    sent_bytes = network.sent_bytes
    result = start(script, network, file, urlStorage=urls).finish()
    methods = Counter(request["method"] for request in result["requests"])
    assert (methods["POST"], methods["HEAD"]) == (1, PARALLEL)
    assert network.sent_bytes - sent_bytes < length - sent_bytes + LOST_MAX_BYTES
    assert_stored(world, result, file)


@pytest.mark.parametrize("is_cut", [False, True], ids=["", "cut"])
def test_line_23_uppy_uploads_in_parallel(
    world: World, script: RunScript, chromium: str, network: TcpProxy, file: Path, is_cut: bool
) -> None:
    length = file.stat().st_size
    if is_cut:
        network.cut_after(length // 2)
    page = script(
        "browser/parallel.mjs",
        chromium=chromium,
        endpoint=f"{network.url}/files/",
        path=str(file),
        metadata=METADATA,
        options={"parallelUploads": PARALLEL, "allowedMetaFields": list(METADATA)},
    )
    result = page.finish(within_s=60.0)
    assert network.is_cut is is_cut
    methods = Counter(exchange["method"] for exchange in result["exchanges"])
    assert methods["POST"] == PARALLEL + 1
    assert (methods["HEAD"] > 0) is is_cut
    # Chromium sends a PATCH again by itself when its connection is reset; that one gets 409.
    expected = ("net::ERR_", "409 (Conflict)") if is_cut else ()
    assert [text for text in result["problems"] if not any(e in text for e in expected)] == []
    assert_stored(world, result, file)
