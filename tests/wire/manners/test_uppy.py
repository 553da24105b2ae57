"""@uppy/tus 6.0.0 in a browser: tus-js-client with Uppy's defaults, behind the browser's CORS."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

import pytest

from tests.support.bodies import KIB, MIB, body_of
from tests.support.raw import RawResponse
from tests.support.world import World
from tests.wire.manners.line import Fault, Line, Request, assert_whole, each_fault
from tests.wire.manners.tus_js import HttpError, TusJs, encode_metadata

BODY = body_of(MIB + 200 * KIB + 3)
PAGE: Final = "https://app.example"
SAFELISTED: Final = frozenset({"cache-control", "content-length", "content-type", "expires"})
"""Response headers that a page may read without being told so."""

META = {
    "relativePath": "null",
    "name": "Überflüge.mp4",
    "type": "video/mp4",
    "filetype": "video/mp4",
    "filename": "Überflüge.mp4",
}
"""What Uppy says of a dropped file, in its order. All of it becomes strings: `"null"` too."""


@dataclass(slots=True)
class Uppy(TusJs):
    """tus-js-client as Uppy starts it, on XMLHttpRequest.

    Before a request that needs it the browser asks for leave, once for each method and URL; of an
    answer the page sees what the server exposes.
    """

    granted: set[tuple[str, str]] = field(default_factory=set)

    def framed(
        self, method: str, fields: list[tuple[str, str]], body: bytes
    ) -> list[tuple[str, str]]:
        """A PATCH without a body says nothing of one; a POST says that it is empty."""
        length = [("Content-Length", f"{len(body)}")] if body or method == "POST" else []
        ends = [("Accept", "*/*"), ("Origin", PAGE), ("Referer", f"{PAGE}/")]
        return [("Host", self.line.host), ("Connection", "keep-alive"), *length, *fields, *ends]

    def stream_is_done(self, chunk: bytes) -> bool:
        """A browser's stream has ended when it gives nothing more."""
        return not chunk

    def read(self, response: RawResponse, name: str) -> str | None:
        """A header, if the page may see it."""
        assert response.headers["Access-Control-Allow-Origin"] in {"*", PAGE}
        seen = response.headers.tokens("Access-Control-Expose-Headers") | SAFELISTED
        return response.headers.get(name) if name.lower() in seen else None

    def _send(
        self, method: str, url: str, fields: list[tuple[str, str]], body: bytes = b""
    ) -> RawResponse:
        if (method, url) not in self.granted:
            self._ask_leave(method, url, [name for name, _ in fields])
            self.granted.add((method, url))
        # Not `super()`: a dataclass with slots is another class than the one written here.
        response = TusJs._send(self, method, url, fields, body)
        assert response.headers["Access-Control-Allow-Origin"] in {"*", PAGE}
        return response

    def _ask_leave(self, method: str, url: str, names: list[str]) -> None:
        wanted = sorted({*(name.lower() for name in names), "tus-resumable"})
        fields = [
            *(("Host", self.line.host), ("Connection", "keep-alive"), ("Accept", "*/*")),
            ("Access-Control-Request-Method", method),
            ("Access-Control-Request-Headers", ",".join(wanted)),
            ("Origin", PAGE),
        ]
        response = self.line.ask(Request("OPTIONS", url, fields))
        assert 200 <= response.status < 300
        assert response.headers["Access-Control-Allow-Origin"] in {"*", PAGE}
        assert method.lower() in response.headers.tokens("Access-Control-Allow-Methods")
        assert set(wanted) <= response.headers.tokens("Access-Control-Allow-Headers")


def asked(line: Line) -> list[str]:
    """What was asked, other than for leave."""
    return [entry for entry in line.record if not entry.startswith("OPTIONS")]


@each_fault
@pytest.mark.parametrize("chunk_size", [None, 512 * KIB], ids=["whole", "chunks"])
def test_a_file_that_is_cut_once(
    world: World, line: Line, endpoint: str, chunk_size: int | None, fault: Fault
) -> None:
    line.spoil(fault, 1 if chunk_size is None else 2)
    url = Uppy(line, endpoint, BODY, metadata=META, chunk_size=chunk_size).upload()
    assert_whole(world, url, BODY)
    assert asked(line).count("POST 201") == asked(line).count("HEAD 200") == 1


