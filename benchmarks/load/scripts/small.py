"""Many small uploads, one after another on each of several connections."""

from __future__ import annotations

from benchmarks.load import payload
from benchmarks.load.client import Client, side_by_side
from benchmarks.load.job import Finished, Job, Outcome


class SmallUploads:
    """`count` uploads of `size` bytes over `connections` connections.

    with_upload: 1 when the body goes along with the POST, 0 when it follows in a PATCH.
    `requests` are uploads.
    """

    def __init__(self, job: Job) -> None:
        self._job = job

    def prepare(self) -> None:
        """Nothing."""

    def run(self) -> Outcome:
        """Upload them all."""
        return side_by_side(self._job["connections"], self._share)

    def _share(self, connection: int) -> Outcome:
        client = Client(self._job)
        indexes = range(connection, self._job["count"], self._job["connections"])
        with client.wire:
            finished = [self._upload(client, index) for index in indexes]
        done = sum(one.size_bytes for one in finished)
        return Outcome(requests=len(finished), body_bytes=done, finished=finished)

    def _upload(self, client: Client, index: int) -> Finished:
        size = self._job["size"]
        if not self._job["with_upload"]:
            return client.upload(index, size)
        phase = payload.phase_of(index)
        return Finished(client.create(size, phase=phase), size, phase)
