"""A short campaign; `python -m tests.campaign` runs long ones."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.campaign.mischief import FAULTS
from tests.campaign.report import say
from tests.campaign.runner import Plan, run

MINUTES = float(os.environ.get("CAMPAIGN_MINUTES", "1.5"))
SEED = int(os.environ.get("CAMPAIGN_SEED", "1"))


@pytest.mark.timeout(MINUTES * 60 + 240)
def test_whatever_happens_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    plan = Plan(
        minutes=MINUTES,
        seed=SEED,
        faults=frozenset(FAULTS),
        report_folder=tmp_path / "failures",
        # Completions that got stuck are the servers' to drive on, unasked.
        options={"cleanup-interval": "2s"},
        sweep_within_s=40.0,
    )
    report = run(plan)
    say(report.summary())
    assert not report.failures, "\n\n".join(one.journal.read_text() for one in report.failures)
    assert report.counted("examples")
    assert report.counted("objects compared")
