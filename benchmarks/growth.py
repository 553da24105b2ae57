"""How the cost grows: the same load at sizes, and at numbers of uploads, that go over decades."""

from __future__ import annotations

from typing import Final

from benchmarks.workloads import Point, Scale, Unit, Workload, size_text
from tusd_s3.limits import GIB, MIB

BODY: Final = "body"
AT_ONCE: Final = "at once"

_BODIES: Final = {
    Scale.FULL: [16 * MIB, 64 * MIB, 256 * MIB, GIB, 4 * GIB, 8 * GIB],
    Scale.QUICK: [16 * MIB, 64 * MIB, 256 * MIB],
    Scale.SMOKE: [6 * MIB, 12 * MIB],
}
_COUNTS: Final = {
    Scale.FULL: [1, 4, 16, 64, 256],
    Scale.QUICK: [1, 4, 16],
    Scale.SMOKE: [1, 3],
}
_EACH_BYTES: Final = {Scale.FULL: 16 * MIB, Scale.QUICK: 16 * MIB, Scale.SMOKE: 6 * MIB}
_DEADLINE_S: Final = 600.0


def growth_workloads(scale: Scale) -> list[Workload]:
    """The points of the charts, smaller ones first in each series."""
    bodies = [_point(BODY, size, count=1, size=size) for size in _BODIES[scale]]
    each = _EACH_BYTES[scale]
    return bodies + [_point(AT_ONCE, count, count=count, size=each) for count in _COUNTS[scale]]


def _point(series: str, value: int, *, count: int, size: int) -> Workload:
    shown = size_text(value) if series == BODY else f"{value}"
    return Workload(
        name=f"{series.replace(' ', '-')}-{shown.replace(' ', '')}",
        title="one PATCH of {size}" if series == BODY else "{count} of {size} at once",
        script="bodies",
        numbers={"count": count, "size": size},
        unit=Unit.GIB,
        deadline_s=_DEADLINE_S,
        point=Point(series, value),
    )
