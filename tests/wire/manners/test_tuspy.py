"""tuspy 1.1.0: header names in lower case, an `upload-metadata` that is there but empty, a checksum
of each request, and as many retries as it is told to make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urljoin

import pytest

from tests.support.bodies import KIB, MIB, PART_BYTES, body_of
from tests.support.checksums import checksum_of
from tests.support.raw import RawResponse
from tests.support.tus import metadata_of
from tests.support.world import World
from tests.wire.manners.line import Fault, Line, Lost, Request, assert_whole, each_fault

BODY = body_of(4 * MIB + 100 * KIB + 9)
LONGER = body_of(PART_BYTES + 100 * KIB + 9)

each_checksum = pytest.mark.parametrize("checksum", [False, True], ids=["plain", "sha1"])


class UploadFailed(Exception):
    """`TusUploadFailed` or `TusCommunicationError`."""


@pytest.fixture
def line(world: World) -> Line:
    """Every request has a connection of its own, though each says that it would keep it."""
    return Line(world.client.address, keeps_alive=False)


@dataclass(slots=True)
class Tuspy:
    """An uploader."""

    line: Line
    endpoint: str
    body: bytes
    chunk_size: int = 2 * MIB
    metadata: Mapping[str, str] = field(default_factory=dict)
    checksum: bool = False
    retries: int = 1
    url: str | None = None
    offset: int = 0

    def upload(self) -> str:
        """All of it; the URL. Raises UploadFailed."""
        if self.url is None:
            self.url = self._create_url()
        else:
            self.offset = self._get_offset()
        while self.offset < len(self.body):
            self.offset = self._upload_chunk()
        return self.url

    def _create_url(self) -> str:
        fields = [
            ("Tus-Resumable", "1.0.0"),
            ("upload-length", f"{len(self.body)}"),
            ("upload-metadata", metadata_of(self.metadata)),
        ]
        location = self._send("POST", self.endpoint, fields).headers.get("Location")
        if location is None:
            raise UploadFailed
        return urljoin(self.endpoint, location)

    def _get_offset(self) -> int:
        """Whatever the status is: an offset will do."""
        response = self._send("HEAD", self.url or "", [("Tus-Resumable", "1.0.0")])
        offset = response.headers.get("Upload-Offset")
        if offset is None:
            raise UploadFailed(response.status)
        return int(offset)

    def _upload_chunk(self) -> int:
        """Where the offset is after a chunk, which may have been tried again from elsewhere."""
        for retried in range(self.retries + 1):
            try:
                if retried:
                    self.offset = self._get_offset()
                return self._patch()
            except (UploadFailed, Lost):
                if retried == self.retries:
                    raise UploadFailed from None
        raise AssertionError

    def _patch(self) -> int:
        chunk = self.body[self.offset : self.offset + self.chunk_size]
        fields = [
            ("upload-offset", f"{self.offset}"),
            ("Content-Type", "application/offset+octet-stream"),
            ("Tus-Resumable", "1.0.0"),
        ]
        if self.checksum:
            fields.append(("upload-checksum", checksum_of(chunk)))
        response = self._send("PATCH", self.url or "", fields, chunk)
        if not 200 <= response.status < 300:
            raise UploadFailed(response.status)
        return response.offset

    def _send(
        self, method: str, url: str, fields: list[tuple[str, str]], body: bytes = b""
    ) -> RawResponse:
        starts = [
            *(("Host", self.line.host), ("User-Agent", "python-requests/2.34.2")),
            *(("Accept-Encoding", "gzip, deflate"), ("Accept", "*/*")),
            ("Connection", "keep-alive"),
        ]
        length = [] if method == "HEAD" else [("Content-Length", f"{len(body)}")]
        return self.line.ask(Request(method, url, [*starts, *fields, *length], body))


@each_checksum
def test_an_undisturbed_upload(world: World, line: Line, endpoint: str, checksum: bool) -> None:
    assert_whole(world, Tuspy(line, endpoint, LONGER, checksum=checksum).upload(), LONGER)
    assert line.record == ["POST 201", *["PATCH 204"] * 3]


@each_checksum
@each_fault
def test_an_upload_that_is_cut_once(
    world: World, line: Line, endpoint: str, checksum: bool, fault: Fault
) -> None:
    """One retry is enough: HEAD, then on from there. Of a body with a checksum that was cut,
    nothing is kept, and the offset is where it was."""
    line.spoil(fault, 2)
    assert_whole(world, Tuspy(line, endpoint, BODY, checksum=checksum).upload(), BODY)
    assert line.record[2:4] == [f"PATCH {fault.value}", "HEAD 200"]
    if fault is Fault.CUT and checksum:
        assert line.answers[2].offset == 2 * MIB


@each_checksum
def test_the_last_answer_is_lost(world: World, line: Line, endpoint: str, checksum: bool) -> None:
    """The offset is the end by then, and the client still sends its PATCH: an empty one, with the
    checksum of nothing."""
    line.spoil(Fault.ANSWER_LOST, 3)
    assert_whole(world, Tuspy(line, endpoint, BODY, checksum=checksum).upload(), BODY)
    assert line.record[-3:] == [f"PATCH {Fault.ANSWER_LOST.value}", "HEAD 200", "PATCH 204"]
    assert line.answers[-1].offset == len(BODY)


def test_a_chunk_that_arrives_altered_is_sent_again(
    world: World, line: Line, endpoint: str
) -> None:
    """460, HEAD with the old offset, and the same chunk."""
    client = Tuspy(line, endpoint, BODY, checksum=True)
    client.url = client._create_url()
    altered = Tuspy(line, endpoint, bytes(len(BODY)), retries=0, url=client.url)
    fields = [
        ("upload-offset", "0"),
        ("Content-Type", "application/offset+octet-stream"),
        ("Tus-Resumable", "1.0.0"),
        ("upload-checksum", checksum_of(BODY[: 2 * MIB])),
    ]
    assert altered._send("PATCH", client.url, fields, altered.body[: 2 * MIB]).status == 460
    assert_whole(world, client.upload(), BODY)
    assert line.record == ["POST 201", "PATCH 460", "HEAD 200", *["PATCH 204"] * 3]
    assert line.answers[2].offset == 0


@pytest.mark.parametrize("metadata", [{}, {"empty": "", "filename": "ü.txt"}], ids=["none", "some"])
def test_metadata(world: World, line: Line, endpoint: str, metadata: dict[str, str]) -> None:
    url = Tuspy(line, endpoint, b"hello", metadata=metadata).upload()
    head = world.client.head(url.split(line.host)[1])
    assert (head.headers.get("Upload-Metadata") or "") == metadata_of(metadata)


def test_an_empty_file(world: World, line: Line, endpoint: str) -> None:
    assert_whole(world, Tuspy(line, endpoint, b"").upload(), b"")
    assert line.record == ["POST 201"]


def test_an_upload_that_is_gone(line: Line, endpoint: str) -> None:
    """A HEAD without an offset is how the client notices."""
    client = Tuspy(line, endpoint, BODY, url=f"{endpoint}AAAAAAAAAAAAAAAAAAAAAA")
    with pytest.raises(UploadFailed):
        client.upload()
    assert line.record == ["HEAD 404"]


def test_a_later_run_goes_on_from_the_url(world: World, line: Line, endpoint: str) -> None:
    line.spoil(Fault.CUT, 2)
    first = Tuspy(line, endpoint, BODY, retries=0)
    with pytest.raises(UploadFailed):
        first.upload()
    assert_whole(world, Tuspy(line, endpoint, BODY, url=first.url).upload(), BODY)
    assert line.record[3] == "HEAD 200"
    assert line.answers[2].offset >= 2 * MIB
