"""One upload in many PATCHes, each sent when the one before it was answered."""

from __future__ import annotations

from benchmarks.load import payload
from benchmarks.load.client import Client
from benchmarks.load.job import Finished, Job, Outcome


class Sequence:
    """`count` PATCHes of `size` bytes on one connection, after one POST."""

    def __init__(self, job: Job) -> None:
        self._job = job

    def prepare(self) -> None:
        """Nothing."""

    def run(self) -> Outcome:
        """The POST and the PATCHes. `requests` are the PATCHes only."""
        count, size, phase = self._job["count"], self._job["size"], payload.phase_of(0)
        client = Client(self._job)
        with client.wire:
            path = client.create(count * size)
            for number in range(count):
                client.patch(path, phase, number * size, (number + 1) * size)
        finished = [Finished(path, count * size, phase)]
        return Outcome(requests=count, body_bytes=count * size, finished=finished)
