"""The charts: every workload beside this server's cost, and how cost grows over decades.

Needs matplotlib: see `chart`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from benchmarks.growth import BODY
from benchmarks.samples import Column, Results, Row, Sample, Spread, cpu_ratio
from benchmarks.servers import NULL, OURS
from benchmarks.workloads import size_text
from tusd_s3.limits import MIB

_OUR_COLOUR: Final = "#d55e00"
_FLOOR_COLOUR: Final = "#8a8a8a"
_COLOURS: Final = ("#0072b2", "#009e73", "#cc79a7", "#e6a100", "#56b4e9")
_MARKERS: Final = ("s", "^", "D", "v", "P")
_GRID: Final[dict[str, Any]] = {"color": "#dddddd", "linewidth": 0.6}
_DOTS_PER_INCH: Final = 110
_FEW_DECADES: Final = 300.0


def paint(results: Results, path: Path) -> None:
    """Draw what a run found, as a PNG."""
    is_growth = any(row.point for row in results.rows)
    figure = Figure(figsize=(14, 8.5) if is_growth else (14, 1.9 + 0.55 * len(results.rows)))
    FigureCanvasAgg(figure)
    if is_growth:
        _draw_growth(figure, results)
    else:
        _draw_workloads(figure, results)
    figure.savefig(path, dpi=_DOTS_PER_INCH)


@dataclass(frozen=True, slots=True)
class _Style:
    colour: str
    marker: str
    size: float
    width: float
    line: str

    def legend(self) -> dict[str, Any]:
        """For a marker without a line."""
        return {"color": self.colour, "marker": self.marker, "markersize": self.size}


def _styles(columns: Sequence[Column]) -> dict[str, _Style]:
    """This server and the floor look the same in every chart; the peers take turns."""
    styles = {
        OURS.name: _Style(_OUR_COLOUR, "o", 9, 2.8, "-"),
        NULL.name: _Style(_FLOOR_COLOUR, "x", 7, 1.4, "--"),
    }
    peers = [one.name for one in columns if one.name not in styles]
    for name, colour, marker in zip(peers, _COLOURS, _MARKERS, strict=False):
        styles[name] = _Style(colour, marker, 6.5, 1.4, "-")
    return styles


# --- all workloads --------------------------------------------------------------------------------


def _draw_workloads(figure: Figure, results: Results) -> None:
    columns = [one for one in results.columns if one.absent is None]
    base = next((one for one in columns if one.name == OURS.name), columns[0])
    panels = figure.subplots(1, 3, sharey=True)
    rows = list(reversed(results.rows))
    values: list[tuple[str, Callable[[Row, Column], float | None]]] = [
        (f"server CPU, times that of {base.title}\n(less is better)", _cpu(results, base)),
        (f"rate, times that of {base.title}\n(more is better)", _rate(results, base)),
        ("peak memory, MiB\n(less is better)", _memory(results)),
    ]
    for axes, (title, value) in zip(panels, values, strict=True):
        _dots(axes, rows, columns, value)
        axes.set_title(title, fontsize=11)
    for axes in panels[:2]:
        axes.axvline(1, color=_OUR_COLOUR, linewidth=1, alpha=0.5)
    panels[0].set_yticks(range(len(rows)), [row.title for row in rows])
    _legend(figure, columns)
    figure.tight_layout(rect=(0, 0, 1, 1 - 0.5 / figure.get_figheight()))


def _dots(
    axes: Axes,
    rows: Sequence[Row],
    columns: Sequence[Column],
    value: Callable[[Row, Column], float | None],
) -> None:
    styles = _styles(columns)
    # Ours last, so that nothing covers it.
    for column in sorted(columns, key=lambda one: one.name == OURS.name):
        found = [(value(row, column), place) for place, row in enumerate(rows)]
        there = [(x, y) for x, y in found if x]
        style = styles[column.name]
        axes.plot([x for x, _ in there], [y for _, y in there], linestyle="none", **style.legend())
    axes.set_xscale("log")
    _plain_numbers(axes.xaxis)
    axes.grid(visible=True, **_GRID)
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.set_axisbelow(True)


def _cpu(results: Results, base: Column) -> Callable[[Row, Column], float | None]:
    return lambda row, column: cpu_ratio(results, row, column, base)


def _rate(results: Results, base: Column) -> Callable[[Row, Column], float | None]:
    def value(row: Row, column: Column) -> float | None:
        mine = _median(results, row, column, lambda one: one.wall_s)
        other = _median(results, row, base, lambda one: one.wall_s)
        return other / mine if mine and other else None

    return value


def _memory(results: Results) -> Callable[[Row, Column], float | None]:
    return lambda row, column: _median(results, row, column, lambda one: one.peak_bytes / MIB)


def _median(
    results: Results, row: Row, column: Column, value: Callable[[Sample], float]
) -> float | None:
    found = Spread.of(results.of(row, column), value)
    return found.median if found else None


# --- growth ---------------------------------------------------------------------------------------


def _draw_growth(figure: Figure, results: Results) -> None:
    columns = [one for one in results.columns if one.absent is None]
    values: list[tuple[str, Callable[[Sample], float]]] = [
        ("server CPU, s", lambda one: one.cpu_s),
        ("wall time, s", lambda one: one.wall_s),
        ("peak memory, MiB", lambda one: one.peak_bytes / MIB),
    ]
    series = list(dict.fromkeys(row.point.series for row in results.rows if row.point))
    panels = figure.subplots(len(series), len(values), squeeze=False)
    for name, line in zip(series, panels, strict=True):
        rows = [row for row in results.rows if row.point and row.point.series == name]
        for axes, (title, value) in zip(line, values, strict=True):
            _lines(axes, rows, columns, results, value)
            axes.set_title(title, fontsize=11)
            axes.set_xlabel(_axis_title(rows), fontsize=10)
    _legend(figure, columns)
    figure.tight_layout(rect=(0, 0, 1, 0.94))


def _lines(
    axes: Axes,
    rows: Sequence[Row],
    columns: Sequence[Column],
    results: Results,
    value: Callable[[Sample], float],
) -> None:
    styles = _styles(columns)
    for column in sorted(columns, key=lambda one: one.name == OURS.name):
        found = [
            (row.point.value, _median(results, row, column, value)) for row in rows if row.point
        ]
        there = [(x, y) for x, y in found if y]
        style = styles[column.name]
        axes.plot(
            [x for x, _ in there],
            [y for _, y in there],
            linestyle=style.line,
            linewidth=style.width,
            **style.legend(),
        )
        if there and len(there) < len(rows):
            axes.annotate(
                "fails beyond",
                there[-1],
                xytext=(7, -3),
                textcoords="offset points",
                color=style.colour,
                fontsize=8,
            )
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    points = [row.point for row in rows if row.point]
    shown = [size_text(one.value) if one.series == BODY else f"{one.value}" for one in points]
    axes.set_xticks([one.value for one in points], shown, fontsize=9)
    _plain_numbers(axes.yaxis)
    axes.grid(visible=True, **_GRID)
    axes.set_axisbelow(True)


def _axis_title(rows: Sequence[Row]) -> str:
    if rows[0].point and rows[0].point.series == BODY:
        return "size of one PATCH"
    size = rows[0].title.rsplit(" at once", 1)[0].rsplit(" of ", 1)[1]
    return f"uploads of {size} at once"


# --- both -----------------------------------------------------------------------------------------


def _plain_numbers(axis: Axis) -> None:
    """1,000 and 0.1, not powers of ten; and 2 and 5 where decades alone would be too few."""
    least, most = axis.get_view_interval()
    steps = (1.0, 2.0, 5.0) if most / least < _FEW_DECADES else (1.0,)
    axis.set_major_locator(LogLocator(subs=steps, numticks=20))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axis.set_minor_formatter(NullFormatter())


def _legend(figure: Figure, columns: Sequence[Column]) -> None:
    styles = _styles(columns)
    handles = [
        Line2D([], [], label=one.title, linestyle="none", **styles[one.name].legend())
        for one in columns
    ]
    figure.legend(handles=handles, loc="upper center", ncols=len(columns), frameon=False)
