"""A chart, where matplotlib is installed: it is wanted, not needed, for the tables say the same."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from benchmarks.samples import Results


def draw(results: Results, path: Path) -> str:
    """Draw what a run found; the file's name, or why there is none."""
    if find_spec("matplotlib") is None:
        return "no chart (matplotlib is not installed)"
    import_module("benchmarks.plots").paint(results, path)
    return path.name
