"""Downloads: finished uploads, read as fast as they come."""

from __future__ import annotations

import time
from typing import Final

from benchmarks.load import payload
from benchmarks.load.client import Client, side_by_side
from benchmarks.load.job import Finished, Job, Outcome
from benchmarks.load.wire import LoadError

_READ_BYTES: Final = 1024 * 1024
_TRIAL_INDEX: Final = 1_000_003
_TRIAL_BYTES: Final = 16 * 1024


class Downloads:
    """`count` uploads of `size` bytes, each read once, over `connections` connections.

    Every byte is compared with what was uploaded, unless the server says that it sends zeros: the
    floor does. Its figure `first_byte_s` is the median time from a request to the first byte of the
    body.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._uploads: list[Finished] = []
        self._waits_s: list[float] = []

    def prepare(self) -> None:
        """Upload them, unless one small download fails: some servers have none."""
        client = Client(self._job)
        with client.wire:
            self._read(client, client.upload(_TRIAL_INDEX, _TRIAL_BYTES))
            self._waits_s.clear()
            for index in range(self._job["count"]):
                self._uploads.append(client.upload(index, self._job["size"]))

    def run(self) -> Outcome:
        """Read them all."""
        outcome = side_by_side(self._job["connections"], self._share)
        outcome.figures["first_byte_s"] = sorted(self._waits_s)[len(self._waits_s) // 2]
        return outcome

    def _share(self, connection: int) -> Outcome:
        client = Client(self._job)
        mine = self._uploads[connection :: self._job["connections"]]
        with client.wire:
            for upload in mine:
                self._read(client, upload)
        done = sum(upload.size_bytes for upload in mine)
        return Outcome(requests=len(mine), body_bytes=done, finished=mine)

    def _read(self, client: Client, upload: Finished) -> None:
        room, at, asked_at = memoryview(bytearray(_READ_BYTES)), 0, time.perf_counter()
        response = client.get(upload.path)
        if (length := response.number(b"content-length")) != upload.size_bytes:
            raise LoadError(f"GET: {length} bytes, not {upload.size_bytes}")
        is_known = response.headers.get(b"x-bytes") != b"zero"
        while at < upload.size_bytes:
            size = client.wire.read_into(room[: upload.size_bytes - at])
            if not at:
                self._waits_s.append(time.perf_counter() - asked_at)
            if is_known and room[:size] != payload.piece(upload.phase, at, size):
                raise LoadError(f"GET: other bytes than were uploaded, behind byte {at}")
            at += size
        if response.closes:
            client.wire.close()
