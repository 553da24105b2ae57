"""rclone 1.70's uploader for tus (its WebDAV backend, for Infinite Scale): one attempt at each
request, and after any failure all of it again from the POST."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import pytest

from tests.support.bodies import KIB, MIB, PART_BYTES, body_of
from tests.support.raw import RawResponse
from tests.support.tus import metadata_of
from tests.support.world import World
from tests.wire.manners import go_http
from tests.wire.manners.line import Fault, Line, Lost, assert_whole, each_fault

CHUNK_BYTES: Final = MIB
"""`nextcloud_chunk_size`, smaller than its default of 10 MiB and than a part."""

BODY = body_of(CHUNK_BYTES + 700 * KIB)
LONGER = body_of(PART_BYTES + 1)
METADATA = {"filename": "a b.bin", "mtime": "1700000000", "filetype": "application/octet-stream"}


class Refused(Exception):
    """A status other than the one that is expected."""


@dataclass(slots=True)
class Rclone:
    """The transfer of one file, tried `tries` times in all."""

    line: Line
    endpoint: str
    body: bytes
    tries: int = 3

    def copy(self) -> str:
        """The URL. Raises Lost, Refused."""
        for attempt in range(1, self.tries + 1):
            try:
                return self._transfer()
            except (Lost, Refused):
                if attempt == self.tries:
                    raise
        raise AssertionError

    def _transfer(self) -> str:
        created = {
            "X-Oc-Mtime": METADATA["mtime"],
            "Upload-Length": f"{len(self.body)}",
            "Upload-Metadata": metadata_of(METADATA),
        }
        response = self._send("POST", self.endpoint, created)
        if response.status != 201:
            raise Refused(response.status)
        url = urlsplit(response.headers["Location"])
        # The next requests go to scheme, host and path of this; a relative one has no host.
        assert (url.scheme, url.netloc, url.query) == ("http", self.line.host, "")
        offset = 0
        while offset < len(self.body):
            fields = {
                "Content-Type": "application/offset+octet-stream",
                "Filetype": METADATA["filetype"],
                "Upload-Offset": f"{offset}",
            }
            chunk = self.body[offset : offset + CHUNK_BYTES]
            response = self._send("PATCH", url.geturl(), fields, chunk)
            if response.status != 204:
                raise Refused(response.status)
            offset = response.offset
        return url.geturl()

    def _send(
        self, method: str, url: str, fields: dict[str, str], body: bytes = b""
    ) -> RawResponse:
        own = {"Tus-Resumable": "1.0.0", **fields}
        return go_http.ask(self.line, method, url, own, body, agent="rclone/v1.70.0")


def test_an_undisturbed_upload(world: World, line: Line, endpoint: str) -> None:
    url = Rclone(line, endpoint, LONGER).copy()
    assert_whole(world, url, LONGER)
    assert line.record == ["POST 201", *["PATCH 204"] * 6]
    assert world.client.head(urlsplit(url).path).headers["Upload-Metadata"] == metadata_of(METADATA)


@each_fault
def test_a_transfer_that_is_cut_is_begun_anew(
    world: World, line: Line, endpoint: str, fault: Fault
) -> None:
    """What it leaves behind is an unfinished upload that has no object (or a finished one, if all
    had come); the new one is not disturbed by it."""
    line.spoil(fault, 2)
    url = Rclone(line, endpoint, BODY).copy()
    assert_whole(world, url, BODY)
    begun = ["POST 201", "PATCH 204", f"PATCH {fault.value}"]
    assert line.record == [*begun, "POST 201", "PATCH 204", "PATCH 204"]
    left = urlsplit(line.answers[0].headers["Location"]).path
    offset = world.client.offset_of(left)
    assert offset >= CHUNK_BYTES
    stored = world.bucket.get(world.key_of(left))
    assert (stored is not None) == (offset == len(BODY))


def test_a_network_that_stays_away(line: Line, endpoint: str) -> None:
    """It gives up, after as many uploads as tries."""
    line.spoil(Fault.CUT, *range(1, 9))
    with pytest.raises(Lost):
        Rclone(line, endpoint, body_of(100 * KIB)).copy()
    assert line.record.count("POST 201") == 3
