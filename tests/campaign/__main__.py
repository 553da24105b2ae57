"""`python -m tests.campaign`: a long run, or the steps of a failure once more."""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
from pathlib import Path

from tests.campaign.mischief import FAULTS
from tests.campaign.report import say
from tests.campaign.runner import Plan, replay, run
from tests.support.disk import GIB, lack_of_room
from tests.support.interrupts import interrupt_once

NEEDS_BYTES = 3 * GIB
"""On the disk; an hour took 1.7 GiB at the most, for SeaweedFS gives back what examples left."""


def main() -> int:
    """The command; 1 when a promise was broken, 2 when the campaign itself broke down."""
    interrupt_once()
    options = _arguments()
    if lack := lack_of_room(Path(tempfile.gettempdir()), NEEDS_BYTES):
        sys.exit(lack)
    faults = frozenset(options.faults.split(",")) - {""}
    if unknown := faults - set(FAULTS):
        sys.exit(
            f"--faults: there is no {', '.join(sorted(unknown))}; there are {', '.join(FAULTS)}"
        )
    plan = Plan(
        minutes=options.minutes,
        seed=random.randrange(2**31) if options.seed is None else options.seed,
        faults=faults,
        report_folder=options.report,
        keep_going=options.keep_going,
        steps=options.steps,
        sweep_within_s=options.sweep_within,
        strays_within_s=options.strays_within,
        different_bytes=not options.same_bytes,
        options=dict(pair.split("=", 1) for pair in options.server),
    )
    if options.replay is None:
        report = run(plan)
    else:
        report = replay(plan, json.loads(options.replay.read_text()), options.times)
    say(report.summary())
    return report.exit_status


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.campaign", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long")
    parser.add_argument("--seed", type=int, help="of the first batch of examples; else random")
    parser.add_argument("--steps", type=int, default=25, help="of each example")
    parser.add_argument(
        "--faults", default=",".join(FAULTS), help="which, separated by commas; all unless told"
    )
    parser.add_argument("--keep-going", action="store_true", help="do not end with a failure")
    parser.add_argument(
        "--report",
        type=Path,
        default=Path(tempfile.gettempdir(), "tusd-s3-campaign-failures"),
        help="where replays and journals of failures are written to",
    )
    parser.add_argument("--replay", type=Path, help="take the steps in this file instead")
    parser.add_argument("--times", type=int, default=10, help="how often to replay")
    parser.add_argument(
        "--server",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="an option for the servers, such as sweep-interval=2s",
    )
    parser.add_argument(
        "--sweep-within",
        type=float,
        metavar="SECONDS",
        help="the servers' janitor completes stuck uploads within this time: wait for it",
    )
    parser.add_argument(
        "--strays-within",
        type=float,
        metavar="SECONDS",
        help="it removes what crashes left in S3 within this time, once a lifetime has passed"
        " (needs a short upload-lifetime)",
    )
    parser.add_argument(
        "--same-bytes", action="store_true", help="racing writers send the same bytes"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
