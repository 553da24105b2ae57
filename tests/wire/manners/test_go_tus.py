"""go-tus (eventials, of 2022): 201, 204 and 200 and no other success, PATCHes of 2 MiB, and a
`Location` that it takes as it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

import pytest

from tests.support.bodies import KIB, MIB, PART_BYTES, body_of
from tests.support.raw import RawResponse
from tests.support.tus import metadata_of
from tests.support.world import World
from tests.wire.manners import go_http
from tests.wire.manners.line import Fault, Line, Lost, assert_whole

CHUNK_BYTES: Final = 2 * MIB
BODY = body_of(4 * MIB + 700 * KIB + 1)
LONGER = body_of(PART_BYTES + 700 * KIB + 1)

each_method = pytest.mark.parametrize("override", [False, True], ids=["patch", "post"])


class Refused(Exception):
    """Any status that this client does not want."""


@dataclass(slots=True)
class GoTus:
    """A client, and the store of URLs that outlives it (`Resume`)."""

    line: Line
    endpoint: str
    override: bool = False
    store: dict[str, str] = field(default_factory=dict)

    def run(self, body: bytes, metadata: Mapping[str, str] | None = None) -> str:
        """`CreateOrResumeUpload` and `Upload`; the URL. It tries nothing again by itself."""
        url = self.store.get("fingerprint")
        offset = None if url is None else self._offset(url)
        if url is None or offset is None:
            url, offset = self._create(len(body), metadata or {}), 0
        while offset < len(body):
            offset = self._chunk(url, body[offset : offset + CHUNK_BYTES], offset)
        return url

    def _create(self, length: int, metadata: Mapping[str, str]) -> str:
        fields = {"Upload-Length": f"{length}", "Upload-Metadata": metadata_of(metadata)}
        response = self._send("POST", self.endpoint, fields)
        _expect(response, 201)
        url = response.headers["Location"]
        # It is never resolved against anything: a relative one would be no address.
        assert urlsplit(url).scheme == "http"
        self.store["fingerprint"] = url
        return url

    def _offset(self, url: str) -> int | None:
        response = self._send("HEAD", url, {})
        if response.status in {403, 404, 410}:
            return None
        _expect(response, 200)
        return response.offset

    def _chunk(self, url: str, chunk: bytes, offset: int) -> int:
        fields = {"Content-Type": "application/offset+octet-stream", "Upload-Offset": f"{offset}"}
        if self.override:
            fields["X-Http-Method-Override"] = "PATCH"
        method = "POST" if self.override else "PATCH"
        response = self._send(method, url, fields, chunk)
        _expect(response, 204)
        return response.offset

    def _send(
        self, method: str, url: str, fields: Mapping[str, str], body: bytes = b""
    ) -> RawResponse:
        return go_http.ask(self.line, method, url, {"Tus-Resumable": "1.0.0", **fields}, body)


def _expect(response: RawResponse, status: int) -> None:
    if response.status != status:
        raise Refused(response.status)


@each_method
def test_an_undisturbed_upload(world: World, line: Line, endpoint: str, override: bool) -> None:
    """Its `Upload-Metadata` is there and empty."""
    assert_whole(world, GoTus(line, endpoint, override).run(LONGER), LONGER)
    assert line.record == ["POST 201", *["PATCH 204"] * 3]


@pytest.mark.parametrize(
    ("override", "fault"), [*((False, fault) for fault in Fault), (True, Fault.CUT)]
)
def test_a_run_that_is_cut_is_followed_by_another(
    world: World, line: Line, endpoint: str, override: bool, fault: Fault
) -> None:
    line.spoil(fault, 2)
    client = GoTus(line, endpoint, override)
    with pytest.raises(Lost):
        client.run(BODY)
    assert_whole(world, client.run(BODY), BODY)
    assert line.record.count("POST 201") == line.record.count("HEAD 200") == 1


def test_an_upload_that_is_complete(world: World, line: Line, endpoint: str) -> None:
    """HEAD says so, and nothing else is asked."""
    client = GoTus(line, endpoint)
    line.spoil(Fault.ANSWER_LOST, 3)
    with pytest.raises(Lost):
        client.run(BODY)
    assert_whole(world, client.run(BODY), BODY)
    assert line.record[-1] == "HEAD 200"


def test_an_offset_of_yesterday_is_refused(world: World, line: Line, endpoint: str) -> None:
    """409 ends the run, and the next one asks."""
    client = GoTus(line, endpoint)
    url = client._create(len(BODY), {"filename": "f"})
    assert world.client.patch(urlsplit(url).path, 0, BODY[:MIB]).status == 204
    with pytest.raises(Refused, match="409"):
        client._chunk(url, BODY[:CHUNK_BYTES], 0)
    assert_whole(world, client.run(BODY), BODY)


def test_an_upload_that_is_gone_is_made_anew(world: World, line: Line, endpoint: str) -> None:
    store = {"fingerprint": f"{endpoint}AAAAAAAAAAAAAAAAAAAAAA"}
    assert_whole(world, GoTus(line, endpoint, store=store).run(BODY), BODY)
    assert line.record[:2] == ["HEAD 404", "POST 201"]
