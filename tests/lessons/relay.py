"""Server processes in a row, of which one serves at a time: when it is killed, the next stands by,
and its successor is on its way."""

from __future__ import annotations

import signal
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Self

from tests.support.forks import Fork, Forks
from tests.support.raw import RawConnection
from tests.support.server import StoreSettings, free_port
from tests.support.tus import RawClient
from tests.support.waiting import eventually

_READY_WITHIN_S = 60.0
_GONE_WITHIN_S = 20.0
_ATTEMPTS = 3
"""A port that was free when it was chosen may be taken when the server listens."""


@dataclass(frozen=True, slots=True)
class Served:
    """A process that serves."""

    fork: Fork
    client: RawClient

    def kill(self) -> None:
        """SIGKILL; it is gone when this returns."""
        self.fork.send_signal(signal.SIGKILL)
        self.fork.wait(_GONE_WITHIN_S)


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
    _forks: Forks = field(init=False)
    _next: SimpleQueue[Future[Served]] = field(init=False, default_factory=SimpleQueue)
    _starts: ThreadPoolExecutor = field(init=False)

    def __enter__(self) -> Self:
        self._forks = Forks()  # its own: all of them end together
        self._starts = ThreadPoolExecutor(self.spares)
        for _ in range(self.spares):
            self._next.put(self._starts.submit(self._start))
        self._take_over()
        return self

    def __exit__(self, *_: object) -> None:
        self._starts.shutdown()
        self._forks.close()

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

    def _fork(self, port: int) -> Fork:
        options = {**self.stores.options(), "host": "127.0.0.1", "port": f"{port}"}
        flags = [word for name, value in options.items() for word in (f"--{name}", value)]
        environment = self.stores.server_environment()
        return self._forks.start(["serve", *flags], environment, self.log_path)


def _state(served: Served) -> str | None:
    """Whether the process is ready or has ended; None while it starts."""
    if served.fork.poll() is not None:
        return "ended"
    with RawConnection(served.client.address, timeout_s=2.0) as connection:
        connection.send_head("OPTIONS", served.client.base_path)
        return "ready" if connection.read_response("OPTIONS").status == 204 else None
