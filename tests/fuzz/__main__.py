"""`python -m tests.fuzz --inputs 100000 --seed 7`: a long run."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path

from tests.fuzz.runner import run, say
from tests.support.disk import GIB, lack_of_room
from tests.support.interrupts import interrupt_once

NEEDS_BYTES = GIB
"""On the disk."""


def main() -> int:
    """The command; 1 when something was found."""
    interrupt_once()
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=100_000, help="how many, altogether")
    parser.add_argument("--seed", type=int, help="of the first round of inputs; else random")
    options = parser.parse_args()
    if lack := lack_of_room(Path(tempfile.gettempdir()), NEEDS_BYTES):
        sys.exit(lack)
    seed = random.randrange(2**31) if options.seed is None else options.seed
    report = run(inputs=options.inputs, seed=seed)
    say(report.summary())
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(main())
