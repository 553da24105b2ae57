"""Runs one of the `.mjs` scripts here and reads what it says: one JSON object a line."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

HERE = Path(__file__).parent
_END_WITHIN_S = 15.0
_STDERR_TAIL_CHARS = 4_000

Said = dict[str, Any]
"""A line of a script: its event, and what goes with it."""


@dataclass(slots=True, eq=False)
class Script:
    """A script at work. It gets its job as JSON in its first argument; a line on its stdin is the
    word to go on. Every wait is bounded; what is left running is killed with its children."""

    node: str
    path: str
    job: dict[str, Any]
    _process: subprocess.Popen[str] = field(init=False)
    _lines: queue.Queue[str | None] = field(init=False, default_factory=queue.Queue)
    _errors: list[str] = field(init=False, default_factory=list)
    _readers: list[threading.Thread] = field(init=False, default_factory=list)

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [self.node, str(HERE / self.path), json.dumps(self.job)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=_environment(),
            start_new_session=True,
        )
        for read in (self._read_lines, self._read_errors):
            thread = threading.Thread(target=read, daemon=True)
            thread.start()
            self._readers.append(thread)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(_END_WITHIN_S)
        for thread in self._readers:
            thread.join(_END_WITHIN_S)
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            assert pipe is not None
            with suppress(BrokenPipeError):
                pipe.close()

    def expect(self, event: str, *, within_s: float = 30.0) -> Said:
        """The next line, which must be of this event."""
        said = self._next(within_s, f"its {event!r}")
        assert said["event"] == event, f"{self.path} said {said}, not {event!r}\n{self._stderr()}"
        return said

    def go_on(self) -> None:
        """Let a script that waits for it go on."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def finish(self, *, within_s: float = 30.0) -> Said:
        """The result of a script that succeeds: its line, and exit status 0 after it."""
        result = self.expect("done", within_s=within_s)
        assert self.exit_status() == 0, self._stderr()
        return result

    def exit_status(self) -> int:
        """Of a script that has said its last line."""
        return self._process.wait(_END_WITHIN_S)

    def _next(self, within_s: float, what: str) -> Said:
        try:
            line = self._lines.get(timeout=within_s)
        except queue.Empty:
            raise AssertionError(
                f"{self.path} did not say {what} within {within_s:g} s\n{self._stderr()}"
            ) from None
        assert line is not None, f"{self.path} ended without {what}\n{self._stderr()}"
        said: Said = json.loads(line)
        return said

    def _stderr(self) -> str:
        return "".join(self._errors)[-_STDERR_TAIL_CHARS:]

    def _read_lines(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def _read_errors(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self._errors.append(line)


def _environment() -> dict[str, str]:
    # A proxy of whoever runs the tests must not stand between a client and this machine.
    return {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
