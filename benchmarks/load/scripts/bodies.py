"""Large bodies: uploads of one PATCH each, all at once."""

from __future__ import annotations

import time
from typing import Final

from benchmarks.load import payload
from benchmarks.load.client import Client, side_by_side
from benchmarks.load.job import Finished, Job, Outcome
from tusd_s3 import limits

WARM_UP_BYTES: Final = 256 * limits.MIB
"""As much as a server here may hold at once."""


class Bodies:
    """`count` uploads of `size` bytes at once, each POST + PATCH on a connection of its own.

    Its figure `last_byte_to_answer_s` is the longest time that a client waited for the answer once
    its last byte was out of its hands (with the kernel, not yet with the server).
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._waits_s: list[float] = []

    def prepare(self) -> None:
        """The same with at most `WARM_UP_BYTES` of them: a server at work is what is measured, not
        what it costs it to get going (compilers, memory)."""
        count = self._job["count"]
        size = min(self._job["size"], WARM_UP_BYTES // count)
        side_by_side(count, lambda index: self._warm_up(index, size))

    def _warm_up(self, index: int, size: int) -> Outcome:
        client = Client(self._job)
        with client.wire:
            client.upload(index, size)
        return Outcome()

    def run(self) -> Outcome:
        """Send them all."""
        outcome = side_by_side(self._job["count"], self.upload)
        outcome.figures["last_byte_to_answer_s"] = max(self._waits_s)
        return outcome

    def upload(self, index: int) -> Outcome:
        """One of them."""
        size, phase = self._job["size"], payload.phase_of(index)
        client = Client(self._job)
        with client.wire:
            path = client.create(size)
            client.send_patch(path, phase, 0, size)
            sent_at = time.perf_counter()
            client.expect_patched(size)
            self._waits_s.append(time.perf_counter() - sent_at)
        return Outcome(requests=2, body_bytes=size, finished=[Finished(path, size, phase)])
