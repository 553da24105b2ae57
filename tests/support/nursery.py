"""A program that forks servers on demand, one for each line of its input.

Most of a server's start is the loading of modules and of what the SDK knows of S3. Here both are
loaded once; every fork is then a process of its own, in a process group of its own, that does all
the rest of a start: it reads its flags and its environment, listens, and connects to the stores.

A line of input is a JSON object: `order`, a number; `arguments` of the command; its whole
`environment`; and `log`, the file for its output. The answers are lines as well: `order` and `pid`
when it is forked, `order` and `status` when it has ended. The end of the input ends every fork.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import os
import select
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, NoReturn

from tusd_s3 import cli
from tusd_s3.stores.s3 import S3Options, open_s3

_LOADED = ("tusd_s3.app", "uvicorn.lifespan.on", "uvicorn.loops.auto", "uvloop")
"""What a server loads on its way."""

_READ_BYTES = 64 * 1024


class Nursery:
    """The forks that live."""

    def __init__(self) -> None:
        self._orders: dict[int, int] = {}
        self._woken, self._wake = os.pipe()
        for end in (self._woken, self._wake):
            os.set_blocking(end, False)

    def run(self) -> None:
        """Take orders, and tell of ends, until the input ends."""
        signal.set_wakeup_fd(self._wake)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        received = b""
        while True:
            ready, _, _ = select.select([0, self._woken], [], [])
            if self._woken in ready:
                os.read(self._woken, _READ_BYTES)
                self._bury()
            if 0 in ready:
                data = os.read(0, _READ_BYTES)
                if not data:
                    break
                *lines, received = (received + data).split(b"\n")
                for line in lines:
                    self._fork(json.loads(line))
        for pid in self._orders:
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)

    def _fork(self, order: dict[str, Any]) -> None:
        if (pid := os.fork()) == 0:
            signal.set_wakeup_fd(-1)
            os.close(self._wake)
            os.close(self._woken)
            _serve(order["arguments"], order["environment"], order["log"])
        # By whoever comes first, so that it is there for who hears of the fork.
        with suppress(OSError):
            os.setpgid(pid, pid)
        self._orders[pid] = order["order"]
        _answer(order=order["order"], pid=pid)

    def _bury(self) -> None:
        for pid, status in _ended():
            _answer(order=self._orders.pop(pid), status=status)


def _ended() -> Iterator[tuple[int, int]]:
    with suppress(ChildProcessError):  # there is none left
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            yield found[0], os.waitstatus_to_exitcode(found[1])


def _answer(**fields: int) -> None:
    sys.stdout.write(f"{json.dumps(fields)}\n")
    sys.stdout.flush()


def _serve(arguments: list[str], environment: dict[str, str], log: str) -> NoReturn:
    status = 1
    try:
        os.setpgid(0, 0)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.environ.clear()
        os.environ.update(environment)
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for inherited in (1, 2):
            os.dup2(output, inherited)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        status = cli.main(arguments)
    except BaseException:  # as the interpreter would
        sys.excepthook(*sys.exc_info())
    finally:
        with suppress(OSError):
            sys.stdout.flush()
        os._exit(status)


async def _load() -> None:
    for name in _LOADED:
        importlib.import_module(name)
    # What the SDK reads of S3's description is kept by the first client for all that come.
    async with open_s3(S3Options(bucket="none", region="us-east-1")):
        pass


if __name__ == "__main__":
    asyncio.run(_load())
    assert threading.active_count() == 1, "a fork has only the thread that forks"
    gc.freeze()  # what is loaded is shared by all, and stays so
    Nursery().run()
