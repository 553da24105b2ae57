"""Runs by command, `python -m tests.campaign` and others, clear up after themselves however they
end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.waiting import eventually

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("arguments", ["campaign --minutes 5", "fuzz --inputs 500", "costs"])
def test_a_run_that_is_ended_leaves_nothing_on_the_disk(arguments: str, tmp_path: Path) -> None:
    """Twice in a row, as `timeout` does it."""
    data = tmp_path / "data"
    data.mkdir()
    with (
        (tmp_path / "output").open("wb") as output,
        subprocess.Popen(
            [sys.executable, "-m", *f"tests.{arguments}".split()],
            cwd=ROOT,
            env=os.environ | {"TMPDIR": str(data)},
            stdout=output,
            stderr=subprocess.STDOUT,
        ) as run,
    ):
        eventually(lambda: any(data.glob("*/**/s3.json")), within_s=60, what="it has stores")
        run.send_signal(signal.SIGTERM)
        run.send_signal(signal.SIGTERM)
        run.wait(60)
    assert list(data.iterdir()) == []
