"""Line 20: a body with a checksum is not held until it has agreed."""

from __future__ import annotations

import hashlib
import os
from base64 import b64encode

import pytest

from tests.conftest import StartServer
from tests.support.bodies import MIB, body_of
from tests.support.memory import peak_bytes
from tests.support.tus import RawClient, patch_headers

SIZE_MIB = int(os.environ.get("CHECKSUM_MEMORY_MIB", "256"))
NOISE_BYTES = 32 * MIB
"""What two runs of one kind differ by: parts come and go in other moments."""


def send(client: RawClient, headers: dict[str, str]) -> int:
    """A PATCH of `SIZE_MIB`; its status."""
    piece = body_of(MIB)
    path = client.new_upload(SIZE_MIB * MIB)
    with client.connect() as connection:
        connection.send_head("PATCH", path, patch_headers(0, SIZE_MIB * MIB, headers))
        for _ in range(SIZE_MIB):
            connection.send(piece)
        return connection.read_response(within_s=120).status


@pytest.mark.timeout(600)
def test_line_20_it_takes_no_more_memory_than_one_without(start_server: StartServer) -> None:
    digest = hashlib.sha256()
    for _ in range(SIZE_MIB):
        digest.update(body_of(MIB))
    right = {"Upload-Checksum": f"sha256 {b64encode(digest.digest()).decode()}"}
    wrong = {"Upload-Checksum": f"sha256 {b64encode(bytes(32)).decode()}"}
    peaks: dict[str, int] = {}
    for kind, headers, status in (("plain", {}, 204), ("right", right, 204), ("wrong", wrong, 460)):
        server = start_server(fresh=True)
        assert send(server.client, headers) == status
        peaks[kind] = peak_bytes(server.pid)
        server.stop()
    print({kind: f"{peak / MIB:.0f} MiB" for kind, peak in peaks.items()})  # noqa: T201 - for whoever measures
    assert peaks["plain"] < SIZE_MIB * MIB
    assert max(peaks["right"], peaks["wrong"]) < peaks["plain"] + NOISE_BYTES
