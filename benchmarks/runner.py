"""The run: every workload on every server, repetition by repetition, the servers in turn."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks import measure
from benchmarks.load.job import Job, Outcome
from benchmarks.processes import LoadProcess, ServerUnderTest, StuckError
from benchmarks.samples import Sample
from benchmarks.servers import NotHereError, ServerKind
from benchmarks.servers.installing import home_of
from benchmarks.stores import STORE_ERRORS, Stores, WrongObjectError
from benchmarks.workloads import Workload
from tusd_s3.devstack.errors import DevStackError


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to measure.

    groups: of workloads that share their stores. settle_s: from the last answer to the reading of
    the counters. memory_limit_bytes: a server that has more is ended, and has failed.
    """

    groups: Sequence[Sequence[Workload]]
    servers: Sequence[ServerKind]
    repetitions: int
    settle_s: float
    part_bytes: int
    memory_limit_bytes: int
    peers_dir: Path
    scratch: Path
    logs_dir: Path


class Runner:
    """Carries out a plan. `keep` gets each sample when it is there."""

    def __init__(self, plan: Plan, keep: Callable[[Sample], None]) -> None:
        self._plan = plan
        self._keep = keep
        self._gave_up: dict[tuple[str, str], str] = {}

    def run(self) -> None:
        """All of it. Each group has stores of its own, whose files are gone after it.

        Raises: DevStackError, the stores do not start.
        """
        place = self._plan.scratch / "group"
        for group in self._plan.groups:
            try:
                with Stores.started(place / "stores") as stores:
                    for workload in group:
                        for repetition in range(self._plan.repetitions):
                            self._repeat(workload, repetition, stores, place)
            finally:
                shutil.rmtree(place, ignore_errors=True)

    def _repeat(self, workload: Workload, repetition: int, stores: Stores, place: Path) -> None:
        # Another one goes first each time, so that none is always after the heaviest.
        able = [kind for kind in self._plan.servers if kind.workers or workload.workers == 1]
        first = repetition % max(1, len(able))
        for kind in [*able[first:], *able[:first]]:
            sample = self._sample(workload, kind, repetition, stores, place / "server")
            _say(workload, sample)
            self._keep(sample)

    def _sample(
        self, workload: Workload, kind: ServerKind, repetition: int, stores: Stores, place: Path
    ) -> Sample:
        series = workload.point.series if workload.point else workload.name
        failed = self._gave_up.get((series, kind.name), "")
        if not failed:
            try:
                return self._measured(workload, kind, repetition, stores, place)
            except (
                _FailedError,
                StuckError,
                WrongObjectError,
                NotHereError,
                DevStackError,
            ) as error:
                failed = str(error)
            except STORE_ERRORS as error:
                failed = f"the stores: {error}"
            finally:
                if failed:
                    self._keep_log(place, f"{workload.name}-{kind.name}.log")
                shutil.rmtree(place, ignore_errors=True)
            # What fails once fails again, and takes its time; and what fails on a body fails on
            # a larger one.
            self._gave_up[series, kind.name] = failed
        return Sample(
            workload=workload.name, server=kind.name, repetition=repetition, failed=failed
        )

    def _keep_log(self, place: Path, name: str) -> None:
        """What a server that failed had to say, for whoever wants to know why."""
        with suppress(OSError):  # it did not come so far as to write one
            self._plan.logs_dir.mkdir(parents=True, exist_ok=True)
            shutil.copy(place / "server.log", self._plan.logs_dir / name)

    def _measured(
        self, workload: Workload, kind: ServerKind, repetition: int, stores: Stores, place: Path
    ) -> Sample:
        with (
            stores.bucket() as bucket,
            ServerUnderTest(
                kind,
                place,
                home_of(kind, self._plan.peers_dir),
                stores.addresses,
                bucket,
                workers=workload.workers,
                part_bytes=self._plan.part_bytes,
            ) as server,
        ):
            limit_bytes = self._plan.memory_limit_bytes
            with measure.memory_limited(server.pid, limit_bytes) as over:
                outcome, sample = self._loaded(workload, kind, repetition, stores, bucket, server)
            if over.is_set():
                raise _FailedError(f"took more than {limit_bytes / 2**30:.2g} GiB of memory")
            if outcome.error is not None:
                ended = "" if measure.resident_bytes(server.pid) else " (the server had ended)"
                raise _FailedError(f"{outcome.error}{ended}")
            if kind.key_of is not None:
                stores.check(bucket, outcome.finished, kind.key_of)
            return sample

    def _loaded(
        self,
        workload: Workload,
        kind: ServerKind,
        repetition: int,
        stores: Stores,
        bucket: str,
        server: ServerUnderTest,
    ) -> tuple[Outcome, Sample]:
        job = Job(
            script=workload.script,
            port=server.port,
            base_path=kind.base_path,
            deadline_s=workload.deadline_s,
            numbers=workload.numbers,
        )
        start_bytes = measure.resident_bytes(server.pid)
        with LoadProcess(job) as load:
            if (failed := load.prepare()) is not None:
                return failed, Sample(workload="", server="", repetition=0)
            measure.forget_peak(server.pid)  # what the preparation took is not the load's
            before = _Reading.of(stores, bucket, server)
            outcome = load.run()
            # What the server still does for the load after its last answer is the load's too; no
            # server says when that is done.
            time.sleep(self._plan.settle_s)
            used = _Reading.of(stores, bucket, server).since(before)
            peak = measure.peak_bytes(server.pid)
        return outcome, Sample(
            workload=workload.name,
            server=kind.name,
            repetition=repetition,
            wall_s=outcome.wall_s,
            cpu_user_s=used.server.user_s,
            cpu_system_s=used.server.system_s,
            s3_cpu_s=used.s3.total_s,
            redis_cpu_s=used.redis.total_s,
            load_cpu_s=outcome.load_cpu_s,
            start_bytes=start_bytes,
            peak_bytes=peak,
            requests=outcome.requests,
            body_bytes=outcome.body_bytes,
            s3_calls=used.calls,
            figures=outcome.figures,
        )


class _FailedError(Exception):
    """A server did not do what the workload asks."""


@dataclass(frozen=True, slots=True)
class _Reading:
    """The counters at one moment, or between two."""

    server: measure.CpuTime
    s3: measure.CpuTime
    redis: measure.CpuTime
    calls: dict[str, int]

    @classmethod
    def of(cls, stores: Stores, bucket: str, server: ServerUnderTest) -> _Reading:
        return cls(
            server=measure.cpu_time(server.pid),
            s3=measure.cpu_time(stores.s3.pid),
            redis=measure.cpu_time(stores.redis.pid),
            calls=stores.s3.calls(bucket),
        )

    def since(self, before: _Reading) -> _Reading:
        calls = {kind: count - before.calls.get(kind, 0) for kind, count in self.calls.items()}
        return _Reading(
            self.server - before.server,
            self.s3 - before.s3,
            self.redis - before.redis,
            {kind: count for kind, count in sorted(calls.items()) if count},
        )


def _say(workload: Workload, sample: Sample) -> None:
    told = (
        f"failed: {sample.failed}"
        if sample.failed
        else f"{sample.wall_s:8.2f} s wall  {sample.cpu_s:8.2f} s CPU"
        f"  {sample.peak_bytes / 2**20:7.0f} MiB  {sample.calls:6d} S3 calls"
    )
    sys.stderr.write(f"{workload.name:16} {sample.repetition + 1}  {sample.server:18} {told}\n")
    sys.stderr.flush()
