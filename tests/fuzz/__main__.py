"""`python -m tests.fuzz --inputs 100000 --seed 7`: a long run."""

from __future__ import annotations

import argparse
import random
import signal
import sys

from tests.fuzz.runner import run, say


def main() -> int:
    """The command; 1 when something was found."""
    # Whoever ends us by SIGTERM wants nothing left running, as with Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=100_000, help="how many, altogether")
    parser.add_argument("--seed", type=int, help="of the first round of inputs; else random")
    options = parser.parse_args()
    seed = random.randrange(2**31) if options.seed is None else options.seed
    report = run(inputs=options.inputs, seed=seed)
    say(report.summary())
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(main())
