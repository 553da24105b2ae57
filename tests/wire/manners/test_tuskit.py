"""TUSKit 3.8 (iOS, macOS): PATCHes of 512,000 bytes, and a failed one is sent again as it was."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Final
from urllib.parse import urljoin

import pytest

from tests.support.bodies import KIB, MIB, PART_BYTES, body_of
from tests.support.raw import RawResponse
from tests.support.world import World
from tests.wire.manners.line import Fault, Line, Lost, Request, assert_whole, each_fault

CHUNK_BYTES: Final = 500 * 1024
BODY = body_of(2 * MIB + 600 * KIB + 1)
LONGER = body_of(PART_BYTES + 600 * KIB + 1)
NAMES = {"filename": "IMG 0001.heic", "filetype": "image/heic", "context": ""}
KNOWN_EXTENSIONS: Final = frozenset(
    {"creation", "creation-with-upload", "creation-defer-length", "termination", "expiration"}
    | {"checksum", "checksum-trailer", "concatenation", "concatenation-unfinished"}
)


class Failed(Exception):
    """`uploadFailed` is called."""


@dataclass(slots=True)
class TusKit:
    """One upload; `retries` is how often a task that failed is run again (the client's default).

    separator: between metadata pairs; 3.1 wrote a space behind the comma.
    """

    line: Line
    endpoint: str
    body: bytes
    metadata: Mapping[str, str] = field(default_factory=dict)
    separator: str = ","
    retries: int = 2
    url: str | None = None
    _uploaded: int = 0

    def extensions(self) -> list[str]:
        """What the server offers, cut at the commas and no further."""
        response = self._send("OPTIONS", self.endpoint, [])
        assert response.status in {200, 204}
        return response.headers["Tus-Extension"].split(",")

    def upload(self) -> str:
        """Create and upload; the URL. Raises Failed."""
        self._run(self._create)
        return self._upload_from(0)

    def resume(self) -> str:
        """After a restart of the app: ask first. Raises Failed."""
        return self._upload_from(self._run(self._status))

    def _upload_from(self, start: int) -> str:
        assert self.url is not None
        self._uploaded = start
        while self._uploaded < len(self.body):
            # A task keeps its range: whatever went wrong, it is the same bytes that go out again.
            self._uploaded = self._run(partial(self._patch, self._uploaded))
        return self.url

    def _run(self, task: Callable[[], int]) -> int:
        for _ in range(self.retries + 1):
            with suppress(Lost, Failed):
                return task()
        raise Failed

    def _create(self) -> int:
        encoded = self.separator.join(
            f"{key} {base64.b64encode(value.encode()).decode()}"
            for key, value in self.metadata.items()
        )
        fields = [("Upload-Length", f"{len(self.body)}")]
        if encoded:
            fields.append(("Upload-Metadata", encoded))
        response = self._send("POST", self.endpoint, fields)
        location = response.headers.get("Location")
        if not 200 <= response.status < 300 or location is None:
            raise Failed
        self.url = urljoin(self.endpoint, location)
        return 0

    def _status(self) -> int:
        response = self._send("HEAD", self.url or "", [])
        if not 200 <= response.status < 300:
            raise Failed
        if int(response.headers["Upload-Length"]) != len(self.body):
            raise Failed
        return response.offset

    def _patch(self, start: int) -> int:
        """The offset an answer gives, whatever its status says."""
        chunk = self.body[start : start + CHUNK_BYTES]
        fields = [
            ("Content-Type", "application/offset+octet-stream"),
            ("Upload-Offset", f"{start}"),
        ]
        response = self._send("PATCH", self.url or "", fields, chunk)
        text = response.headers.get("Upload-Offset")
        if text is None or int(text) == self._uploaded:
            raise Failed
        return int(text)

    def _send(
        self, method: str, url: str, fields: list[tuple[str, str]], body: bytes = b""
    ) -> RawResponse:
        length = [("Content-Length", f"{len(body)}")] if method in {"POST", "PATCH"} else []
        ends = [("Accept", "*/*"), ("Accept-Language", "en-US,en;q=0.9"), *length]
        own = [("Host", self.line.host), ("TUS-Resumable", "1.0.0"), *fields]
        return self.line.ask(Request(method, url, [*own, *ends], body))


def test_the_extensions_are_understood(line: Line, endpoint: str) -> None:
    """The list is not trimmed: a space before a name would make it another name."""
    offered = TusKit(line, endpoint, b"").extensions()
    assert "creation" in offered
    assert set(offered) <= KNOWN_EXTENSIONS


@pytest.mark.parametrize("separator", [",", ", "], ids=["3.8", "3.1"])
def test_an_undisturbed_upload(world: World, line: Line, endpoint: str, separator: str) -> None:
    client = TusKit(line, endpoint, LONGER, metadata=NAMES, separator=separator)
    url = client.upload()
    assert_whole(world, url, LONGER)
    assert line.record == ["POST 201"] + ["PATCH 204"] * -(-len(LONGER) // CHUNK_BYTES)
    stored = world.bucket.get(world.key_of(url))
    assert stored is not None
    assert stored.content_type == "image/heic"


@pytest.mark.parametrize(
    ("nth", "fault"),
    [(1, Fault.ANSWER_LOST), *((3, fault) for fault in Fault), (5, Fault.ANSWER_LOST)],
)
def test_a_chunk_is_sent_again(
    world: World, line: Line, endpoint: str, nth: int, fault: Fault
) -> None:
    """At the same offset, without a HEAD. If the server has all or a part of it, its 409 says so
    and the client goes on from there."""
    line.spoil(fault, nth)
    assert_whole(world, TusKit(line, endpoint, BODY).upload(), BODY)
    assert "HEAD 200" not in line.record
    if fault is Fault.ANSWER_LOST:
        at = line.record.index(f"PATCH {fault.value}")
        assert line.record[at + 1] == "PATCH 409"
        assert line.answers[at].offset == nth * CHUNK_BYTES


def test_the_last_answer_is_lost(world: World, line: Line, endpoint: str) -> None:
    """The chunk that goes out again is for an upload that is complete. Its 409 says so too; were
    it another status without an offset, the client would report that the upload has failed."""
    line.spoil(Fault.ANSWER_LOST, -(-len(BODY) // CHUNK_BYTES))
    assert_whole(world, TusKit(line, endpoint, BODY).upload(), BODY)
    assert line.record[-2:] == [f"PATCH {Fault.ANSWER_LOST.value}", "PATCH 409"]
    assert line.answers[-1].offset == len(BODY)


def test_two_answers_in_a_row_are_lost(world: World, line: Line, endpoint: str) -> None:
    """The second of them was the 409."""
    line.spoil(Fault.ANSWER_LOST, 3, 4)
    assert_whole(world, TusKit(line, endpoint, BODY).upload(), BODY)
    assert line.record.count("PATCH 409") == 1


@each_fault
def test_the_app_is_started_again(world: World, line: Line, endpoint: str, fault: Fault) -> None:
    """HEAD, and PATCHes from there."""
    line.spoil(fault, 4)
    client = TusKit(line, endpoint, BODY, retries=0)
    with pytest.raises(Failed):
        client.upload()
    again = TusKit(line, endpoint, BODY, url=client.url)
    assert_whole(world, again.resume(), BODY)
    assert line.record[5] == "HEAD 200"
    assert set(line.record[6:]) == {"PATCH 204"}
