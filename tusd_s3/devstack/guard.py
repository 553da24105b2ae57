"""A process between us and a server, so that the server never outlives us.

    python guard.py GRACE_S -- COMMAND...

It holds the read end of a pipe whose write end only we hold: when we die, however, the pipe ends,
and the guard terminates the server (SIGTERM, and SIGKILL after GRACE_S seconds). It is run by its
path and imports the standard library only, so it starts quickly and whatever the import path is.

On standard output it tells the server's process id. The server writes to standard error.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from types import FrameType


def main(arguments: list[str]) -> int:
    """Run a server until it exits or we die; the server's exit status."""
    grace_s, command = float(arguments[0]), arguments[2:]
    signal.signal(signal.SIGTERM, _exit_on_signal)
    log = sys.stderr.buffer
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)  # noqa: S603 - the command is ours
    try:
        with contextlib.suppress(BrokenPipeError):
            print(server.pid, flush=True)  # noqa: T201 - this is how the guard reports
        threading.Thread(target=_end_with_pipe, args=(server, grace_s), daemon=True).start()
        return server.wait()
    finally:
        _terminate(server, grace_s)


def _end_with_pipe(server: subprocess.Popen[bytes], grace_s: float) -> None:
    # Not through sys.stdin: the interpreter could not end while a thread holds its lock.
    while os.read(0, 4096):
        pass
    _terminate(server, grace_s)


def _terminate(server: subprocess.Popen[bytes], grace_s: float) -> None:
    server.terminate()
    server.send_signal(signal.SIGCONT)  # a paused server hears nothing else
    try:
        server.wait(grace_s)
    except subprocess.TimeoutExpired:
        server.kill()


def _exit_on_signal(number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
