"""`tusd-s3`, with its event loop watched; what was seen is in a file when it ends.

    python -m benchmarks.micro.watched FILE LOOP serve …

A thread puts a beat into the loop every few milliseconds. While one is late, the thread notes what
the main thread is doing. It costs a few per cent, and shows in no production server.

*What kind of late it was* is told by the main thread's own clocks: CPU time that it used meanwhile
is work of ours; time on the run queue (`schedstat`) is a processor that others had; the rest is a
main thread that slept or waited for the interpreter's lock.

A call into C that keeps the interpreter's lock, a collection above all, also keeps the watching
thread from looking: the stack is then that of just after it, or there is none. Collections are
timed by themselves. With LOOP `asyncio`, each callback is timed as well, which uvloop's cannot be.
"""

from __future__ import annotations

import asyncio
import gc
import json
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Final, Self

BEAT_EVERY_S: Final = 0.002
LATE_S: Final = 0.005
"""Later than this is noted."""

_LOOK_AFTER_S: Final = 0.003
_LOOK_EVERY_S: Final = 0.002
_SWITCH_S: Final = 0.001
"""How long the main thread may keep the interpreter's lock while the watching one waits for it: it
would see nothing that is shorter."""
_FRAMES_MAX: Final = 30
_CALLBACK_MIN_S: Final = 0.002
"""Shorter callbacks are not kept."""


