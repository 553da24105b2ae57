"""`python -m benchmarks`: measure, and show what was found."""

from __future__ import annotations

import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import NoReturn

from benchmarks import machine, publish
from benchmarks.growth import growth_workloads
from benchmarks.options import Options, parse
from benchmarks.processes import allow_many_files
from benchmarks.runner import Plan, Runner
from benchmarks.samples import Column, Results, Row
from benchmarks.servers import NULL, OURS, SERVERS, NotHereError, ServerKind
from benchmarks.servers.installing import home_of, install, is_installed
from benchmarks.workloads import Scale, Workload, workloads
from tusd_s3.devstack.errors import DevStackError
from tusd_s3.limits import GIB

_OURS = frozenset({OURS.name, NULL.name})
_SPARE_BYTES = 2 * GIB
_SETTLE_S = {Scale.FULL: 0.5, Scale.QUICK: 0.5, Scale.SMOKE: 0.1}
"""From the last answer to the reading of the counters: what a server puts off is its cost too."""
_COPIES = 3
"""In how many places a body may be at once: the store, a server's temporary files, Redis' log."""


def main(arguments: Sequence[str]) -> int:
    """The exit status: 0; 1 when this server or the floor failed; 2 when nothing could run."""
    options = parse(arguments)
    if options.readme:
        return publish.update_readme(options.output)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    allow_many_files()
    try:
        return _measure(options)
    except (DevStackError, OSError) as error:
        sys.stderr.write(f"benchmarks: {error}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("benchmarks: interrupted\n")
        return 130


def _measure(options: Options) -> int:
    chosen = growth_workloads(options.scale) if options.growth else workloads(options.scale)
    chosen = [one for one in chosen if not options.only or one.name in options.only]
    columns, kinds = _servers(options)
    results = Results(
        command=options.command,
        began=datetime.now(UTC).strftime("%Y-%m-%d"),
        machine=machine.describe(options.part_bytes),
        repetitions=options.repetitions,
        rows=[
            Row(one.name, one.text, one.unit, one.workers, dict(one.figures), one.point)
            for one in chosen
        ],
        columns=columns,
    )
    with _scratch(options.scratch, chosen) as scratch:
        shared = options.scale is Scale.SMOKE  # starting them is most of a tiny run
        plan = Plan(
            groups=[chosen] if shared else [[one] for one in chosen],
            settle_s=_SETTLE_S[options.scale],
            servers=kinds,
            repetitions=options.repetitions,
            part_bytes=options.part_bytes,
            memory_limit_bytes=options.memory_limit_bytes,
            peers_dir=options.peers_dir,
            scratch=scratch,
            logs_dir=options.output / "logs",
        )
        try:
            Runner(plan, results.samples.append).run()
        except BaseException:  # an hour's samples are worth keeping, whatever ended the run
            publish.save_partial(results, options.output)
            raise
    publish.publish(results, options.output)
    return 1 if any(one.failed for one in results.samples if one.server in _OURS) else 0


def _servers(options: Options) -> tuple[list[Column], list[ServerKind]]:
    """The columns of the table, and those of the servers that are here."""
    columns, here = [], []
    for name in options.servers:
        kind, absent, version = SERVERS[name], None, "—"
        try:
            if options.install:
                install(kind, options.peers_dir)
            elif not is_installed(kind, options.peers_dir):
                raise NotHereError("not installed")
            version = kind.version(home_of(kind, options.peers_dir))
            here.append(kind)
        except NotHereError as error:
            absent = str(error)
            sys.stderr.write(f"{kind.title}: {absent}\n")
        columns.append(Column(name, kind.title, version, kind.note, kind.workers, absent))
    return columns, here


@contextmanager
def _scratch(parent: Path | None, chosen: Sequence[Workload]) -> Iterator[Path]:
    """A directory for all data, removed at the end. Raises: OSError, there is not enough room."""
    place = Path(tempfile.mkdtemp(prefix="tusd-s3-bench-", dir=parent))
    try:
        needed = _SPARE_BYTES + _COPIES * max((one.stored_bytes for one in chosen), default=0)
        free = shutil.disk_usage(place).free
        if free < needed:
            raise OSError(
                f"{needed / GIB:.0f} GiB of disk are needed and {free / GIB:.0f} GiB are free "
                "(--scratch names another place)"
            )
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    # Everything is ended on the way out of the blocks it was started in, which takes seconds; a
    # second Ctrl-C must not cut that short.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
