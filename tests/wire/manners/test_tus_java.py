"""tus-java-client 0.5: chunked PATCHes after a 100, and offsets that must be what it sent.

On a JRE, whose HTTP client knows no PATCH, it is a POST with `X-HTTP-Method-Override`; Android's
knows it. Everything else is the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urljoin

import pytest

from tests.support.bodies import KIB, MIB, PART_BYTES, body_of
from tests.support.raw import RawResponse
from tests.support.world import World
from tests.wire.manners.line import Fault, Line, Lost, Request, assert_whole, each_fault

HTTP_CHUNK_BYTES: Final = 0xFF9
"""What the JRE puts into one chunk of a body, with its frame 4 KiB."""

PAYLOAD_BYTES: Final = MIB
EXACT = body_of(3 * PAYLOAD_BYTES)
LONGER = body_of(PART_BYTES + PAYLOAD_BYTES)
"""As long as whole requests are, so that one more is opened only to find that there is no more."""

BODY = body_of(2 * PAYLOAD_BYTES + 200 * KIB + 5)

each_runtime = pytest.mark.parametrize("android", [False, True], ids=["jre", "android"])


class ProtocolFailure(Exception):
    """`ProtocolException`; the status is what decides whether it is tried again."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(f"{message} (status {status})")
        self.status = status

    @property
    def should_retry(self) -> bool:
        """A 423 and any 5xx."""
        return self.status is not None and (500 <= self.status < 600 or self.status == 423)


@dataclass(slots=True)
class TusJava:
    """One upload through `TusExecutor`, which makes five attempts in all.

    urls: its URL store, which outlives it.
    """

    line: Line
    endpoint: str
    body: bytes
    android: bool = False
    attempts: int = 5
    urls: dict[str, str] = field(default_factory=dict)

    def upload(self) -> str:
        """`makeAttempts`. Raises ProtocolFailure, Lost."""
        for attempt in range(1, self.attempts + 1):
            try:
                url, offset = self._resume_or_create()
                self._upload_from(url, offset)
            except (ProtocolFailure, Lost) as error:
                if isinstance(error, ProtocolFailure) and not error.should_retry:
                    raise
                if attempt == self.attempts:
                    raise
            else:
                return url
        raise AssertionError

    def _resume_or_create(self) -> tuple[str, int]:
        url = self.urls.get("fingerprint")
        if url is None:
            return self._create(), 0
        response = self._send("HEAD", url, [("Tus-Resumable", "1.0.0")])
        if response.status == 404:
            return self._create(), 0
        _expect_success(response, "resuming upload")
        return url, response.offset

    def _create(self) -> str:
        fields = [
            ("Tus-Resumable", "1.0.0"),
            ("Upload-Metadata", "filename Zg=="),
            ("Upload-Length", f"{len(self.body)}"),
        ]
        # Neither Content-Length nor Transfer-Encoding: nothing was ever written to this POST.
        response = self._send("POST", self.endpoint, fields)
        _expect_success(response, "creating upload")
        location = response.headers.get("Location")
        if not location:
            raise ProtocolFailure("missing upload URL in response for creating upload")
        url = self.urls["fingerprint"] = urljoin(self.endpoint, location)
        return url

    def _upload_from(self, url: str, offset: int) -> None:
        """`uploadChunk` until there is no more, then `finish`. That there is no more is found out
        with a request open, so a body that ends with a request is followed by an empty one."""
        while True:
            payload = self.body[offset : offset + PAYLOAD_BYTES]
            response = self._patch(url, offset, payload)
            _expect_success(response, "uploading chunk")
            offset += len(payload)
            if response.offset != offset:
                raise ProtocolFailure("response contains different Upload-Offset value")
            if len(payload) < PAYLOAD_BYTES:
                return

    def _patch(self, url: str, offset: int, payload: bytes) -> RawResponse:
        method = "PATCH" if self.android else "POST"
        override = [] if self.android else [("X-HTTP-Method-Override", "PATCH")]
        fields = [
            ("Tus-Resumable", "1.0.0"),
            ("Upload-Offset", f"{offset}"),
            ("Content-Type", "application/offset+octet-stream"),
            ("Expect", "100-continue"),
            *override,
        ]
        response = self._send(method, url, fields, payload)
        if self.line.refused:
            # Any final answer in place of the 100 is "Server rejected operation", even a 204.
            _expect_success(response, "uploading chunk")
            raise Lost
        return response

    def _send(
        self, method: str, url: str, fields: list[tuple[str, str]], body: bytes = b""
    ) -> RawResponse:
        ends = [
            *(("User-Agent", "Java/17.0.15"), ("Host", self.line.host)),
            ("Accept", "text/html, image/gif, image/jpeg, */*; q=0.2"),
            ("Connection", "keep-alive"),
        ]
        if any(name == "Expect" for name, _ in fields):
            ends.append(("Transfer-Encoding", "chunked"))
        return self.line.ask(Request(method, url, [*fields, *ends], body, HTTP_CHUNK_BYTES))


