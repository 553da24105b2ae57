"""A PATCH that is cut in the middle, and the rest of it."""

from __future__ import annotations

import time
from typing import Final

from benchmarks.load import payload
from benchmarks.load.client import Client
from benchmarks.load.job import Finished, Job, Outcome
from benchmarks.load.wire import LoadError

_PAUSE_S: Final = 0.02


class Resume:
    """An upload of `size` bytes: the PATCH is cut at half, then HEAD, then a PATCH with the rest.

    A client that is told to come back (not 200 to HEAD, not 204 to PATCH) asks HEAD again after
    20 ms. Figures: `cut_to_offset_s`, until it had the offset from which it could go on;
    `sent_again_bytes`, what it had sent and the server did not have.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._requests = 2

    def prepare(self) -> None:
        """Nothing."""

    def run(self) -> Outcome:
        """POST, half a PATCH, HEAD and PATCH until it is whole."""
        size, phase = self._job["size"], payload.phase_of(0)
        client = Client(self._job)
        path = client.create(size)
        client.send_patch(path, phase, 0, size, stop=size // 2)
        client.wire.close()
        cut_at = time.perf_counter()
        gives_up_at = cut_at + self._job.deadline_s
        offset, known_at = self._finish(client, path, phase, gives_up_at)
        client.wire.close()
        return Outcome(
            requests=self._requests,
            body_bytes=size,
            finished=[Finished(path, size, phase)],
            figures={
                "cut_to_offset_s": known_at - cut_at,
                "sent_again_bytes": max(0, size // 2 - offset),
            },
        )

    def _finish(
        self, client: Client, path: str, phase: int, gives_up_at: float
    ) -> tuple[int, float]:
        """Bring it to its end; from which offset that was, and when that was known."""
        last: LoadError | None = None
        while time.perf_counter() < gives_up_at:
            self._requests += 1
            try:
                offset = client.offset_of(path)
                known_at = time.perf_counter()
                if offset < self._job["size"]:
                    self._requests += 1
                    client.patch(path, phase, offset, self._job["size"])
            except LoadError as error:
                last = error
                client.wire.close()
                time.sleep(_PAUSE_S)  # as a client waits before it tries again
            else:
                return offset, known_at
        raise LoadError(f"could not go on after the cut; last: {last}")
