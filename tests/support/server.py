"""The server as an operator runs it: a process of its own, started by its command line."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from tests.support.forks import ROOT, Fork, forks
from tests.support.raw import RawConnection
from tests.support.tus import RawClient
from tests.support.waiting import eventually

_START_WITHIN_S = 30.0
_STOP_WITHIN_S = 20.0
_LOG_TAIL_CHARS = 12_000

_COMMAND: Sequence[str] = ("tusd_s3",)

SWITCH = "(switch)"
"""Value of an option that takes none."""

LIVE: list[ServerProcess] = []
"""Servers that run now; a failing test shows the end of their logs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSettings:
    """Where a server keeps its uploads: `tusd_s3.devstack.stores.StoreAddresses`, and what sets it
    apart from others in the same stores."""

    s3_endpoint: str
    s3_access_key: str
    s3_secret_key: str
    s3_region: str
    redis_url: str
    bucket: str = ""
    object_prefix: str = ""
    redis_prefix: str = ""

    def options(self) -> dict[str, str]:
        """As command-line options."""
        return {
            "s3-bucket": self.bucket,
            "s3-endpoint": self.s3_endpoint,
            "s3-region": self.s3_region,
            "redis-url": self.redis_url,
            "s3-object-prefix": self.object_prefix,
            "redis-key-prefix": self.redis_prefix,
        }

    def environment(self) -> dict[str, str]:
        """Credentials, as the SDK's standard variables."""
        return {
            "AWS_ACCESS_KEY_ID": self.s3_access_key,
            "AWS_SECRET_ACCESS_KEY": self.s3_secret_key,
        }

    def server_environment(self) -> dict[str, str]:
        """The whole environment of a server."""
        # Settings of whoever runs the tests must not reach the server under test.
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "TUSD_"))}
        return kept | self.environment() | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}


@dataclass(slots=True, eq=False)
class ServerProcess:
    """One `tusd-s3 serve`, in a process group of its own.

    It comes from the nursery, which has loaded what a server loads: most of the processor's time of
    a whole run went into that. Where the process itself is looked at, it is a fresh one.

    options: further command-line options, without dashes (`{"max-size": "1MiB"}`).
    expect_traceback: whether a traceback in the log is what the test provokes; else it fails it.
    module: what the interpreter runs, and its own arguments, before those of the command.
    fresh: whether it is a new interpreter in any case, as where its memory is measured.
    """

    stores: StoreSettings
    log_path: Path
    options: Mapping[str, str] = field(default_factory=dict)
    base_path: str = "/files/"
    expect_traceback: bool = False
    module: Sequence[str] = _COMMAND
    fresh: bool = False
    port: int = field(init=False, default=0)
    _process: subprocess.Popen[bytes] | Fork | None = field(init=False, default=None)

    def start(self) -> None:
        """Start, and wait until requests are answered."""
        self.port = free_port()
        self._process = self._new_interpreter() if self._is_fresh else self._fork()
        LIVE.append(self)
        try:
            eventually(self._is_ready, within_s=_START_WITHIN_S, what="the server answers OPTIONS")
        except AssertionError as error:
            self._signal(signal.SIGKILL)
            self._reap()
            raise AssertionError(f"{error}\n{self.log_tail()}") from None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:  # also Ctrl-C, which does not reach a group of its own
            self.kill()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def client(self) -> RawClient:
        """A client of this server."""
        return RawClient(("127.0.0.1", self.port), self.base_path)

    @property
    def pid(self) -> int:
        """Of the process that was started; with several workers, of their supervisor."""
        assert self._process is not None
        return self._process.pid

    def stop(self) -> None:
        """SIGTERM, wait, and check that the log holds no traceback. Fine if it has ended."""
        self.terminate()
        self.wait_for_exit()
        assert self.expect_traceback or "Traceback" not in self.log(), self.log_tail()

    def terminate(self) -> None:
        """SIGTERM to the process that was started, and do not wait."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)

    def wait_for_exit(self, *, within_s: float = _STOP_WITHIN_S) -> int | None:
        """The exit status; a server that does not end in time is killed, and that fails."""
        if self._process is None:
            return None
        try:
            return self._process.wait(within_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after SIGTERM\n{self.log_tail()}") from None
        finally:
            self._reap()

    def kill(self) -> None:
        """SIGKILL to the whole group; it is gone when this returns."""
        self._signal(signal.SIGKILL)
        self._reap()

    @property
    def most_resident_bytes(self) -> int:
        """The most memory that the server's process has had at once (with one worker)."""
        assert self._process is not None
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        [line] = [line for line in status.splitlines() if line.startswith("VmHWM:")]
        return int(line.split()[1]) * 1024

    def freeze(self) -> None:
        """SIGSTOP."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    def log(self) -> str:
        """All that the server has written."""
        return self.log_path.read_text(errors="replace")

    def log_tail(self) -> str:
        """The end of it, for a failing test."""
        return self.log()[-_LOG_TAIL_CHARS:]

    @property
    def _is_fresh(self) -> bool:
        # A supervisor starts its workers with what its own interpreter was started with.
        return self.fresh or self.module != _COMMAND or "workers" in self.options

    def _new_interpreter(self) -> subprocess.Popen[bytes]:
        with self.log_path.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", *self.module, *self._arguments()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self.stores.server_environment(),
                start_new_session=True,
            )

    def _fork(self) -> Fork:
        environment = self.stores.server_environment()
        return forks().start(self._arguments(), environment, self.log_path)

    def _arguments(self) -> list[str]:
        options = {
            **self.stores.options(),
            "host": "127.0.0.1",
            "port": f"{self.port}",
            "base-path": self.base_path,
            "log-level": "debug",
            **self.options,
        }
        arguments = ["serve"]
        for name, value in options.items():
            arguments += [f"--{name}"] if value == SWITCH else [f"--{name}", value]
        return arguments

    def _is_ready(self) -> bool:
        assert self._process is not None
        if (status := self._process.poll()) is not None:
            raise RuntimeError(f"the server ended with status {status}\n{self.log_tail()}")
        with RawConnection(("127.0.0.1", self.port), timeout_s=2.0) as connection:
            connection.send_head("OPTIONS", self.base_path)
            return connection.read_response("OPTIONS").status == 204

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            with suppress(ProcessLookupError):  # of a fork's end, one hears a moment later
                os.killpg(self._process.pid, number)

    def _reap(self) -> None:
        if self._process is None:
            return
        if self._process.poll() is None:
            self._signal(signal.SIGKILL)
            self._process.wait(_STOP_WITHIN_S)
        self._process = None
        if self in LIVE:
            LIVE.remove(self)


def free_port() -> int:
    """A TCP port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
