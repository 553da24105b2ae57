"""Where results go: JSON, table and chart in a directory; the README on demand."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path
from typing import Final

from benchmarks import chart, report
from benchmarks.samples import Results

RESULTS: Final = "results"
GROWTH: Final = "growth"

_HERE: Final = Path(__file__).resolve().parent
_README: Final = _HERE / "README.md"
_CHARTS: Final = _HERE / "charts"


def publish(results: Results, output: Path) -> None:
    """Print the table, and put JSON, table and chart into `output`."""
    output.mkdir(parents=True, exist_ok=True)
    name = GROWTH if any(row.point for row in results.rows) else RESULTS
    text = report.markdown(results)
    results.save(output / f"{name}.json")
    (output / f"{name}.md").write_text(text)
    sys.stdout.write(text)
    drawn = chart.draw(results, output / f"{name}.png")
    sys.stderr.write(f"written to {output}: {name}.json, {name}.md, {drawn}\n")


def save_partial(results: Results, output: Path) -> None:
    """Keep what there is of a run that did not come to its end."""
    if results.samples:
        output.mkdir(parents=True, exist_ok=True)
        results.save(output / "partial.json")
        sys.stderr.write(f"what was measured so far: {output / 'partial.json'}\n")


def update_readme(output: Path) -> int:
    """Put what is in `output` into the README, between its markers; the exit status."""
    text = _README.read_text()
    for name in (RESULTS, GROWTH):
        source = output / f"{name}.json"
        if not source.exists():
            sys.stderr.write(f"{name}.json is not in {output}: that section stays as it is\n")
            continue
        section = report.markdown(Results.load(source))
        if (output / f"{name}.png").exists():
            _CHARTS.mkdir(exist_ok=True)
            shutil.copy(output / f"{name}.png", _CHARTS / f"{name}.png")
            section = f"![{name}](charts/{name}.png)\n\n{section}"
        text = _replaced(text, name, section)
    _README.write_text(text)
    return 0


def _replaced(text: str, name: str, section: str) -> str:
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    pattern = f"{re.escape(begin)}.*?{re.escape(end)}"
    # A function, because a string would have its backslashes read.
    return re.sub(pattern, lambda _: f"{begin}\n\n{section}\n{end}", text, flags=re.DOTALL)
