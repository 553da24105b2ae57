"""HEAD: as many as the server answers, and how long one takes while large bodies come in."""

from __future__ import annotations

import multiprocessing
import time
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Final

from benchmarks.load import payload
from benchmarks.load.client import Client, side_by_side
from benchmarks.load.job import Job, Outcome
from benchmarks.load.scripts.bodies import Bodies
from benchmarks.load.wire import LoadError

_STOP_WITHIN_S: Final = 10.0


class Heads:
    """`count` HEADs over `connections` connections, each of an upload that has `size` bytes."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._paths: list[str] = []

    def prepare(self) -> None:
        """Make the uploads that are asked about."""
        for index in range(self._job["connections"]):
            self._paths.append(unfinished_upload(self._job, index))

    def run(self) -> Outcome:
        """Ask."""
        return side_by_side(self._job["connections"], self._share)

    def _share(self, connection: int) -> Outcome:
        path, size = self._paths[connection], self._job["size"]
        count = self._job["count"] // self._job["connections"]
        client = Client(self._job)
        with client.wire:
            for _ in range(count):
                if (offset := client.offset_of(path)) != size:
                    raise LoadError(f"HEAD says {offset} after {size} bytes")
        return Outcome(requests=count)


class HeadsUnderLoad:
    """A HEAD every `pause_ms` milliseconds while `Bodies` runs. Figures: `head_p50_s`,
    `head_p99_s`, `heads_count`.

    The HEADs are sent by a further process, so that the threads with the bodies cannot delay them.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._bodies = Bodies(job)

    def prepare(self) -> None:
        """As `Bodies`; make the upload that is asked about, and the process that asks."""
        self._bodies.prepare()
        path = unfinished_upload(self._job, self._job["count"])
        spawn = multiprocessing.get_context("spawn")
        self._pipe, other = spawn.Pipe()
        self._prober = spawn.Process(target=_probe, args=(self._job, path, other), daemon=True)
        self._prober.start()
        self._hear()

    def run(self) -> Outcome:
        """Bodies and HEADs until the bodies are there."""
        self._pipe.send("go")
        try:
            outcome = self._bodies.run()
        finally:
            self._pipe.send("stop")
        outcome.figures |= _percentiles(self._hear())
        return outcome

    def _hear(self) -> list[float]:
        if not self._pipe.poll(_STOP_WITHIN_S + self._job.deadline_s):
            raise LoadError("the process that sends HEADs is stuck")
        told = self._pipe.recv()
        if isinstance(told, str):
            raise LoadError(told)
        found: list[float] = told
        return found


def unfinished_upload(job: Job, index: int) -> str:
    """The path of an upload that has `size_of_headed` (or else `size`) bytes and waits for more."""
    size = job.numbers.get("size_of_headed", job["size"])
    client = Client(job)
    with client.wire:
        path = client.create(2 * size)
        client.send_patch(path, payload.phase_of(index), 0, size)
        client.expect_patched(size)
    return path


def _probe(job: Job, path: str, pipe: Connection) -> None:
    """Runs in the further process. Tells how long each answer took in seconds, or what failed."""
    told: list[float] | str = []
    with suppress(EOFError, BrokenPipeError):  # then nobody waits for an answer any more
        pipe.send(told)
        if not pipe.poll(job.deadline_s):
            return
        pipe.recv()
        try:
            told = _probe_until_told(job, path, pipe)
        except (LoadError, OSError) as error:
            told = f"HEAD under load: {error}"
        pipe.send(told)


def _probe_until_told(job: Job, path: str, pipe: Connection) -> list[float]:
    took_s: list[float] = []
    client = Client(job)
    with client.wire:
        while not pipe.poll(job["pause_ms"] / 1000):
            asked_at = time.perf_counter()
            client.offset_of(path)
            took_s.append(time.perf_counter() - asked_at)
    return took_s


def _percentiles(took_s: list[float]) -> dict[str, float]:
    if not took_s:
        raise LoadError("no HEAD was answered while the bodies came in")
    ordered = sorted(took_s)
    return {
        "head_p50_s": ordered[len(ordered) // 2],
        "head_p99_s": ordered[min(len(ordered) * 99 // 100, len(ordered) - 1)],
        "heads_count": len(ordered),
    }
