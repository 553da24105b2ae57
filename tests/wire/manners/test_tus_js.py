"""tus-js-client 4.3.1: every option that changes what is on the wire, over a line that breaks."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.support.bodies import KIB, MIB, PART_BYTES, body_of
from tests.support.tus import TUS
from tests.support.waiting import eventually
from tests.support.world import World
from tests.wire.manners.line import Fault, Line, assert_whole, each_fault
from tests.wire.manners.tus_js import HttpError, TusJs, encode_metadata

BODY = body_of(PART_BYTES + 300 * KIB + 7)
SMALL = body_of(MIB + 300 * KIB + 7)
METADATA = {"filename": "Überflüge.pdf", "empty": "", "filetype": "application/pdf"}

OPTIONS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "metadata": {"metadata": METADATA},
    "headers": {"headers": {"Authorization": "Bearer x"}, "add_request_id": True},
    "chunk_size": {"chunk_size": 512 * KIB},
    "override_patch_method": {"override_patch_method": True},
    "override_and_chunks": {"override_patch_method": True, "chunk_size": 512 * KIB},
    "data_during_creation": {"upload_data_during_creation": True},
    "data_during_creation_and_chunks": {
        "upload_data_during_creation": True,
        "chunk_size": 512 * KIB,
    },
    "length_deferred": {"upload_length_deferred": True},
    "length_deferred_and_chunks": {"upload_length_deferred": True, "chunk_size": 512 * KIB},
}

CUTS = [
    pytest.param(options, fault, id=f"{name}-{fault.name.lower()}")
    for turn, (name, options) in enumerate(OPTIONS.items())
    for fault in Fault
    # Every option once; the two ways of sending a body with every fault.
    if name in {"defaults", "chunk_size"} or fault is [*Fault][turn % len(Fault)]
]

each_option = pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)


@each_option
def test_an_undisturbed_upload(
    world: World, line: Line, endpoint: str, options: dict[str, Any]
) -> None:
    url = TusJs(line, endpoint, SMALL, **options).upload()
    assert_whole(world, url, SMALL)
    asked = [entry.split()[0] for entry in line.record]
    chunk = options.get("chunk_size", len(SMALL))
    with_first = options.get("upload_data_during_creation", False)
    assert asked == ["POST"] + ["PATCH"] * (-(-len(SMALL) // chunk) - with_first)


@pytest.mark.parametrize(("options", "fault"), CUTS)
def test_an_upload_that_is_cut_once(
    world: World, line: Line, endpoint: str, options: dict[str, Any], fault: Fault
) -> None:
    """It goes on by itself, asking for the offset once and sending nothing twice that was kept."""
    line.spoil(fault, 2 if "chunk_size" in options else 1)
    body = BODY if options in (OPTIONS["defaults"], OPTIONS["chunk_size"]) else SMALL
    assert_whole(world, TusJs(line, endpoint, body, **options).upload(), body)
    assert [entry for entry in line.record if entry.endswith(fault.value)], line.record
    if options == OPTIONS["data_during_creation"]:
        # Nothing told the client a URL, so it has to begin again.
        assert line.record == [f"POST {fault.value}", "POST 201"]
        return
    assert line.record.count("HEAD 200") == 1
    assert line.record.count("POST 201") == 1
    assert "PATCH 409" not in line.record


@each_fault
@pytest.mark.parametrize("deferred", [False, True], ids=["length", "deferred"])
def test_the_last_chunk_is_lost(
    world: World, line: Line, endpoint: str, deferred: bool, fault: Fault
) -> None:
    """If the server has all of it, the HEAD says so, and the client asks for nothing more."""
    line.spoil(fault, 3)
    client = TusJs(line, endpoint, SMALL, chunk_size=512 * KIB, upload_length_deferred=deferred)
    assert_whole(world, client.upload(), SMALL)
    if fault is Fault.ANSWER_LOST:
        assert line.record[-2:] == [f"PATCH {fault.value}", "HEAD 200"]


def test_the_network_stays_bad(world: World, line: Line, endpoint: str) -> None:
    """Attempts count from the last progress; with any at all, four in a row are not used up."""
    line.spoil(Fault.CUT, *range(1, 30, 2))
    url = TusJs(line, endpoint, BODY, chunk_size=MIB).upload()
    assert_whole(world, url, BODY)
    assert line.record.count("POST 201") == 1


def test_an_empty_file(world: World, line: Line, endpoint: str) -> None:
    assert_whole(world, TusJs(line, endpoint, b"").upload(), b"")
    assert line.record == ["POST 201"]


def test_an_empty_stream(world: World, line: Line, endpoint: str) -> None:
    """Its length comes with a PATCH that has no body."""
    url = TusJs(line, endpoint, b"", upload_length_deferred=True, chunk_size=MIB).upload()
    assert_whole(world, url, b"")
    assert line.record == ["POST 201", "PATCH 204"]


def test_the_metadata_comes_back_as_it_was_sent(world: World, line: Line, endpoint: str) -> None:
    url = TusJs(line, endpoint, b"hello", metadata=METADATA).upload()
    head = world.client.head(urlsplit(url).path)
    assert head.headers["Upload-Metadata"] == encode_metadata(METADATA)


@pytest.mark.parametrize("removes", [False, True], ids=["keeps", "removes"])
def test_another_run_finds_the_upload(
    world: World, line: Line, endpoint: str, removes: bool
) -> None:
    """`removeFingerprintOnSuccess`: what was stored serves a run that failed, and no other."""
    stored: dict[str, str] = {}
    options: dict[str, Any] = {"stored": stored, "remove_fingerprint_on_success": removes}
    line.spoil(Fault.ANSWER_LOST, 2)
    with pytest.raises(HttpError):
        TusJs(line, endpoint, SMALL, chunk_size=512 * KIB, retry_delays=0, **options).upload()
    second = TusJs(line, endpoint, SMALL, **options)
    second.resume_from_previous_upload()
    assert_whole(world, second.upload(), SMALL)
    failed = ["POST 201", "PATCH 204", f"PATCH {Fault.ANSWER_LOST.value}"]
    assert line.record == [*failed, "HEAD 200", "PATCH 204"]

    third = TusJs(line, endpoint, SMALL, **options)
    third.resume_from_previous_upload()
    assert_whole(world, third.upload(), SMALL)
    assert line.record[5:] == (["POST 201", "PATCH 204"] if removes else ["HEAD 200"])


def test_a_stored_url_that_is_gone(world: World, line: Line, endpoint: str) -> None:
    """404: the client forgets it and makes the upload anew."""
    gone = f"{endpoint}AAAAAAAAAAAAAAAAAAAAAA"
    url = TusJs(line, endpoint, SMALL, upload_url=gone).upload()
    assert line.record == ["HEAD 404", "POST 201", "PATCH 204"]
    assert "Upload-Offset" not in line.answers[0].headers
    assert_whole(world, url, SMALL)


def test_abort_and_terminate(world: World, line: Line, endpoint: str) -> None:
    """`abort(true)` while a PATCH is cut: 204, and nothing of the upload is left."""
    line.spoil(Fault.CUT, 2)
    client = TusJs(line, endpoint, SMALL, chunk_size=512 * KIB, retry_delays=0)
    with pytest.raises(HttpError):
        client.upload()
    client.terminate()
    assert line.record[-1] == "DELETE 204"
    assert client.stored == {}
    path = urlsplit(client.url or "").path
    eventually(lambda: not world.traces_of(path), what="nothing is left of the upload")
    assert world.client.head(path).status == 404


@each_fault
def test_a_partials_header_means_nothing_but_on_post(
    world: World, line: Line, endpoint: str, fault: Fault
) -> None:
    """`parallelUploads` repeats `Upload-Concat: partial` on each request of a part."""
    path = world.client.new_upload(len(SMALL))
    line.spoil(fault, 2)
    client = TusJs(
        line,
        endpoint,
        SMALL,
        chunk_size=512 * KIB,
        upload_url=f"http://{line.host}{path}",
        headers={"Upload-Concat": "partial"},
    )
    assert_whole(world, client.upload(), SMALL)
    assert {entry.split()[0] for entry in line.record} == {"HEAD", "PATCH"}


@each_fault
def test_parallel_uploads(world: World, line: Line, endpoint: str, fault: Fault) -> None:
    """Three parts, one of them cut, and the POST that makes one upload of them."""
    third = len(SMALL) // 3
    parts = [SMALL[:third], SMALL[third : 2 * third], SMALL[2 * third :]]
    line.spoil(fault, 2)
    headers = {"Upload-Concat": "partial"}
    urls = [TusJs(line, endpoint, part, headers=headers).upload() for part in parts]
    fields = [
        *TUS.items(),
        ("Upload-Concat", f"final;{' '.join(urls)}"),
        ("Upload-Metadata", encode_metadata(METADATA)),
        *(("Host", line.host), ("Connection", "keep-alive"), ("Content-Length", "0")),
    ]
    created = world.client.request("POST", urlsplit(endpoint).path, fields)
    assert created.status == 201
    url = created.headers["Location"]
    eventually(lambda: world.client.head(urlsplit(url).path).headers.get("Upload-Offset"))
    assert_whole(world, url, SMALL)