def test_the_metadata_is_strings(world: World, line: Line, endpoint: str) -> None:
    url = Uppy(line, endpoint, b"hello", metadata=META).upload()
    path = urlsplit(url).path
    sent = world.client.head(path).headers["Upload-Metadata"]
    assert sent == encode_metadata(META)
    assert "relativePath bnVsbA==" in sent
    stored = world.bucket.get(world.key_of(path))
    assert stored is not None
    assert stored.content_type == "video/mp4"


@pytest.mark.parametrize(
    ("length", "fault"),
    [(1, Fault.HUNG_UP), *((512 * KIB, fault) for fault in Fault), (MIB + 1, Fault.CUT)],
)
def test_a_stream_of_unknown_length(
    world: World, line: Line, endpoint: str, length: int, fault: Fault
) -> None:
    """Its length comes last, in a PATCH that has no body and no word of one."""
    body = BODY[:length]
    line.spoil(fault, 1)
    client = Uppy(line, endpoint, body, upload_length_deferred=True, chunk_size=512 * KIB)
    assert_whole(world, client.upload(), body)
    assert line.record[-1] == "PATCH 204"


def test_resumed_too_quickly(world: World, line: Line, endpoint: str) -> None:
    """A paused upload is resumed while its last PATCH is still on its way: that one is answered
    423, and whoever gets it tries again, finds all there, and is content."""
    first = Uppy(line, endpoint, BODY, metadata=META)
    created = world.client.create(len(BODY), metadata=encode_metadata(META))
    first.url = created.headers["Location"]
    path = urlsplit(first.url).path
    with world.client.begin_patch(path, 0, BODY[: 512 * KIB], declared=len(BODY)) as held:
        # What was sent has been read once the other request is told its offset.
        second = Uppy(line, endpoint, BODY, upload_url=first.url)
        assert second.upload() == first.url
        late = held.read_response()
    assert late.status == 423
    error = HttpError("unexpected response while uploading chunk", late.status)
    assert first.should_retry(error)
    assert first.upload() == first.url
    assert asked(line) == ["HEAD 200", "PATCH 204", "HEAD 200"]
    assert_whole(world, first.url, BODY)


def test_another_page_has_gone_on(world: World, line: Line, endpoint: str) -> None:
    """Two pages found the same URL in the browser's store. The one that is behind is told 409,
    which Uppy tries again: it asks for the offset, and no byte is doubled."""
    path = world.client.new_upload(len(BODY))
    client = Uppy(
        line, endpoint, BODY, upload_url=f"http://{line.host}{path}", chunk_size=512 * KIB
    )
    line.spoil(Fault.CUT, 2)
    client.retry_delays = 0
    with pytest.raises(HttpError):
        client.upload()
    other = Line(world.client.address)
    assert Uppy(other, endpoint, BODY, upload_url=client.upload_url).upload() == client.upload_url
    other.hang_up()
    stale = world.client.patch(path, 512 * KIB, b"abc")
    assert (stale.status, stale.offset) == (409, len(BODY))
    assert client.should_retry(HttpError("unexpected response", stale.status))
    assert_whole(world, client.upload(), BODY)
    assert line.record[-1] == "HEAD 200"


@pytest.mark.parametrize(
    ("fields", "status"),
    [({"Upload-Length": "x"}, 400), ({"Tus-Resumable": "0.2.2"}, 412)],
    ids=["400", "412"],
)
def test_a_refusal_is_not_tried_again(
    line: Line, endpoint: str, fields: dict[str, str], status: int
) -> None:
    """And its sentence, which Uppy shows to people, can be read by the page."""
    client = Uppy(line, endpoint, BODY, metadata=META)
    good = {"Upload-Length": "5"}
    own = {"Tus-Resumable": "1.0.0"} | good | fields
    client._ask_leave("POST", endpoint, list(own))
    response = line.ask(Request("POST", endpoint, client.framed("POST", list(own.items()), b"")))
    assert response.status == status
    assert not client.should_retry(HttpError("", response.status))
    assert client.read(response, "Content-Type") == "text/plain; charset=utf-8"
    assert response.body
