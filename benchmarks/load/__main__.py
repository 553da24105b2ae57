"""The load process: a job on standard input, then `go`; `ready` and an outcome on standard output.

It holds its connections until standard input ends, and ends with it whatever it is doing: it cannot
outlive the process that started it.
"""

from __future__ import annotations

import os
import sys
import threading
import time

from benchmarks.load import payload
from benchmarks.load.client import Client
from benchmarks.load.job import Job, Outcome
from benchmarks.load.scripts import SCRIPTS, Script
from benchmarks.load.wire import LoadError

_WARM_UP_INDEX = 1_000_003
_WARM_UP_BYTES = 16 * 1024
_LAST_WORDS_S = 1.0
"""What the main thread has to end in good order once it was told to."""


def main() -> int:
    """Run one job."""
    job = Job.of_line(sys.stdin.readline())
    payload.piece(0, 0, 1)  # made now, not in the measured time
    script = SCRIPTS[job.script](job)
    try:
        _warm_up(job)
        script.prepare()
    except (LoadError, OSError) as error:
        _tell(Outcome(error=f"preparing: {error}").to_line())
        return 0
    _tell("ready")
    if not sys.stdin.readline():
        return 1
    told_to_end = threading.Event()
    threading.Thread(target=_end_with_input, args=(told_to_end,), daemon=True).start()
    _tell(_measured(script).to_line())
    told_to_end.wait(job.deadline_s)
    return 0


def _warm_up(job: Job) -> None:
    """One small upload and a HEAD: what a server does once only is not what is measured."""
    client = Client(job)
    with client.wire:
        done = client.upload(_WARM_UP_INDEX, _WARM_UP_BYTES)
        client.head(done.path)


def _measured(script: Script) -> Outcome:
    began_at, began_cpu_s = time.perf_counter(), time.process_time()
    try:
        outcome = script.run()
    except (LoadError, OSError) as error:
        outcome = Outcome(error=str(error))
    outcome.wall_s = time.perf_counter() - began_at
    outcome.load_cpu_s = time.process_time() - began_cpu_s
    return outcome


def _end_with_input(told_to_end: threading.Event) -> None:
    while os.read(0, 4096):
        pass
    told_to_end.set()
    # If the main thread waits for this, the process is gone before the pause is over.
    time.sleep(_LAST_WORDS_S)
    os._exit(1)  # it was in the middle of something


def _tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
