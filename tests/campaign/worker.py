"""A server that is killed, frozen and brought back again and again."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from pathlib import Path

from tests.support.server import ServerProcess, StoreSettings
from tests.support.waiting import eventually

_START_ATTEMPTS_MAX = 4


class Worker:
    """One server process and its successors. Safe to use from several threads.

    deaths: how often it was ended on purpose; whoever lost a connection looks whether it grew.
    """

    def __init__(self, stores: StoreSettings, log_path: Path, options: Mapping[str, str]) -> None:
        self._server = _Process(stores, log_path, options)
        self._lock = threading.RLock()
        self._frozen = False
        self._log_seen = 0
        self._life_at = 0
        self.deaths = 0
        self.is_up = False

    @property
    def server(self) -> ServerProcess:
        """The process that runs now, or ran last."""
        return self._server

    def start(self) -> None:
        """Start it unless it runs. AssertionError when it does not come up in several attempts:
        while a store is away, a server refuses to start."""
        with self._lock:
            if self.is_up:
                return
            eventually(self._try_start, within_s=60.0, what="the server starts")

    def kill(self) -> None:
        """SIGKILL."""
        with self._lock:
            if self.is_up:
                self._ended_on_purpose()
                self._server.kill()

    def terminate(self) -> None:
        """SIGTERM; it is gone when this returns."""
        with self._lock:
            if self.is_up:
                self._ended_on_purpose()
                self._server.terminate()
                self._server.wait_for_exit(within_s=60.0)

    def freeze(self) -> None:
        """SIGSTOP."""
        with self._lock:
            if self.is_up:
                self._frozen = True
                self._server.freeze()

    def thaw(self) -> None:
        """SIGCONT."""
        with self._lock:
            if self._frozen:
                self._frozen = False
                self._server.thaw()

    def stop(self) -> None:
        """End it for good, whatever state it is in."""
        with self._lock:
            self.thaw()
            self.is_up = False
            self._server.kill()

    def complaint(self) -> str | None:
        """What is wrong with it on its own account: it died, or it logged a traceback."""
        with self._lock:
            if self.is_up and self._server.has_ended:
                self.is_up = False
                return f"the server died on its own\n{self._server.log_tail()}"
            log = self._server.log_bytes(self._log_seen)
            self._log_seen += len(log)
        if b"Traceback" in log:
            return f"the server logged a traceback\n{log.decode(errors='replace')[-8000:]}"
        return None

    def begin_life(self) -> None:
        """What is logged from here on belongs to the next example."""
        self._life_at = self._server.log_size()

    def log_of_life(self) -> str:
        """What was logged since."""
        return self._server.log_bytes(self._life_at).decode(errors="replace")

    def _ended_on_purpose(self) -> None:
        self.thaw()
        self.is_up = False
        self.deaths += 1

    def _try_start(self) -> bool:
        try:
            self._server.start()
        except RuntimeError as error:  # it ended at once: a store was away
            self._server.kill()
            raise AssertionError(str(error)) from error
        self.is_up = True
        return True


class _Process(ServerProcess):
    def log_size(self) -> int:
        return self.log_path.stat().st_size if self.log_path.exists() else 0

    @property
    def has_ended(self) -> bool:
        return self._process is not None and self._process.poll() is not None

    def log_bytes(self, start: int) -> bytes:
        if not self.log_path.exists():
            return b""
        with self.log_path.open("rb") as log:
            log.seek(start, os.SEEK_SET)
            return log.read()
