"""tusgo (main of 2026): asks what the server offers, wants exact statuses and the version in every
answer, and can put the checksum of a streamed body behind it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urljoin, urlsplit

import pytest

from tests.support.bodies import KIB, MIB, PART_BYTES, body_of
from tests.support.checksums import checksum_of
from tests.support.raw import RawResponse
from tests.support.tus import metadata_of
from tests.support.waiting import eventually
from tests.support.world import World
from tests.wire.manners import go_http
from tests.wire.manners.line import Fault, Line, Lost, assert_whole, each_fault

BODY = body_of(4 * MIB + 400 * KIB + 1)
LONGER = body_of(PART_BYTES + 400 * KIB + 1)
STREAMED: Final = 0
"""`NoChunked`: all of the body in one request of no declared length."""

RFC_1123 = re.compile(
    r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), [0-3]\d "
    r"(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) \d{4} [0-2]\d:[0-5]\d:[0-6]\d GMT"
)

WAYS: dict[str, tuple[int, str | None]] = {
    "chunks": (2 * MIB, None),
    "chunks-sha1": (2 * MIB, "sha1"),
    "chunks-sha256": (2 * MIB, "sha256"),
    "stream": (STREAMED, None),
    "stream-md5": (STREAMED, "md5"),
}

CUTS = [
    pytest.param(*way, fault, id=f"{name}-{fault.name.lower()}")
    for name, way in WAYS.items()
    for fault in Fault
    # With a digest in front and behind every fault, without one that which keeps a part.
    if name in {"chunks-sha1", "stream-md5"} or fault is Fault.CUT
]

each_way = pytest.mark.parametrize(("chunk_size", "algorithm"), WAYS.values(), ids=WAYS)


class Failed(Exception):
    """An error of this client: of the status, or of a header it cannot read."""


@dataclass(slots=True)
class TusGo:
    """A client with a stream. After an error it is the application that calls `sync` and goes on.

    deferred: `SetUploadSize`: the length is declared with the first PATCH, not with the POST.
    """

    line: Line
    endpoint: str
    body: bytes
    chunk_size: int = 2 * MIB
    algorithm: str | None = None
    deferred: bool = False
    location: str = ""
    offset: int = 0
    _extensions: list[str] = field(default_factory=list)

    def create(self, metadata: Mapping[str, str] | None = None) -> None:
        """`CreateUpload`."""
        self._ensure("creation")
        fields = {"Upload-Length": f"{len(self.body)}"}
        if self.deferred:
            self._ensure("creation-defer-length")
            fields = {"Upload-Defer-Length": "1"}
        if metadata:
            fields["Upload-Metadata"] = metadata_of(metadata)
        response = self._send("POST", self.endpoint, fields)
        _expect(response, {201})
        self.location = response.headers["Location"]

    def write(self) -> None:
        """`Write`: from the offset to the end."""
        while self.offset < len(self.body):
            size = self.chunk_size or len(self.body)
            chunk = self.body[self.offset : self.offset + size]
            response = self._patch(chunk)
            _expect(response, {204})
            advance = response.offset - self.offset
            if not 0 < advance <= len(chunk):
                raise Failed(f"the offset moved by {advance}")
            self.offset = response.offset

    def sync(self) -> None:
        """Ask for the offset."""
        response = self._send("HEAD", self._url, {})
        _expect(response, {200})
        self.offset = response.offset
        int(response.headers.get("Upload-Length") or 0)

    def delete(self) -> None:
        """`DeleteUpload`."""
        self._ensure("termination")
        _expect(self._send("DELETE", self._url, {}), {204})

    @property
    def _url(self) -> str:
        return urljoin(self.endpoint, self.location)

    def _patch(self, chunk: bytes) -> RawResponse:
        fields = {
            "Content-Type": "application/offset+octet-stream",
            "Upload-Offset": f"{self.offset}",
        }
        if self.deferred and self.offset == 0:
            fields["Upload-Length"] = f"{len(self.body)}"
        trailers: list[tuple[str, str]] | None = [] if self.chunk_size == STREAMED else None
        if self.algorithm is not None:
            self._ensure("checksum")
            if trailers is None:
                fields["Upload-Checksum"] = checksum_of(chunk, self.algorithm)
            else:
                self._ensure("checksum-trailer")
                trailers.append(("Upload-Checksum", checksum_of(chunk, self.algorithm)))
        return self._send("PATCH", self._url, fields, chunk, trailers)

    def _ensure(self, extension: str) -> None:
        if not self._extensions:
            response = self._send("OPTIONS", self.endpoint, {})
            _expect(response, {200, 204})
            self._extensions = response.headers["Tus-Extension"].split(",")
            assert "1.0.0" in response.headers["Tus-Version"].split(",")
            assert int(response.headers.get("Tus-Max-Size") or 0) >= 0
            assert "sha1" in response.headers["Tus-Checksum-Algorithm"].split(",")
        if extension not in self._extensions:
            raise Failed(f"{extension} is required")

    def _send(
        self,
        method: str,
        url: str,
        fields: dict[str, str],
        body: bytes = b"",
        trailers: list[tuple[str, str]] | None = None,
    ) -> RawResponse:
        own = {} if method == "OPTIONS" else {"Tus-Resumable": "1.0.0"}
        response = go_http.ask(self.line, method, url, own | fields, body, trailers=trailers)
        expires = response.headers.get("Upload-Expires")
        if expires is not None and RFC_1123.fullmatch(expires) is None:
            raise Failed(f"cannot parse {expires}")
        return response


def _expect(response: RawResponse, statuses: set[int]) -> None:
    if response.status not in statuses:
        raise Failed(response.status)


@each_way
def test_an_undisturbed_upload(
    world: World, line: Line, endpoint: str, chunk_size: int, algorithm: str | None
) -> None:
    client = TusGo(line, endpoint, LONGER, chunk_size, algorithm)
    client.create({"filename": "f.bin"})
    client.write()
    assert_whole(world, client.location, LONGER)
    patches = 1 if chunk_size == STREAMED else 3
    assert line.record == ["OPTIONS 204", "POST 201", *["PATCH 204"] * patches]


@pytest.mark.parametrize(("chunk_size", "algorithm", "fault"), CUTS)
def test_an_upload_that_is_cut_once(
    world: World,
    line: Line,
    endpoint: str,
    chunk_size: int,
    algorithm: str | None,
    fault: Fault,
) -> None:
    """Sync, and on from there. What had a checksum counts as a whole, or not at all."""
    client = TusGo(line, endpoint, BODY, chunk_size, algorithm)
    client.create()
    line.spoil(fault, 1 if chunk_size == STREAMED else 2)
    with pytest.raises(Lost):
        client.write()
    client.sync()
    if algorithm is not None:
        assert client.offset % (chunk_size or len(BODY)) == 0
    client.write()
    assert_whole(world, client.location, BODY)


@each_fault
def test_the_length_comes_with_the_first_patch(
    world: World, line: Line, endpoint: str, fault: Fault
) -> None:
    """If it is lost, it may have been declared or not; the next PATCH at 0 declares it again."""
    client = TusGo(line, endpoint, BODY, deferred=True)
    client.create()
    line.spoil(fault, 1)
    with pytest.raises(Lost):
        client.write()
    client.sync()
    client.write()
    assert_whole(world, client.location, BODY)


@pytest.mark.parametrize("chunk_size", [2 * MIB, STREAMED], ids=["chunks", "stream"])
def test_a_body_that_arrives_altered(
    world: World, line: Line, endpoint: str, chunk_size: int
) -> None:
    """460, with the checksum in front or behind; then the right one at the same offset."""
    client = TusGo(line, endpoint, BODY, chunk_size, "sha1")
    client.create()
    chunk = BODY[: chunk_size or len(BODY)]
    wrong = checksum_of(b"else", "sha1")
    fields = {"Content-Type": "application/offset+octet-stream", "Upload-Offset": "0"}
    trailers = None
    if chunk_size == STREAMED:
        trailers = [("Upload-Checksum", wrong)]
    else:
        fields["Upload-Checksum"] = wrong
    answer = client._send("PATCH", client.location, fields, chunk, trailers)
    assert answer.status == 460
    client.sync()
    assert client.offset == 0
    client.write()
    assert_whole(world, client.location, BODY)


def test_an_offset_of_yesterday_is_synced(world: World, line: Line, endpoint: str) -> None:
    """`ErrOffsetsNotSynced` is for 409 alone."""
    client = TusGo(line, endpoint, BODY)
    client.create()
    assert world.client.patch(urlsplit(client.location).path, 0, BODY[:MIB]).status == 204
    with pytest.raises(Failed, match="409"):
        client.write()
    client.sync()
    client.write()
    assert_whole(world, client.location, BODY)


def test_delete(world: World, line: Line, endpoint: str) -> None:
    client = TusGo(line, endpoint, BODY)
    client.create()
    line.spoil(Fault.CUT, 2)
    with pytest.raises(Lost):
        client.write()
    client.delete()
    assert line.record[-1] == "DELETE 204"
    path = urlsplit(client.location).path
    eventually(lambda: not world.traces_of(path), what="nothing is left of the upload")
    with pytest.raises(Failed, match="404"):
        client.sync()
