"""What a process and its descendants have used: CPU time and memory, as the kernel counts them."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

_WATCH_EVERY_S: Final = 0.25
_PEAK: Final = re.compile(r"^VmHWM:\s+(\d+) kB$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class CpuTime:
    """Seconds of CPU. The kernel counts in ticks of 10 ms."""

    user_s: float
    system_s: float

    @property
    def total_s(self) -> float:
        """Both."""
        return self.user_s + self.system_s

    def __sub__(self, other: CpuTime) -> CpuTime:
        return CpuTime(self.user_s - other.user_s, self.system_s - other.system_s)


def cpu_time(pid: int) -> CpuTime:
    """Of a process and all its descendants, those that have ended included."""
    user_s = system_s = 0.0
    for process in tree(pid):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        user_s += times.user + times.children_user
        system_s += times.system + times.children_system
    return CpuTime(user_s, system_s)


def peak_bytes(pid: int) -> int:
    """The most memory (VmHWM) that a process has had, and each of its descendants, added up. With
    several processes it is an upper bound: what they share is counted for each."""
    return sum(_peak(process.pid) for process in tree(pid))


def forget_peak(pid: int) -> None:
    """From now on, `peak_bytes` is of what comes. Where the kernel does not let us (proc(5),
    clear_refs), what was before counts as well."""
    for process in tree(pid):
        with suppress(OSError):
            Path(f"/proc/{process.pid}/clear_refs").write_text("5")


def resident_bytes(pid: int) -> int:
    """The memory that a process and its descendants have now."""
    total = 0
    for process in tree(pid):
        try:
            total += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


@contextmanager
def memory_limited(pid: int, limit_bytes: int) -> Iterator[threading.Event]:
    """End the tree at once if it has more memory than that, and set the event: a server that keeps
    whole bodies must not take the machine with it."""
    finished, over = threading.Event(), threading.Event()

    def watch() -> None:
        while not finished.wait(_WATCH_EVERY_S):
            if resident_bytes(pid) > limit_bytes:
                over.set()
                kill(tree(pid))
                return

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield over
    finally:
        finished.set()
        watcher.join()


def kill(processes: Iterable[psutil.Process]) -> None:
    """SIGKILL to those that still run. A process that got the id of one that ended is let be."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def tree(pid: int) -> list[psutil.Process]:
    """A process and all its descendants; nothing if it has ended."""
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _peak(pid: int) -> int:
    try:
        found = _PEAK.search(Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return 0
    return int(found[1]) * 1024 if found else 0
