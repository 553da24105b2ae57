"""`tusd-s3`, with every call that its main thread makes counted; and how a test asks for the count.

    python -m tests.support.counted_server PORT serve …

Run in place of `python -m tusd_s3`. The event loop runs in the main thread, and with it all that a
request costs, but for the few lookups that the SDK hands to threads. Calls of Python functions and
of C functions count, and so does each step of a coroutine; what compiled modules (uvloop,
httptools) call among themselves does not. Nothing is counted while the server has nothing to do.
"""

from __future__ import annotations

import asyncio
import cProfile
import sys
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from multiprocessing.connection import Client, Listener
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Final

from uvicorn import Server

from tests.support.server import free_port
from tests.support.waiting import eventually
from tusd_s3.cli import main

_HOST: Final = "127.0.0.1"
_SETTLED_ASKS: Final = 5
"""So many answers in a row must agree; the server can go on while it is not being asked."""

_ROOT: Final = Path(__file__).parents[2]

_TOTAL: Final = "total"
_COUNTS: Final = "counts"

Calls = Counter[str]
"""How often each function was called."""


class CallCounts:
    """The counts of one server, which is started with `module` and idle when it is asked."""

    def __init__(self) -> None:
        self._port = free_port()

    @property
    def module(self) -> Sequence[str]:
        """What the interpreter is to run instead of `tusd_s3`."""
        return ("tests.support.counted_server", f"{self._port}")

    def now(self) -> Calls:
        """All calls so far, once no more are added: the answer to a request is out before the last
        line of what it costs has run."""
        with Client((_HOST, self._port)) as server:

            def ask(what: str) -> Any:  # noqa: ANN401 - what was asked for
                server.send(what)
                return server.recv()

            def settled() -> bool:
                return len({ask(_TOTAL) for _ in range(_SETTLED_ASKS)}) == 1

            eventually(settled, what="the server has nothing more to do")
            counts: Calls = ask(_COUNTS)
            return counts


# --- in the server's process ----------------------------------------------------------------------


def run(port: int, arguments: Sequence[str]) -> int:
    """The command, counted; its exit status."""
    profile = cProfile.Profile()
    threading.Thread(target=_answer, args=(port, profile), daemon=True).start()
    _wait_without_looking()
    profile.enable()
    return main(arguments)


def _wait_without_looking() -> None:
    """uvicorn looks ten times a second whether it is to end. That would make the count a matter of
    time, so here it waits until it is told."""
    wake: list[Callable[[], object]] = []
    handle_exit = Server.handle_exit

    def handle_and_wake(self: Server, sig: int, frame: FrameType | None) -> None:
        handle_exit(self, sig, frame)
        for one in wake:
            one()

    async def main_loop(self: Server) -> None:
        loop, told = asyncio.get_running_loop(), asyncio.Event()
        wake.append(lambda: loop.call_soon_threadsafe(told.set))
        await self.on_tick(0)
        await told.wait()

    Server.handle_exit = handle_and_wake  # type: ignore[method-assign] # for this process only
    Server.main_loop = main_loop  # type: ignore[method-assign] # as above


def _answer(port: int, profile: cProfile.Profile) -> None:
    with Listener((_HOST, port)) as listener:
        while True:
            with listener.accept() as client:
                try:
                    while asked := client.recv():
                        counts = _counts(profile)
                        client.send(counts if asked == _COUNTS else counts.total())
                except (EOFError, OSError):
                    continue  # it has heard enough


def _counts(profile: cProfile.Profile) -> Calls:
    counts: Calls = Counter()
    for entry in profile.getstats():
        counts[_name_of(entry.code)] += entry.callcount
    return counts


def _name_of(code: CodeType | str) -> str:
    if isinstance(code, str):
        return code  # a C function
    file = code.co_filename.rpartition("site-packages/")[2].removeprefix(f"{_ROOT}/")
    return f"{file}:{code.co_firstlineno} {code.co_qualname}"


if __name__ == "__main__":
    sys.exit(run(int(sys.argv[1]), sys.argv[2:]))
