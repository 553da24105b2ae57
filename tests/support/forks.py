"""Server processes from a program that has loaded everything: see `nursery`."""

from __future__ import annotations

import atexit
import itertools
import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import IO

import tusd_s3

ROOT = Path(tusd_s3.__file__).resolve().parents[1]
_FORKED_WITHIN_S = 60.0
_END_WITHIN_S = 20.0
_NOBODY = {"AWS_ACCESS_KEY_ID": "nobody", "AWS_SECRET_ACCESS_KEY": "nothing"}
"""The SDK looks for credentials when it is loaded; each fork has its own."""

_LOST = -9
"""The exit status of forks whose nursery is gone: it takes them along."""


class Fork:
    """A server process; what `subprocess.Popen` offers of one, as far as it is used here."""

    def __init__(self) -> None:
        self._pid: int | None = None
        self._status: int | None = None
        self._begun = threading.Event()
        self._over = threading.Event()

    @property
    def pid(self) -> int:
        """Its id, which is its group's as well."""
        assert self._begun.wait(_FORKED_WITHIN_S), "the nursery does not answer"
        assert self._pid is not None, "the nursery has ended"
        return self._pid

    def poll(self) -> int | None:
        """Its exit status; None while it runs."""
        return self._status

    def wait(self, timeout: float | None = None) -> int:
        """Its exit status once it has ended. Raises `subprocess.TimeoutExpired`."""
        if not self._over.wait(timeout):
            raise subprocess.TimeoutExpired("a forked server", timeout or 0.0)
        assert self._status is not None
        return self._status

    def send_signal(self, number: int) -> None:
        """To the process; nothing happens if it has ended."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def begun(self, pid: int) -> None:
        """The nursery has forked it."""
        self._pid = pid
        self._begun.set()

    def ended(self, status: int) -> None:
        """It has ended."""
        self._status = status
        self._begun.set()
        self._over.set()


class Forks:
    """A nursery and what it has forked. Safe to use from several threads."""

    def __init__(self) -> None:
        # Settings of whoever runs the tests must not reach it.
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "TUSD_"))}
        self._process = subprocess.Popen(
            # -P: modules that lie beside the program are not the program's.
            [sys.executable, "-P", str(Path(__file__).with_name("nursery.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=kept | _NOBODY | {"PYTHONPATH": str(ROOT)},
            start_new_session=True,
        )
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        self._forks: dict[int, Fork] = {}
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def start(self, arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> Fork:
        """Fork a server; `log` gets its output."""
        fork = Fork()
        with self._lock:
            number = next(self._numbers)
            self._forks[number] = fork
            order = {
                "order": number,
                "arguments": list(arguments),
                "environment": dict(environment),
                "log": str(log.absolute()),
            }
            orders = _stream(self._process.stdin)
            orders.write(json.dumps(order).encode() + b"\n")
            orders.flush()
        return fork

    def close(self) -> None:
        """End the nursery, and all forks with it."""
        with self._process:
            _stream(self._process.stdin).close()
            self._listener.join(_END_WITHIN_S)

    def _listen(self) -> None:
        for line in _stream(self._process.stdout):
            answer: dict[str, int] = json.loads(line)
            if "pid" in answer:
                self._forks[answer["order"]].begun(answer["pid"])
            else:
                self._forks.pop(answer["order"]).ended(answer["status"])
        while self._forks:
            self._forks.popitem()[1].ended(_LOST)


@cache
def forks() -> Forks:
    """Those of this process; they end with it at the latest."""
    nursery = Forks()
    atexit.register(nursery.close)
    return nursery


def _stream(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None
    return stream