@dataclass(frozen=True, slots=True)
class Late:
    """A beat that came late. at_s: when it was due, by `time.perf_counter`, which all processes of
    a machine share. stacks: innermost first, as often as somebody looked."""

    at_s: float
    wall_s: float
    cpu_s: float
    queued_s: float
    stacks: list[list[str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Collection:
    """One run of the garbage collector."""

    at_s: float
    wall_s: float
    cpu_s: float
    generation: int
    freed: int


@dataclass(frozen=True, slots=True)
class Callback:
    """One callback of the loop that took long."""

    at_s: float
    wall_s: float
    cpu_s: float
    name: str


@dataclass(slots=True)
class Seen:
    """All that was seen."""

    late: list[Late] = field(default_factory=list)
    collections: list[Collection] = field(default_factory=list)
    callbacks: list[Callback] = field(default_factory=list)
    beats: int = 0
    whole: Collection | None = None
    """All generations at once, after the load."""

    @classmethod
    def load(cls, path: Path) -> Self:
        """What a server has left in the file."""
        found = json.loads(path.read_text())
        return cls(
            [Late(**one) for one in found["late"]],
            [Collection(**one) for one in found["collections"]],
            [Callback(**one) for one in found["callbacks"]],
            found["beats"],
            Collection(**found["whole"]) if found["whole"] else None,
        )

    def save(self, path: Path) -> None:
        """The inverse of `load`."""
        path.write_text(json.dumps(asdict(self)))


class Watch:
    """Watches the loop of the main thread, from `begin` to the end of the block."""

    def __init__(self, seen: Seen) -> None:
        self._seen = seen
        self._main = threading.main_thread()
        assert self._main.ident is not None
        self._clock = time.pthread_getcpuclockid(self._main.ident)
        self._schedstat = Path(f"/proc/self/task/{self._main.native_id}/schedstat")
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """From here on."""
        sys.setswitchinterval(_SWITCH_S)
        self._thread = threading.Thread(target=self._run, args=(loop,), daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        while not self._ended.wait(BEAT_EVERY_S):
            try:
                self._beat(loop)
            except RuntimeError:
                return  # the loop is closed
            self._seen.beats += 1

    def _beat(self, loop: asyncio.AbstractEventLoop) -> None:
        arrived, came = threading.Event(), list[tuple[float, float]]()

        def arrive() -> None:
            came.append((time.perf_counter(), time.thread_time()))
            arrived.set()

        due_s, cpu_s = time.perf_counter(), time.clock_gettime(self._clock)
        queued_s = self._queued_s()
        loop.call_soon_threadsafe(arrive)
        stacks: list[list[str]] = []
        wait_s = _LOOK_AFTER_S
        while not arrived.wait(wait_s) and not self._ended.is_set():
            stacks.append(self._stack())
            wait_s = _LOOK_EVERY_S
        if came and (wall_s := came[0][0] - due_s) > LATE_S:
            queued_s = self._queued_s() - queued_s
            self._seen.late.append(Late(due_s, wall_s, came[0][1] - cpu_s, queued_s, stacks))

    def _queued_s(self) -> float:
        return int(self._schedstat.read_text().split()[1]) / 1e9

    def _stack(self) -> list[str]:
        assert self._main.ident is not None
        frame = sys._current_frames().get(self._main.ident)
        lines: list[str] = []
        while frame is not None and len(lines) < _FRAMES_MAX:
            lines.append(f"{frame.f_code.co_filename}:{frame.f_lineno} {frame.f_code.co_qualname}")
            frame = frame.f_back
        return lines


class Collections:
    """Times the garbage collector in the main thread."""

    def __init__(self, seen: Seen) -> None:
        self._seen = seen
        self._began = (0.0, 0.0)

    def whole(self) -> None:
        """Collect all generations now: a pause that will come some day, whatever the load is."""
        gc.collect()
        self._seen.whole = self._seen.collections.pop()

    def __call__(self, phase: str, info: Mapping[str, int]) -> None:
        """See `gc.callbacks`."""
        if threading.current_thread() is not threading.main_thread():
            return
        now_s, cpu_s = time.perf_counter(), time.thread_time()
        if phase == "start":
            self._began = now_s, cpu_s
            return
        began_s, began_cpu_s = self._began
        self._seen.collections.append(
            Collection(
                began_s,
                now_s - began_s,
                cpu_s - began_cpu_s,
                info["generation"],
                info["collected"],
            )
        )


def time_callbacks(seen: Seen) -> None:
    """Time each callback of asyncio's own loop."""
    run = asyncio.Handle._run

    def timed(self: Any) -> None:  # noqa: ANN401 - asyncio has no type for what is inside
        name = _name_of(self._callback)
        began_s, cpu_s = time.perf_counter(), time.thread_time()
        run(self)
        cpu_s = time.thread_time() - cpu_s
        if cpu_s > _CALLBACK_MIN_S:
            wall_s = time.perf_counter() - began_s
            seen.callbacks.append(Callback(began_s, wall_s, cpu_s, name))

    asyncio.Handle._run = timed  # type: ignore[method-assign] # there is no other place for it


def _name_of(callback: Any) -> str:  # noqa: ANN401 - a task's step, or anything that can be called
    task = getattr(callback, "__self__", None)
    if not isinstance(task, asyncio.Task):
        # Not its repr: that of an aiohttp response, whose method it may be, changes the response.
        return str(getattr(callback, "__qualname__", type(callback).__qualname__))
    names: list[str] = []
    inner: Any = task.get_coro()
    while inner is not None and hasattr(inner, "cr_code"):
        names.append(inner.cr_code.co_qualname)
        inner = inner.cr_await
    return " > ".join([names[0], "…", *names[-2:]] if len(names) > 3 else names)


def main(arguments: Sequence[str]) -> int:
    """The command, watched; its exit status."""
    file, loop_name, *rest = arguments
    seen = Seen()
    if loop_name == "asyncio":
        sys.modules["uvloop"] = None  # type: ignore[assignment] # to uvicorn, it is not installed
        time_callbacks(seen)
    from uvicorn import Server  # noqa: PLC0415 - only now: it looks for uvloop

    from tusd_s3 import cli  # noqa: PLC0415 - as above

    collections = Collections(seen)
    gc.callbacks.append(collections)
    signal.signal(signal.SIGTERM, _leave)
    with Watch(seen) as watch:
        main_loop = Server.main_loop

        async def watched(self: Server) -> None:
            watch.begin(asyncio.get_running_loop())
            await main_loop(self)
            collections.whole()

        Server.main_loop = watched  # type: ignore[method-assign] # for this process only
        try:
            return cli.main(rest)
        finally:
            seen.save(Path(file))


def _leave(_number: int, _frame: FrameType | None) -> None:
    # uvicorn repeats the signal when it has ended in good order; there is a file to write then.
    raise SystemExit(0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
