"""The child processes of a measurement: a server, and the load on it. None outlives the harness."""

from __future__ import annotations

import resource
import select
import subprocess
import sys
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from benchmarks import measure
from benchmarks.load.job import Job, Outcome
from benchmarks.servers.kind import Launch, ServerKind, inherited_environment, python_path
from tusd_s3.devstack.free_ports import LOOPBACK
from tusd_s3.devstack.server import LocalServer
from tusd_s3.devstack.stores import StoreAddresses

_PROBE_TIMEOUT_S: Final = 2.0
_WORKER_STARTED: Final = b"Application startup complete"
_LOAD_SLACK_S: Final = 15.0
"""The load process keeps its own deadline; this much later it is taken for stuck."""
_LOAD_ENDS_WITHIN_S: Final = 5.0


class StuckError(Exception):
    """A child did not say what it should in time."""


class ServerUnderTest(LocalServer):
    """A server of any kind, on a port of its own, behind a guard."""

    grace_s = 3.0

    def __init__(
        self,
        kind: ServerKind,
        data_dir: Path,
        home: Path,
        stores: StoreAddresses,
        bucket: str,
        *,
        workers: int,
        part_bytes: int,
    ) -> None:
        super().__init__(data_dir)
        self.name = kind.title
        self._kind = kind
        self._home = home
        self._stores = stores
        self._bucket = bucket
        self._workers = workers
        self._part_bytes = part_bytes

    def stop(self) -> None:
        """Stop it, with workers that would outlive a supervisor that had to be killed."""
        known = measure.tree(self._pid) if self._pid is not None else []
        super().stop()
        measure.kill(known)

    def _launch(self, port: int) -> Launch:
        return Launch(
            port=port,
            workers=self._workers,
            part_bytes=self._part_bytes,
            bucket=self._bucket,
            stores=self._stores,
            data_dir=self.data_dir,
            home=self._home.absolute(),
        )

    def _command(self, ports: list[int]) -> list[str]:
        self._environment_of_start = dict(self._kind.environment(self._launch(ports[0])))
        return self._kind.command(self._launch(ports[0]))

    def _environment(self) -> dict[str, str]:
        own = {"HOME": str(self.data_dir)}
        return inherited_environment() | own | self._environment_of_start

    def _is_ready(self, ports: list[int]) -> bool:
        if self._workers > 1 and not self._all_workers_started():
            return False
        connection = HTTPConnection(LOOPBACK, ports[0], timeout=_PROBE_TIMEOUT_S)
        try:
            connection.request("OPTIONS", self._kind.base_path)
            return connection.getresponse().status < 500
        except HTTPException:
            return False
        finally:
            connection.close()

    def _all_workers_started(self) -> bool:
        """Whether none is still at its imports, whose CPU time would count as the load's. Every
        server that can have several runs under uvicorn, which says so."""
        return self.log_file.read_bytes().count(_WORKER_STARTED) >= self._workers


class LoadProcess:
    """`benchmarks.load` with one job."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.load"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=inherited_environment() | python_path(),
            text=True,
            start_new_session=True,  # a Ctrl-C is for the harness, which ends it by its input
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ends("stdin")
        try:
            self._process.wait(_LOAD_ENDS_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._ends("stdout")

    def prepare(self) -> Outcome | None:
        """Let it prepare; None when it is ready, else why it failed. Raises: StuckError."""
        self._say(self._job.to_line())
        told = self._hear()
        return None if told == "ready" else Outcome.of_line(told)

    def run(self) -> Outcome:
        """Let it run. Its connections stay open until the end of the block. Raises: StuckError."""
        self._say("go")
        return Outcome.of_line(self._hear())

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{line}\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise StuckError("the load process ended") from None

    def _hear(self) -> str:
        assert self._process.stdout is not None
        within_s = self._job.deadline_s + _LOAD_SLACK_S
        # It writes whole lines, so what is readable is a line, or the end.
        if not select.select([self._process.stdout], [], [], within_s)[0]:
            raise StuckError(f"not done within {self._job.deadline_s:.0f} s")
        line = self._process.stdout.readline()
        if not line:
            raise StuckError("the load process ended")
        return line.strip()

    def _ends(self, name: str) -> None:
        stream = getattr(self._process, name)
        with suppress(BrokenPipeError):  # it has ended already
            stream.close()


def allow_many_files() -> None:
    """Raise the limit of open files, which children inherit, to what the system lets us have: a
    thousand connections need more than the usual 1,024."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
