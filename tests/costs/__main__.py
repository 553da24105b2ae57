"""What requests cost now, beside the baselines of `tests/costs/baselines.toml`.

python -m tests.costs                       all workloads
python -m tests.costs --record              write what was found into the baselines
python -m tests.costs head --functions 40   which functions one HEAD calls most
python -m tests.costs --rounds 10           how far the rounds of a workload differ
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from tests.costs.baselines import PYTHON, Baseline, load, most_called, save
from tests.costs.meter import ROUNDS, Cost, Meter
from tests.costs.workloads import WORKLOADS
from tests.support.disk import GIB, lack_of_room
from tests.support.interrupts import interrupt_once
from tests.support.server import StoreSettings
from tests.support.stores import corner_of
from tusd_s3.devstack.stores import LocalStores

NEEDS_BYTES = 2 * GIB
"""On the disk: every round leaves its objects."""


def main() -> int:
    """The command."""
    interrupt_once()
    options = _options()
    if lack := lack_of_room(Path(tempfile.gettempdir()), NEEDS_BYTES):
        sys.exit(lack)
    known, found = load(), dict[str, Baseline]()
    with tempfile.TemporaryDirectory() as folder, LocalStores(Path(folder) / "stores") as local:
        stores = StoreSettings(**asdict(local))
        with corner_of(stores) as corner, Meter.over(corner, Path(folder)) as meter:
            for name in options.workloads or WORKLOADS:
                rounds = meter.rounds_of(WORKLOADS[name], options.rounds)
                found[name] = _shown(name, rounds, known.get(name), options.functions)
    if options.record:
        save(found)
    return 0


def _shown(name: str, rounds: Sequence[Cost], known: Baseline | None, functions: int) -> Baseline:
    operations, cost = WORKLOADS[name].operations, Cost.least(rounds)
    found = Baseline.of(cost, operations)
    totals = [one.calls.total() for one in rounds]
    before = known.calls.get(PYTHON) if known else None
    apart = max(totals) / min(totals) - 1
    _say(
        f"{name:14}{found.calls[PYTHON]:8} calls of functions for one of {operations}"
        f" (baseline {before or 'none'}; rounds are {apart:.1%} apart)"
    )
    for complaint in known.complaints_of_stores(found) if known else ():
        _say(f"{'':14}{complaint}")
    for line in most_called(cost.calls, operations, functions):
        _say(line)
    return found


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.costs",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("workloads", nargs="*", metavar="workload", help=", ".join(WORKLOADS))
    parser.add_argument("--record", action="store_true", help="write the baselines")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="of each workload")
    parser.add_argument("--functions", type=int, default=0, help="show so many")
    options = parser.parse_args()
    for name in options.workloads:
        if name not in WORKLOADS:
            parser.error(f"no workload {name!r}; there are {', '.join(WORKLOADS)}")
    return options


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
