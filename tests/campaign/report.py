"""What a campaign did and what it found."""

from __future__ import annotations

import json
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

Step = tuple[str, dict[str, object]]
"""A rule and its arguments: all that it takes to do it again."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A promise that was broken, and where to read of it."""

    summary: str
    seed: int
    replay: Path
    journal: Path


@dataclass(slots=True)
class Report:
    """Counters, and the failures. Counted from several threads.

    folder: where replays and journals of failures go. breakdowns: tracebacks of what kept the
    campaign itself from its work. incidents: failures and breakdowns, each time they were seen.
    """

    folder: Path
    seed: int = 0
    failures: list[Failure] = field(default_factory=list)
    breakdowns: list[str] = field(default_factory=list)
    incidents: int = 0
    repeated: int = 0
    _counts: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _started_s: float = field(default_factory=time.monotonic)
    _last_steps: list[Step] = field(default_factory=list)

    def count(self, name: str, amount: int = 1) -> None:
        """Something happened."""
        with self._lock:
            self._counts[name] += amount

    def counted(self, name: str) -> int:
        """How often it happened."""
        return self._counts[name]

    def fail(
        self, error: BaseException, steps: list[Step], journal: list[str], logs: list[str]
    ) -> None:
        """A promise was broken; the steps can be run again from a file."""
        self.incidents += 1
        common = min(len(steps), len(self._last_steps))
        if common and steps[:common] == self._last_steps[:common]:  # hypothesis tried it again
            self.repeated += 1
            return
        self._last_steps = list(steps)
        number = len(self.failures) + 1
        self.folder.mkdir(parents=True, exist_ok=True)
        replay = self.folder / f"failure-{self.seed}-{number}.json"
        text = self.folder / f"failure-{self.seed}-{number}.txt"
        replay.write_text(json.dumps(steps, indent=1))
        lines = [*journal, "", f"{type(error).__name__}: {error}"]
        ends = [f"\n--- log of server {number}\n{log[-50_000:]}" for number, log in enumerate(logs)]
        text.write_text("\n".join([*lines, *ends]))
        summary = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        self.failures.append(Failure(summary, self.seed, replay, text))
        say(f"FAILURE {number} (seed {self.seed}): {summary}\n  replay: {replay}\n  read: {text}")
        say("\n".join(f"    {line}" for line in lines[-60:]))

    def broke(self, error: BaseException, journal: Sequence[str] = ()) -> None:
        """The campaign could not do its own work: no promise was broken, but none was kept."""
        self.incidents += 1
        text = "".join(traceback.format_exception(error))
        self.breakdowns.append(text)
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"breakdown-{self.seed}-{len(self.breakdowns)}.txt"
        path.write_text("\n".join([*journal, "", text]))
        say(f"BREAKDOWN of the campaign itself (seed {self.seed}), read: {path}\n{text}")

    @property
    def exit_status(self) -> int:
        """2 when the campaign itself broke down, 1 when a promise was broken."""
        return 2 if self.breakdowns else min(1, len(self.failures))

    def summary(self) -> str:
        """The counters as lines, and the failures."""
        minutes = (time.monotonic() - self._started_s) / 60
        lines = [f"{minutes:.1f} minutes"]
        lines += [f"{count:>14,}  {name}" for name, count in sorted(self._counts.items())]
        lines += [f"{len(self.failures)} failures, {self.repeated} of them again when repeated"]
        lines += [f"  seed {f.seed}: {f.summary} ({f.journal})" for f in self.failures]
        for text in self.breakdowns:
            lines.append(f"The campaign itself broke down: {text.splitlines()[-1]}")
        return "\n".join(lines)


def say(text: str) -> None:
    """To whoever watches the run."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
