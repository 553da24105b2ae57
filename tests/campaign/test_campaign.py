"""A short campaign; `python -m tests.campaign` runs long ones."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.campaign.mischief import FAULTS
from tests.campaign.report import Report, say
from tests.campaign.runner import Plan, run

MINUTES = float(os.environ.get("CAMPAIGN_MINUTES", "1.2"))
EXPIRY_MINUTES = float(os.environ.get("CAMPAIGN_EXPIRY_MINUTES", "0.7"))
SEED = int(os.environ.get("CAMPAIGN_SEED", "1"))


@pytest.mark.long
@pytest.mark.timeout(MINUTES * 60 + 240)
def test_whatever_happens_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    # Completions that got stuck are the servers' to drive on, unasked.
    report = campaign(tmp_path, MINUTES, options={"cleanup-interval": "2s"}, sweep_within_s=40.0)
    assert report.counted("objects compared")


@pytest.mark.timeout(EXPIRY_MINUTES * 60 + 240)
def test_whatever_happens_uploads_end_when_they_should_and_leave_nothing(tmp_path: Path) -> None:
    options = {"upload-lifetime": "6s", "cleanup-interval": "1s", "tail-idle": "1s"}
    report = campaign(tmp_path, EXPIRY_MINUTES, options=options, strays_within_s=30.0)
    assert report.counted("uploads that expired")


def campaign(
    folder: Path,
    minutes: float,
    *,
    options: dict[str, str],
    sweep_within_s: float | None = None,
    strays_within_s: float | None = None,
) -> Report:
    plan = Plan(
        minutes=minutes,
        seed=SEED,
        faults=frozenset(FAULTS),
        report_folder=folder / "failures",
        options=options,
        sweep_within_s=sweep_within_s,
        strays_within_s=strays_within_s,
    )
    report = run(plan)
    say(report.summary())
    assert not report.breakdowns, "\n\n".join(report.breakdowns)
    assert not report.failures, "\n\n".join(one.journal.read_text() for one in report.failures)
    assert report.counted("examples")
    return report
