"""Server processes in a row, of which one serves at a time: when it is killed, the next stands by,
and its successor is on its way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from threading import Lock
from typing import IO, Self

import tusd_s3
from tests.support.raw import RawConnection
from tests.support.server import StoreSettings, free_port
from tests.support.tus import RawClient
from tests.support.waiting import eventually

_READY_WITHIN_S = 60.0
_ATTEMPTS = 3
"""A port that was free when it was chosen may be taken when the server listens."""


@dataclass(frozen=True, slots=True)
class Served:
    """A process that serves."""

    pid: int
    client: RawClient

    def kill(self) -> None:
        """SIGKILL; it is gone when this returns."""
        os.kill(self.pid, signal.SIGKILL)
        eventually(lambda: not self.is_alive, what=f"process {self.pid} is gone")

    @property
    def is_alive(self) -> bool:
        """Whether the process is there."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        return True


@dataclass(slots=True, eq=False)
class Relay:
    """Use as a context manager.

    stores: where its processes keep uploads. log_path: where all of them write. spares: how many
    stand by, or are on their way. kills: how many there have been.
    """

    stores: StoreSettings
    log_path: Path
    spares: int
    kills: int = 0
    serving: Served = field(init=False)
    _nursery: subprocess.Popen[bytes] = field(init=False)
    _orders: Lock = field(init=False, default_factory=Lock)
    _next: SimpleQueue[Future[Served]] = field(init=False, default_factory=SimpleQueue)
    _starts: ThreadPoolExecutor = field(init=False)

    def __enter__(self) -> Self:
        self._nursery = _nursery(self.stores)
        self._starts = ThreadPoolExecutor(self.spares)
        for _ in range(self.spares):
            self._next.put(self._starts.submit(self._start))
        self._take_over()
        return self

    def __exit__(self, *_: object) -> None:
        self._starts.shutdown()
        with self._nursery:
            assert self._nursery.stdin is not None
            self._nursery.stdin.close()

    def kill(self) -> None:
        """SIGKILL the process that serves; the next one takes over."""
        self.serving.kill()
        self.kills += 1
        self._take_over()

    def _take_over(self) -> None:
        self._next.put(self._starts.submit(self._start))
        self.serving = self._next.get().result(_READY_WITHIN_S)

    def _start(self) -> Served:
        for _ in range(_ATTEMPTS):
            port = free_port()
            served = Served(self._fork(port), RawClient(("127.0.0.1", port)))
            if eventually(partial(_state, served), within_s=_READY_WITHIN_S) == "ready":
                return served
        raise AssertionError(self.log_path.read_text(errors="replace")[-5000:])

    def _fork(self, port: int) -> int:
        options = {**self.stores.options(), "host": "127.0.0.1", "port": f"{port}"}
        flags = [word for name, value in options.items() for word in (f"--{name}", value)]
        order = {"arguments": ["serve", *flags], "log": str(self.log_path)}
        with self._orders:
            _stream(self._nursery.stdin).write(json.dumps(order).encode() + b"\n")
            _stream(self._nursery.stdin).flush()
            return int(_stream(self._nursery.stdout).readline())


def _nursery(stores: StoreSettings) -> subprocess.Popen[bytes]:
    # Settings of whoever runs the tests must not reach the servers.
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "TUSD_"))}
    root = str(Path(tusd_s3.__file__).resolve().parents[1])
    return subprocess.Popen(
        # -P: modules that lie beside the program are not the program's.
        [sys.executable, "-P", str(Path(__file__).with_name("nursery.py"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=kept | stores.environment() | {"PYTHONPATH": root},
        start_new_session=True,
    )


def _stream(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None
    return stream


def _state(served: Served) -> str | None:
    """Whether the process is ready or has ended; None while it starts."""
    if not served.is_alive:
        return "ended"
    with RawConnection(served.client.address, timeout_s=2.0) as connection:
        connection.send_head("OPTIONS", served.client.base_path)
        return "ready" if connection.read_response("OPTIONS").status == 204 else None
