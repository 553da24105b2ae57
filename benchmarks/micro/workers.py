"""What a second worker brings: the same load on one process and on two, in turns.

    python -m benchmarks.micro.workers [--workers 2] [--rounds 3] [--connections 8] [--only head]

Redis is real; S3 takes everything and keeps nothing, so that no store is what is measured. Load and
stores take their share of the processors: on few of them, two workers cannot be twice as fast. CPU
for each operation tells whether workers stand in each other's way; it should stay as it was.

Each connection belongs to the worker that accepted it, until it ends. How many each had, and of the
CPU time which share, tells whether the kernel gave both of them work.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from benchmarks import measure
from benchmarks.micro.null_s3 import null_s3
from benchmarks.micro.stage import FailedError, load, served, stage
from benchmarks.micro.stalls import say
from benchmarks.processes import ServerUnderTest
from benchmarks.servers import OURS
from tusd_s3.devstack.errors import DevStackError
from tusd_s3.limits import KIB, MIB

_LARGE_BYTES: Final = 64 * MIB
_LOOK_EVERY_S: Final = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of load. each: how many operations one request is worth, as the script counts."""

    script: str
    operation: str
    numbers: Mapping[str, int]
    each: float = 1.0


def _kinds(connections: int) -> dict[str, Kind]:
    def share(count: int) -> int:
        """So many altogether, but as many on each connection."""
        return max(1, count // connections) * connections

    many = {"connections": connections}
    return {
        "head": Kind(
            script="heads",
            operation="HEAD",
            numbers=many | {"count": share(2000), "size": 64 * KIB},
        ),
        "small": Kind(
            script="small",
            operation="upload of 16 KiB",
            numbers=many | {"count": share(400), "size": 16 * KIB, "with_upload": 0},
        ),
        "large": Kind(
            script="bodies",
            operation="MiB",
            numbers={"count": connections, "size": _LARGE_BYTES},
            each=_LARGE_BYTES / MIB / 2,  # a POST and a PATCH
        ),
    }


@dataclass(frozen=True, slots=True)
class Round:
    """What one load was. shares: of each worker, how many connections and how much CPU."""

    rate: float
    cpu_s: float
    shares: Sequence[tuple[int, float]]


def main() -> int:
    """The command."""
    options = _options()
    kinds = _kinds(options.connections)
    try:
        with ExitStack() as stack:
            stores, place = stack.enter_context(stage(0, options.scratch))
            endpoint = stack.enter_context(null_s3())
            servers = {
                count: stack.enter_context(
                    served(OURS, stores, place, workers=count, s3_endpoint=endpoint)
                )
                for count in (1, options.workers)
            }
            for name in options.only or kinds:
                say(_compared(kinds[name], servers, options.rounds))
    except (FailedError, DevStackError) as error:
        sys.stderr.write(f"workers: {error}\n")
        return 1
    return 0


def _compared(kind: Kind, servers: Mapping[int, ServerUnderTest], rounds: int) -> list[str]:
    found: dict[int, list[Round]] = {count: [] for count in servers}
    for number in range(rounds):
        # Another one goes first each time.
        for count in sorted(servers, reverse=bool(number % 2)):
            found[count].append(_round(kind, servers[count]))
    lines, medians = [], []
    for count, those in found.items():
        rate = statistics.median(one.rate for one in those)
        cpu_s = statistics.median(one.cpu_s for one in those)
        medians.append((rate, cpu_s))
        lines.append(
            f"{kind.operation:18} {count} worker(s): {rate:9.1f} per second,"
            f" {1000 * cpu_s:7.3f} ms CPU each"
        )
        if count > 1:
            lines.append(f"{'':18} connections (and CPU) of each worker: {_spread(those)}")
    (rate, cpu_s), (more_rate, more_cpu_s) = medians
    lines.append(f"{'':18} ratio: {more_rate / rate:.2f} throughput, {more_cpu_s / cpu_s:.2f} CPU")
    return lines


def _spread(rounds: Sequence[Round]) -> str:
    told = []
    for one in rounds:
        busy_s = sum(cpu_s for _, cpu_s in one.shares) or 1.0
        told.append(" + ".join(f"{count} ({cpu_s / busy_s:.0%})" for count, cpu_s in one.shares))
    return "; ".join(told)


def _round(kind: Kind, server: ServerUnderTest) -> Round:
    workers = _workers(server)
    with load(OURS, server.port, kind.script, kind.numbers) as ready:
        before = [measure.cpu_time(pid).total_s for pid in workers]
        with _most_connections(workers, server.port) as connections:
            outcome = ready.run()
        after = [measure.cpu_time(pid).total_s for pid in workers]
    used_s = [there - here for here, there in zip(before, after, strict=True)]
    operations = outcome.requests * kind.each
    return Round(
        operations / outcome.wall_s,
        sum(used_s) / operations,
        list(zip(connections, used_s, strict=True)),
    )


def _workers(server: ServerUnderTest) -> list[int]:
    """Those that serve: with one worker the process itself, else its children, but for the one that
    Python has beside them."""
    children = psutil.Process(server.pid).children()
    serving = [one.pid for one in children if "spawn_main" in " ".join(one.cmdline())]
    return sorted(serving) or [server.pid]


@contextmanager
def _most_connections(workers: Sequence[int], port: int) -> Iterator[list[int]]:
    """How many connections each worker had when there were most; filled in as the block runs."""
    most, ended = [0] * len(workers), threading.Event()

    def look() -> None:
        while not ended.wait(_LOOK_EVERY_S):
            now = [_connections(pid, port) for pid in workers]
            if sum(now) > sum(most):
                most[:] = now

    looker = threading.Thread(target=look, daemon=True)
    looker.start()
    try:
        yield most
    finally:
        ended.set()
        looker.join()


def _connections(pid: int, port: int) -> int:
    return sum(
        1
        for one in psutil.Process(pid).net_connections("tcp4")
        if one.status == psutil.CONN_ESTABLISHED and one.laddr.port == port
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workers", type=int, default=2, help="beside one")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--only", choices=sorted(_kinds(1)), action="append")
    parser.add_argument("--scratch", type=Path, help="for Redis' files")
    options = parser.parse_args()
    if options.workers < 2:
        parser.error("--workers must be 2 or more")
    return options


if __name__ == "__main__":
    sys.exit(main())
