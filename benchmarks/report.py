"""The tables: a row for each workload, a column for each server, in Markdown that lines up."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from benchmarks.samples import Column, Results, Row, Sample, Spread, cpu_per_unit, cpu_ratio
from benchmarks.servers import OURS
from benchmarks.workloads import Unit
from tusd_s3.limits import MIB

NOT_APPLICABLE: Final = "—"


def markdown(results: Results) -> str:
    """Everything that a run found."""
    failures = _Failures()
    sections = [
        _cpu(results, failures),
        _wall(results, failures),
        _memory(results, failures),
        _calls(results, failures),
        _figures(results, failures),
    ]
    tables = [section for section in sections if section]
    parts = [_heading(results), *tables, failures.text(), _absent(results), _servers(results)]
    return "\n\n".join(part for part in parts if part) + "\n"


# --- the tables -----------------------------------------------------------------------------------


def _cpu(results: Results, failures: _Failures) -> str:
    base = next((one for one in results.columns if one.name == OURS.name), None)

    def cell(row: Row, column: Column, samples: list[Sample]) -> str:
        factor = 1 if row.unit is Unit.GIB else 1000
        text = _spread(samples, lambda one: factor * cpu_per_unit(one, row.unit))
        if base is None or column is base:
            return text
        ratio = cpu_ratio(results, row, column, base)
        return text if ratio is None else f"{text} · {_number(ratio)}x"

    def label(row: Row) -> str:
        unit = "s/GiB" if row.unit is Unit.GIB else f"ms/{row.unit}"
        return f"{row.title}: {unit}"

    title = "**Server CPU** (user + system; x is the ratio to tusd-s3 in the same repetition)"
    return _section(title, results, failures, label, cell)


def _wall(results: Results, failures: _Failures) -> str:
    def cell(row: Row, _: Column, samples: list[Sample]) -> str:
        return _spread(samples, lambda one: _rate(row, one))

    def label(row: Row) -> str:
        return f"{row.title}: {'MiB' if row.unit is Unit.GIB else row.unit}/s"

    return _section("**Rate** (by wall time)", results, failures, label, cell)


def _memory(results: Results, failures: _Failures) -> str:
    def cell(_row: Row, _: Column, samples: list[Sample]) -> str:
        return _spread(samples, lambda one: one.peak_bytes / MIB)

    return _section("**Peak memory**, MiB", results, failures, lambda row: row.title, cell)


def _calls(results: Results, failures: _Failures) -> str:
    def cell(_row: Row, _: Column, samples: list[Sample]) -> str:
        good = [one for one in samples if one.failed is None]
        kinds = sorted({kind for one in good for kind in one.s3_calls})
        medians = {kind: _median_call(good, kind) for kind in kinds}
        shown = " ".join(f"{count:,} {kind}" for kind, count in medians.items())
        return f"{sum(medians.values()):,}" + (f" ({shown})" if shown else "")

    return _section("**S3 calls**", results, failures, lambda row: row.title, cell)


def _figures(results: Results, failures: _Failures) -> str:
    rows = [
        (f"{row.title}: {title}, {_unit_of(figure)}", row, figure)
        for row in results.rows
        for figure, title in row.figures.items()
        if row.point is None
    ]
    if not rows:
        return ""
    table = [["", *_titles(results)]]
    for label, row, figure in rows:
        cells = [
            _cell(results, row, column, failures, _figure_cell(figure))
            for column in _present(results)
        ]
        table.append([label, *cells])
    return "**Waits** and what they cost the client\n\n" + _table(table)


def _figure_cell(figure: str) -> Callable[[Row, Column, list[Sample]], str]:
    scale = 1 / MIB if figure.endswith("_bytes") else 1000

    def cell(_row: Row, _column: Column, samples: list[Sample]) -> str:
        return _spread(samples, lambda one: scale * one.figures[figure])

    return cell


def _section(
    title: str,
    results: Results,
    failures: _Failures,
    label: Callable[[Row], str],
    cell: Callable[[Row, Column, list[Sample]], str],
) -> str:
    table = [["", *_titles(results)]]
    for row in results.rows:
        cells = [_cell(results, row, column, failures, cell) for column in _present(results)]
        table.append([label(row), *cells])
    return f"{title}\n\n{_table(table)}"


def _cell(
    results: Results,
    row: Row,
    column: Column,
    failures: _Failures,
    cell: Callable[[Row, Column, list[Sample]], str],
) -> str:
    samples = results.of(row, column)
    if not samples:
        return NOT_APPLICABLE
    if failed := next((one.failed for one in samples if one.failed is not None), None):
        return failures.mark(failed)
    return cell(row, column, samples)


# --- around them ----------------------------------------------------------------------------------


@dataclass(slots=True)
class _Failures:
    """Reasons, numbered as they come."""

    _reasons: list[str] = field(default_factory=list)

    def mark(self, reason: str) -> str:
        if reason not in self._reasons:
            self._reasons.append(reason)
        return f"failed [{self._reasons.index(reason) + 1}]"

    def text(self) -> str:
        lines = [f"- [{number}] {reason}" for number, reason in enumerate(self._reasons, 1)]
        return "\n".join(["Failed:", "", *lines]) if lines else ""


def _heading(results: Results) -> str:
    machine = ", ".join(f"{name} {value}" for name, value in results.machine.items())
    times = "once" if results.repetitions == 1 else f"{results.repetitions} times, in turn"
    return (
        f"`{results.command}` on {results.began}; everything {times}: the median, and ± half "
        f"of the range.\n\n{machine}."
    )


def _absent(results: Results) -> str:
    absent = [one for one in results.columns if one.absent is not None]
    lines = [f"- {one.title}: {one.absent}" for one in absent]
    return "\n".join(["Not measured:", "", *lines]) if lines else ""


def _servers(results: Results) -> str:
    lines = [f"- **{one.title}** {one.version}. {one.note}" for one in _present(results)]
    return "\n".join(lines)


def _present(results: Results) -> list[Column]:
    return [one for one in results.columns if one.absent is None]


def _titles(results: Results) -> list[str]:
    return [one.title for one in _present(results)]


# --- cells ----------------------------------------------------------------------------------------


def _spread(samples: Iterable[Sample], value: Callable[[Sample], float]) -> str:
    found = Spread.of(samples, value)
    assert found is not None, "cells of failed samples are made elsewhere"
    text = _number(found.median)
    if found.least == found.most or not found.median:
        return text
    return f"{text} ±{(found.most - found.least) / found.median / 2:.0%}"


def _rate(row: Row, sample: Sample) -> float:
    count = sample.body_bytes / MIB if row.unit is Unit.GIB else sample.requests
    return count / sample.wall_s


def _median_call(samples: Sequence[Sample], kind: str) -> int:
    ordered = sorted(one.s3_calls.get(kind, 0) for one in samples)
    return ordered[len(ordered) // 2]


def _unit_of(figure: str) -> str:
    return "MiB" if figure.endswith("_bytes") else "ms"


def _number(value: float) -> str:
    """Three digits that count."""
    if value == 0:
        return "0"
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 0.1 else f"{value:.3f}"


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    first, *others = (
        "| "
        + " | ".join(
            cell.ljust(width) if place == 0 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        + " |"
        for row in rows
    )
    rule = "|" + "|".join(
        "-" * (width + 2) if place == 0 else "-" * (width + 1) + ":"
        for place, width in enumerate(widths)
    )
    return "\n".join([first, f"{rule}|", *others])
