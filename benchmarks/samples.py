"""What was measured, raw; what is made of it for the table; both to JSON and back."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from benchmarks.workloads import Point, Unit


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One measurement: one server, one workload, once.

    Times in seconds; `cpu_*` are the server's with all its processes. peak_bytes: see
    `measure.peak_bytes`; start_bytes: resident before the load. load_cpu_s: of the load process,
    which is nobody's cost. failed: why it has no other values.
    """

    workload: str
    server: str
    repetition: int
    wall_s: float = 0.0
    cpu_user_s: float = 0.0
    cpu_system_s: float = 0.0
    s3_cpu_s: float = 0.0
    redis_cpu_s: float = 0.0
    load_cpu_s: float = 0.0
    start_bytes: int = 0
    peak_bytes: int = 0
    requests: int = 0
    body_bytes: int = 0
    s3_calls: dict[str, int] = field(default_factory=dict)
    figures: dict[str, float] = field(default_factory=dict)
    failed: str | None = None

    @property
    def cpu_s(self) -> float:
        """CPU seconds of the server."""
        return self.cpu_user_s + self.cpu_system_s

    @property
    def calls(self) -> int:
        """S3 calls of every kind."""
        return sum(self.s3_calls.values())


@dataclass(frozen=True, slots=True)
class Row:
    """A workload as the reports need it."""

    name: str
    title: str
    unit: Unit
    workers: int
    figures: dict[str, str]
    point: Point | None = None


@dataclass(frozen=True, slots=True)
class Column:
    """A server as the reports need it. absent: why it was not measured at all, or None."""

    name: str
    title: str
    version: str
    note: str
    workers: bool
    absent: str | None = None


@dataclass(slots=True, kw_only=True)
class Results:
    """A whole run. machine: what it ran on, in words. command: as it was typed."""

    command: str
    began: str
    machine: dict[str, str]
    repetitions: int
    rows: list[Row]
    columns: list[Column]
    samples: list[Sample] = field(default_factory=list)

    def of(self, row: Row, column: Column) -> list[Sample]:
        """The samples of one cell, failed ones included."""
        return [
            one for one in self.samples if one.workload == row.name and one.server == column.name
        ]

    def save(self, path: Path) -> None:
        """As JSON."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def load(cls, path: Path) -> Self:
        """The inverse of `save`."""
        found: dict[str, Any] = json.loads(path.read_text())
        found["rows"] = [_row(one) for one in found["rows"]]
        found["columns"] = [Column(**one) for one in found["columns"]]
        found["samples"] = [Sample(**one) for one in found["samples"]]
        return cls(**found)


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of several values, and their range."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, samples: Iterable[Sample], value: Callable[[Sample], float]) -> Spread | None:
        """Of those that did not fail; None if none is left."""
        found = [value(one) for one in samples if one.failed is None]
        return cls(statistics.median(found), min(found), max(found)) if found else None


def cpu_per_unit(sample: Sample, unit: Unit) -> float:
    """CPU seconds for a GiB, or for a request."""
    count = sample.body_bytes / 2**30 if unit is Unit.GIB else sample.requests
    return sample.cpu_s / count


def cpu_ratio(results: Results, row: Row, column: Column, base: Column) -> float | None:
    """How much more CPU a server took than `base`: the median over the repetitions of the ratio
    within each, because what disturbs a machine disturbs neighbours in time alike."""
    of_base = {one.repetition: one.cpu_s for one in results.of(row, base) if not one.failed}
    ratios = [
        one.cpu_s / of_base[one.repetition]
        for one in results.of(row, column)
        if not one.failed and of_base.get(one.repetition)
    ]
    return statistics.median(ratios) if ratios else None


def _row(found: dict[str, Any]) -> Row:
    point = found.pop("point")
    unit = Unit(found.pop("unit"))
    return Row(**found, unit=unit, point=Point(**point) if point else None)