def _expect_success(response: RawResponse, doing: str) -> None:
    if not 200 <= response.status < 300:
        raise ProtocolFailure(f"unexpected status code while {doing}", response.status)


@each_runtime
@pytest.mark.parametrize("body", [BODY, LONGER], ids=["odd", "exact"])
def test_an_undisturbed_upload(
    world: World, line: Line, endpoint: str, body: bytes, android: bool
) -> None:
    """If the last request was full, an empty one follows, to an upload that is complete by then:
    it is waited for with a 100 like any other."""
    url = TusJava(line, endpoint, body, android).upload()
    assert_whole(world, url, body)
    assert line.record == ["POST 201"] + ["PATCH 204"] * (len(body) // PAYLOAD_BYTES + 1)
    assert line.answers[-1].offset == len(body)


@pytest.mark.parametrize(
    ("android", "fault"), [*((False, fault) for fault in Fault), (True, Fault.CUT)]
)
def test_an_upload_that_is_cut_once(
    world: World, line: Line, endpoint: str, android: bool, fault: Fault
) -> None:
    """HEAD, and on from there: the next offset is again exactly what was sent."""
    line.spoil(fault, 2)
    assert_whole(world, TusJava(line, endpoint, BODY, android).upload(), BODY)
    assert line.record.count("POST 201") == line.record.count("HEAD 200") == 1


@each_fault
def test_the_last_request_is_lost(world: World, line: Line, endpoint: str, fault: Fault) -> None:
    """Nothing is left to send after an answer that was lost; the client sends that."""
    line.spoil(fault, 3)
    assert_whole(world, TusJava(line, endpoint, EXACT).upload(), EXACT)
    if fault is Fault.ANSWER_LOST:
        assert line.record[-3:] == [f"PATCH {fault.value}", "HEAD 200", "PATCH 204"]


def test_an_empty_file(world: World, line: Line, endpoint: str) -> None:
    assert_whole(world, TusJava(line, endpoint, b"").upload(), b"")
    assert line.record == ["POST 201", "PATCH 204"]


def test_an_upload_that_is_gone_is_made_anew(world: World, line: Line, endpoint: str) -> None:
    """On 404, and on nothing else."""
    urls = {"fingerprint": f"{endpoint}AAAAAAAAAAAAAAAAAAAAAA"}
    client = TusJava(line, endpoint, BODY, urls=urls)
    assert_whole(world, client.upload(), BODY)
    assert line.record[:2] == ["HEAD 404", "POST 201"]


def test_a_terminated_upload_is_made_anew(world: World, line: Line, endpoint: str) -> None:
    line.spoil(Fault.CUT, 2)
    client = TusJava(line, endpoint, BODY, attempts=1)
    with pytest.raises(Lost):
        client.upload()
    assert world.client.delete(client.urls["fingerprint"].split(line.host)[1]).status == 204
    again = TusJava(line, endpoint, BODY, urls=client.urls)
    assert_whole(world, again.upload(), BODY)
    assert line.record[3:5] == ["HEAD 404", "POST 201"]


@each_runtime
def test_a_refusal_comes_in_place_of_the_100(
    world: World, line: Line, endpoint: str, android: bool
) -> None:
    """The client has gone on at an offset that is no longer true. It is told before it sends its
    body, gives up as it must (409 is not tried again), and nothing was changed."""
    path = world.client.new_upload(len(BODY), body=BODY[: 100 * KIB])
    client = TusJava(line, endpoint, BODY, android)
    with world.unchanged(), pytest.raises(ProtocolFailure) as failure:
        client._upload_from(f"http://{line.host}{path}", 0)
    assert failure.value.status == 409
    assert line.refused
