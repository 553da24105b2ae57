"""Connections that began a body and then fell silent."""

from __future__ import annotations

import select
import time

from benchmarks.load import payload
from benchmarks.load.client import Client
from benchmarks.load.job import Job, Outcome
from benchmarks.load.wire import LoadError


class Idle:
    """`count` PATCHes that announce `2 * size` bytes, send `size`, and then nothing for `hold_ms`.

    They are still open when this returns. A connection that the server has answered or closed by
    then is a failure.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._clients: list[Client] = []

    def prepare(self) -> None:
        """Nothing."""

    def run(self) -> Outcome:
        """Open them, and hold them."""
        count, size = self._job["count"], self._job["size"]
        for index in range(count):
            client = Client(self._job)
            self._clients.append(client)
            path = client.create(2 * size)
            client.send_patch(path, payload.phase_of(index), 0, 2 * size, stop=size)
        # Silence is the load: the server has so long to put away what it holds.
        time.sleep(self._job["hold_ms"] / 1000)
        self._check_open()
        return Outcome(requests=count, body_bytes=count * size)

    def _check_open(self) -> None:
        # Not select.select: it knows no descriptor above 1023.
        poll = select.poll()
        for client in self._clients:
            poll.register(client.wire.open(), select.POLLIN)
        if ended := len(poll.poll(0)):
            raise LoadError(f"{ended} of {len(self._clients)} silent connections were ended")
