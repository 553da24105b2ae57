"""What is measured: for each workload a script of the load process and its sizes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from tusd_s3.limits import GIB, KIB, MIB


class Scale(StrEnum):
    """How large a run is."""

    FULL = "full"
    QUICK = "quick"
    SMOKE = "smoke"


class Unit(StrEnum):
    """What CPU time is divided by, and what a rate counts."""

    GIB = "GiB"
    PATCH = "PATCH"
    UPLOAD = "upload"
    HEAD = "HEAD"
    CONNECTION = "connection"
    GET = "GET"


@dataclass(frozen=True, slots=True)
class Point:
    """A place in a growth chart. value: bytes or uploads."""

    series: str
    value: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """One row of the table.

    numbers: for the script. workers: processes of the server. figures: which of the script's own
    results the table shows, with their titles. point: where it stands in a growth chart.
    """

    name: str
    title: str
    script: str
    numbers: Mapping[str, int]
    unit: Unit
    workers: int = 1
    deadline_s: float = 300.0
    figures: Mapping[str, str] = field(default_factory=dict)
    point: Point | None = None

    @property
    def text(self) -> str:
        """The title with its numbers, for a reader."""
        return self.title.format_map({**self.numbers, "size": size_text(self.numbers["size"])})

    @property
    def stored_bytes(self) -> int:
        """How much it leaves in a store."""
        uploads = "connections" if self.script == "heads" else "count"
        return self.numbers["size"] * self.numbers.get(uploads, 1)


def size_text(size_bytes: int) -> str:
    """A size as people write it: `16 KiB`, `1 GiB`."""
    for unit, name in ((GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")):
        if size_bytes >= unit and size_bytes % unit == 0:
            return f"{size_bytes // unit} {name}"
    return f"{size_bytes} bytes"


_Numbers = dict[Scale, dict[str, int]]

_SIZES: Final[dict[str, _Numbers]] = {
    "large": {
        Scale.FULL: {"count": 1, "size": GIB},
        Scale.QUICK: {"count": 1, "size": 128 * MIB},
        Scale.SMOKE: {"count": 1, "size": 12 * MIB},
    },
    "parallel": {
        Scale.FULL: {"count": 8, "size": 128 * MIB},
        Scale.QUICK: {"count": 8, "size": 16 * MIB},
        Scale.SMOKE: {"count": 2, "size": 9 * MIB},
    },
    "patch-1m": {
        Scale.FULL: {"count": 256, "size": MIB},
        Scale.QUICK: {"count": 64, "size": MIB},
        Scale.SMOKE: {"count": 9, "size": MIB},
    },
    "patch-64k": {
        Scale.FULL: {"count": 512, "size": 64 * KIB},
        Scale.QUICK: {"count": 96, "size": 64 * KIB},
        Scale.SMOKE: {"count": 20, "size": 64 * KIB},
    },
    "small": {
        Scale.FULL: {"count": 1000, "size": 16 * KIB, "connections": 8},
        Scale.QUICK: {"count": 200, "size": 16 * KIB, "connections": 8},
        Scale.SMOKE: {"count": 16, "size": 16 * KIB, "connections": 4},
    },
    "head": {
        Scale.FULL: {"count": 4000, "size": MIB, "connections": 8},
        Scale.QUICK: {"count": 800, "size": MIB, "connections": 8},
        Scale.SMOKE: {"count": 40, "size": 64 * KIB, "connections": 4},
    },
    "head-under-load": {
        Scale.FULL: {"count": 8, "size": 128 * MIB, "size_of_headed": MIB, "pause_ms": 20},
        Scale.QUICK: {"count": 8, "size": 16 * MIB, "size_of_headed": MIB, "pause_ms": 20},
        Scale.SMOKE: {"count": 2, "size": 9 * MIB, "size_of_headed": MIB, "pause_ms": 5},
    },
    "resume": {
        Scale.FULL: {"size": 512 * MIB},
        Scale.QUICK: {"size": 64 * MIB},
        Scale.SMOKE: {"size": 24 * MIB},
    },
    "idle": {
        Scale.FULL: {"count": 1000, "size": MIB, "hold_ms": 10_000},
        Scale.QUICK: {"count": 200, "size": MIB, "hold_ms": 6_000},
        Scale.SMOKE: {"count": 20, "size": 64 * KIB, "hold_ms": 300},
    },
    "download": {
        Scale.FULL: {"count": 1, "size": GIB, "connections": 1},
        Scale.QUICK: {"count": 1, "size": 128 * MIB, "connections": 1},
        Scale.SMOKE: {"count": 1, "size": 12 * MIB, "connections": 1},
    },
    "downloads-parallel": {
        Scale.FULL: {"count": 8, "size": 128 * MIB, "connections": 8},
        Scale.QUICK: {"count": 8, "size": 16 * MIB, "connections": 8},
        Scale.SMOKE: {"count": 2, "size": 9 * MIB, "connections": 2},
    },
    "downloads-small": {
        Scale.FULL: {"count": 1000, "size": 64 * KIB, "connections": 8},
        Scale.QUICK: {"count": 200, "size": 64 * KIB, "connections": 8},
        Scale.SMOKE: {"count": 16, "size": 64 * KIB, "connections": 4},
    },
}

_LAST_BYTE = {"last_byte_to_answer_s": "last byte to answer"}


def workloads(scale: Scale) -> list[Workload]:
    """All of them, in the order of the table."""

    def of(name: str) -> dict[str, int]:
        return dict(_SIZES[name][scale])

    return [
        *_with_bodies(of("large"), of("parallel")),
        Workload(
            name="patch-1m",
            title="{count:,} PATCHes of {size}, one after another",
            script="sequence",
            numbers=of("patch-1m"),
            unit=Unit.PATCH,
        ),
        Workload(
            name="patch-64k",
            title="{count:,} PATCHes of {size}, one after another",
            script="sequence",
            numbers=of("patch-64k"),
            unit=Unit.PATCH,
        ),
        Workload(
            name="small",
            title="{count:,} uploads of {size} (POST + PATCH), {connections} connections",
            script="small",
            numbers=of("small") | {"with_upload": 0},
            unit=Unit.UPLOAD,
        ),
        Workload(
            name="small-in-one",
            title="{count:,} uploads of {size} in their POST, {connections} connections",
            script="small",
            numbers=of("small") | {"with_upload": 1},
            unit=Unit.UPLOAD,
        ),
        *_rest(of("head"), of("head-under-load"), of("resume"), of("idle")),
        *_downloads(of("download"), of("downloads-parallel"), of("downloads-small")),
    ]


def _with_bodies(large: dict[str, int], parallel: dict[str, int]) -> list[Workload]:
    return [
        Workload(
            name="large",
            title="one PATCH of {size}",
            script="bodies",
            numbers=large,
            unit=Unit.GIB,
            figures=_LAST_BYTE,
        ),
        Workload(
            name="parallel",
            title="{count} PATCHes of {size} at once",
            script="bodies",
            numbers=parallel,
            unit=Unit.GIB,
            figures=_LAST_BYTE,
        ),
        Workload(
            name="two-workers",
            title="{count} PATCHes of {size} at once, 2 workers",
            script="bodies",
            numbers=parallel,
            unit=Unit.GIB,
            workers=2,
            figures=_LAST_BYTE,
        ),
    ]


def _rest(
    head: dict[str, int], under_load: dict[str, int], resume: dict[str, int], idle: dict[str, int]
) -> list[Workload]:
    return [
        Workload(
            name="head",
            title="{count:,} HEADs, {connections} connections",
            script="heads",
            numbers=head,
            unit=Unit.HEAD,
        ),
        Workload(
            name="head-under-load",
            title="HEADs while {count} PATCHes of {size} come in",
            script="heads-under-load",
            numbers=under_load,
            unit=Unit.GIB,
            figures={"head_p50_s": "HEAD median", "head_p99_s": "HEAD p99"},
        ),
        Workload(
            name="resume",
            title="a PATCH of {size} cut at half, HEAD, the rest",
            script="resume",
            numbers=resume,
            unit=Unit.GIB,
            figures={"cut_to_offset_s": "cut to offset", "sent_again_bytes": "sent again"},
        ),
        Workload(
            name="idle",
            title="{count:,} connections that sent {size} and fell silent",
            script="idle",
            numbers=idle,
            unit=Unit.CONNECTION,
        ),
    ]


def _downloads(
    one: dict[str, int], parallel: dict[str, int], small: dict[str, int]
) -> list[Workload]:
    first_byte = {"first_byte_s": "first byte"}
    return [
        Workload(
            name="download",
            title="one GET of {size}",
            script="downloads",
            numbers=one,
            unit=Unit.GIB,
            figures=first_byte,
        ),
        Workload(
            name="downloads-parallel",
            title="{count} GETs of {size} at once",
            script="downloads",
            numbers=parallel,
            unit=Unit.GIB,
            figures=first_byte,
        ),
        Workload(
            name="downloads-small",
            title="{count:,} GETs of {size}, {connections} connections",
            script="downloads",
            numbers=small,
            unit=Unit.GET,
            figures=first_byte,
        ),
    ]
