"""One server of the local stack as a child process: start, readiness, faults, stop."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from tusd_s3.devstack import guard
from tusd_s3.devstack.errors import DevStackError
from tusd_s3.devstack.free_ports import LOOPBACK, free_ports

_READY_WITHIN_S = 30.0
_READY_POLL_S = 0.02
_START_ATTEMPTS_MAX = 5
_BIND_FAILED = re.compile(rb"address already in use", re.IGNORECASE)
_LOG_TAIL_BYTES = 4096
# A guard needs the server's grace and a moment; more means that it is stuck.
_GUARD_SLACK_S = 10.0
# These are meant for us: SeaweedFS would take AWS_* for an identity of its own.
_KEPT_FROM_SERVERS = ("AWS_", "S3_", "WEED_")


class _PortTakenError(Exception):
    """Another process took a port between our choice and the server's bind."""


class LocalServer(ABC):
    """A server on free ports of the loopback interface, with its data in a directory.

    After a crash or `kill`, `restart` brings it back with the same data on the same ports.
    """

    name: str
    """What messages call it."""

    port_count: int = 1
    grace_s: float = 5.0
    """Seconds from SIGTERM to SIGKILL."""

    def __init__(self, data_dir: Path, *, port: int | None = None) -> None:
        self.data_dir = data_dir.absolute()
        self._wanted_port = port
        self._ports: list[int] = []
        self._guard: subprocess.Popen[bytes] | None = None
        self._pid: int | None = None
        self._held_fds: tuple[int, ...] = ()

    @property
    def port(self) -> int:
        """The port that clients use; known from the first start on."""
        if not self._ports:
            raise RuntimeError(f"{self.name} was never started")
        return self._ports[0]

    @property
    def pid(self) -> int:
        """Process id of the server itself (not of its guard)."""
        if self._pid is None:
            raise RuntimeError(f"{self.name} is not running")
        return self._pid

    @property
    def log_file(self) -> Path:
        """What the server of the last start wrote."""
        return self.data_dir / "server.log"

    def start(self, *, held_fds: tuple[int, ...] = ()) -> None:
        """Start it and return when it answers; on ports chosen anew unless one was given.

        `held_fds` stay open until the server is gone, even if we die before; `restart` keeps them.

        Raises:
            DevStackError: it is not installed or does not start; nothing is left running.
        """
        self._held_fds = held_fds
        attempts = _START_ATTEMPTS_MAX if self._wanted_port is None else 1
        for attempt in range(1, attempts + 1):
            try:
                return self._start_on(self._choose_ports())
            except _PortTakenError as taken:
                if attempt == attempts:
                    raise DevStackError(str(taken)) from None
        return None

    def restart(self) -> None:
        """Stop it if it runs, and start it on the same ports. Raises: DevStackError."""
        ports = self._ports
        self.stop()
        try:
            self._start_on(ports)
        except _PortTakenError as taken:
            raise DevStackError(str(taken)) from None

    def stop(self) -> None:
        """SIGTERM, and SIGKILL when `grace_s` is over; returns when the server is gone."""
        if self._guard is None:
            return
        assert self._guard.stdin is not None
        assert self._guard.stdout is not None
        self._guard.stdin.close()
        try:
            self._guard.wait(self.grace_s + _GUARD_SLACK_S)
        except subprocess.TimeoutExpired:
            self._guard.kill()
            if self._pid is not None:
                os.kill(self._pid, signal.SIGKILL)
            self._guard.wait()
        self._guard.stdout.close()
        self._guard = self._pid = None
        self._clean_up()

    def kill(self) -> None:
        """SIGKILL, as a crash would do it; returns when the server is gone."""
        os.kill(self.pid, signal.SIGKILL)
        self.stop()

    def pause(self) -> None:
        """SIGSTOP: connections stay open and nothing answers. `stop` works on a paused server."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Undo `pause`."""
        os.kill(self.pid, signal.SIGCONT)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @abstractmethod
    def _command(self, ports: list[int]) -> list[str]:
        """The command line; it runs with `data_dir` as working directory."""

    @abstractmethod
    def _is_ready(self, ports: list[int]) -> bool:
        """Whether our server, not another one on that port, takes requests. OSError means no."""

    def _prepare(self) -> None:
        self.data_dir.mkdir(parents=True, exist_ok=True)

    def _clean_up(self) -> None:  # noqa: B027 - most servers leave nothing behind
        """Remove what the server left outside its data directory."""

    def _environment(self) -> dict[str, str]:
        ours = {k: v for k, v in os.environ.items() if not k.startswith(_KEPT_FROM_SERVERS)}
        return {**ours, "HOME": str(self.data_dir)}

    def _choose_ports(self) -> list[int]:
        if self._wanted_port is None:
            return free_ports(self.port_count)
        others = free_ports(self.port_count)
        if self._wanted_port in others:
            others.remove(self._wanted_port)
        return [self._wanted_port, *others][: self.port_count]

    def _start_on(self, ports: list[int]) -> None:
        if self._guard is not None:
            raise RuntimeError(f"{self.name} runs already")
        self._prepare()
        command = self._command(ports)
        self._ports = ports
        try:
            with self.log_file.open("wb") as log:
                self._guard = self._spawn(command, log)
            self._await_ready(ports)
        except BaseException:
            self.stop()
            raise

    def _spawn(self, command: list[str], log: IO[bytes]) -> subprocess.Popen[bytes]:
        guarded = [sys.executable, "-I", "-S", guard.__file__, str(self.grace_s), "--", *command]
        return subprocess.Popen(  # noqa: S603 - the command is ours
            guarded,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            cwd=self.data_dir,
            env=self._environment(),
            pass_fds=self._held_fds,
            # A session of its own: the terminal's Ctrl-C is for us, and we stop it in order.
            start_new_session=True,
        )

    def _await_ready(self, ports: list[int]) -> None:
        assert self._guard is not None
        assert self._guard.stdout is not None
        told = self._guard.stdout.readline()
        if not told:
            raise DevStackError(f"{self.name} did not start: {self._last_log_line()}")
        self._pid = int(told)
        deadline = time.monotonic() + _READY_WITHIN_S
        while time.monotonic() < deadline:
            with suppress(OSError):
                if self._is_ready(ports):
                    return
            try:
                self._guard.wait(_READY_POLL_S)
            except subprocess.TimeoutExpired:
                continue
            self._raise_exited()
        raise DevStackError(
            f"{self.name} did not answer within {_READY_WITHIN_S:.0f}s: {self._last_log_line()}"
        )

    def _raise_exited(self) -> None:
        if _BIND_FAILED.search(self._log_tail()):
            raise _PortTakenError(
                f"{self.name} cannot listen on {LOOPBACK}:{self.port}: the port is in use."
            )
        raise DevStackError(f"{self.name} stopped while it started: {self._last_log_line()}")

    def _log_tail(self) -> bytes:
        with self.log_file.open("rb") as log:
            log.seek(max(0, self.log_file.stat().st_size - _LOG_TAIL_BYTES))
            return log.read()

    def _last_log_line(self) -> str:
        lines = self._log_tail().decode("utf-8", "replace").strip().splitlines()
        return lines[-1].strip() if lines else "it wrote nothing"
