"""tusc.sh 1.1.1: curl, told what to send. 0.8 sent the same PATCH in chunks.

Its `Upload-Checksum` is no checksum as tus means it: the base64 of the hexadecimal digest, and of
the whole file whatever part of it is sent. Servers that do not offer the extension overlook it;
one that does must refuse it, or bytes would pass for verified that nobody could verify. The other
tests are of the script as it would be with the digest of what it sends.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import pytest

from tests.support.bodies import KIB, MIB, PART_BYTES, body_of
from tests.support.checksums import checksum_of
from tests.support.raw import RawResponse
from tests.support.world import World
from tests.wire.manners.line import Fault, Line, Lost, Request, assert_whole, each_fault

BODY = body_of(MIB + 300 * KIB + 1)
LONGER = body_of(PART_BYTES + 1)


class Failed(Exception):
    """curl's answer was no 20x, and it was no HEAD."""


@pytest.fixture
def line(world: World) -> Line:
    """Every request is a curl of its own."""
    return Line(world.client.address, keeps_alive=False)


@dataclass(slots=True)
class Tusc:
    """Runs of the script on one file.

    true_digest: send a digest that is one, of what is sent.
    chunked: as 0.8 did, beside the `Content-Length`.
    cache: its folder of upload URLs, which outlives it.
    """

    line: Line
    endpoint: str
    body: bytes
    true_digest: bool = False
    chunked: bool = False
    cache: dict[str, str] = field(default_factory=dict)

    @property
    def _key(self) -> str:
        return hashlib.sha1(self.body).hexdigest()

    def _checksum(self, sent: bytes) -> str:
        if self.true_digest:
            return checksum_of(sent)
        return f"sha1 {base64.b64encode(self._key.encode()).decode()}"

    def run(self) -> str:
        """One run; the URL. Raises Failed, Lost."""
        offset = None
        if self._key in self.cache:
            head = self._curl("HEAD", self.cache[self._key], [])
            offset = head.offset if f"{head.status}".startswith("20") else None
        if offset == len(self.body):
            return self.cache[self._key]
        if offset is None:
            offset = 0
            self._create()
        rest = self.body[offset:]
        fields = [
            ("Content-Type", "application/offset+octet-stream"),
            ("Content-Length", f"{len(rest)}"),
            ("Upload-Checksum", self._checksum(rest)),
            ("Upload-Offset", f"{offset}"),
            *([("Transfer-Encoding", "chunked")] if self.chunked else []),
            ("Expect", "100-continue"),
        ]
        url = self.cache[self._key]
        answer = self._curl("PATCH", url, fields, rest)
        while answer.headers.get("Upload-Offset") != f"{len(self.body)}":
            answer = self._curl("HEAD", url, [])
        return url

    def _create(self) -> None:
        fields = [
            ("Upload-Length", f"{len(self.body)}"),
            ("Upload-Key", self._key),
            ("Upload-Checksum", self._checksum(b"")),
            ("Upload-Metadata", f"filename {base64.b64encode(b'f.bin').decode()}"),
        ]
        # `curl -X POST` without data says nothing of a body.
        location = self._curl("POST", self.endpoint, fields).headers.get("Location")
        assert location is not None
        # It is handed to curl as it is.
        assert urlsplit(location).scheme == "http"
        self.cache[self._key] = location

    def _curl(
        self, method: str, url: str, fields: list[tuple[str, str]], body: bytes = b""
    ) -> RawResponse:
        starts = [
            *(("Host", self.line.host), ("User-Agent", "curl/7.88.1"), ("Accept", "*/*")),
            ("Tus-Resumable", "1.0.0"),
        ]
        response = self.line.ask(Request(method, url, [*starts, *fields], body))
        if method != "HEAD" and not f"{response.status}".startswith("20"):
            raise Failed(response.status, response.body.decode())
        return response


def test_its_own_checksum_is_refused_before_the_body(
    world: World, line: Line, endpoint: str
) -> None:
    """The POST has no body, and there the header means nothing. The PATCH is answered in place of
    the 100, in words that the script shows; and the upload is there for a better one."""
    client = Tusc(line, endpoint, BODY)
    with pytest.raises(Failed, match=r"(?s)400.*invalid_header: Upload-Checksum"):
        client.run()
    assert line.record == ["POST 201", "PATCH 400"]
    assert line.refused
    (url,) = client.cache.values()
    assert world.client.offset_of(urlsplit(url).path) == 0
    client.true_digest = True
    assert_whole(world, client.run(), BODY)
    assert line.record[2:] == ["HEAD 200", "PATCH 204"]


def test_two_framings_at_once_are_refused(world: World, line: Line, endpoint: str) -> None:
    """What 0.8 sends is how requests are smuggled past a proxy."""
    client = Tusc(line, endpoint, BODY, true_digest=True, chunked=True)
    with pytest.raises(Failed, match="400"):
        client.run()
    (url,) = client.cache.values()
    assert world.client.offset_of(urlsplit(url).path) == 0
    client.chunked = False
    assert_whole(world, client.run(), BODY)


def test_an_undisturbed_upload(world: World, line: Line, endpoint: str) -> None:
    assert_whole(world, Tusc(line, endpoint, LONGER, true_digest=True).run(), LONGER)
    assert line.record == ["POST 201", "PATCH 204"]


@each_fault
def test_a_run_that_is_cut_is_followed_by_another(
    world: World, line: Line, endpoint: str, fault: Fault
) -> None:
    """HEAD first, then what is missing, or nothing at all."""
    line.spoil(fault, 1)
    client = Tusc(line, endpoint, BODY, true_digest=True)
    with pytest.raises(Lost):
        client.run()
    assert_whole(world, client.run(), BODY)
    assert line.record[:3] == ["POST 201", f"PATCH {fault.value}", "HEAD 200"]
    if fault is Fault.ANSWER_LOST:
        assert line.record[3:] == []


def test_the_rest_of_an_upload(world: World, line: Line, endpoint: str) -> None:
    """A run goes on behind what another client has sent."""
    client = Tusc(line, endpoint, BODY, true_digest=True)
    path = world.client.new_upload(len(BODY), body=BODY[: 200 * KIB])
    client.cache[client._key] = f"http://{line.host}{path}"
    assert_whole(world, client.run(), BODY)
    assert line.record == ["HEAD 200", "PATCH 204"]


def test_an_upload_that_is_gone_is_made_anew(world: World, line: Line, endpoint: str) -> None:
    client = Tusc(line, endpoint, BODY, true_digest=True)
    client.cache[client._key] = f"{endpoint}AAAAAAAAAAAAAAAAAAAAAA"
    assert_whole(world, client.run(), BODY)
    assert line.record == ["HEAD 404", "POST 201", "PATCH 204"]
