"""What a request may cost: the figures in `baselines.toml`, and what is said of others.

Calls to the stores are few and each is meant: their numbers are exact. Calls of functions may be a
fifth more. They may also not be a fifth less: a baseline that is higher than what it is about would
let everything that was won be lost again unseen. Recording it anew is one command, and its diff
shows the gain.

Functions are counted for each minor version of Python by itself, because interpreters differ in
what is a call (from 3.12 on comprehensions are none), and with the libraries of `constraints.txt`.
"""

from __future__ import annotations

import sys
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any, Final, Self

from tests.costs.meter import Cost
from tests.costs.workloads import WORKLOADS

FILE: Final = Path(__file__).with_name("baselines.toml")
RECORD: Final = "python -m tests.costs --record"
PYTHON: Final = f"{sys.version_info.major}.{sys.version_info.minor}"

TOLERANCE: Final = 0.2
"""Runs of the same code differ by up to 4 % on a busy machine."""

_HEAD: Final = f"""\
# What each workload costs. Written by `{RECORD}`; baselines.py has the rules.
# s3, redis, round_trips: of the whole workload. calls: of functions, for one of its operations,
# by the version of Python.
"""
_CONSTRAINTS: Final = Path(__file__).parents[2] / "constraints.txt"
_ON_THE_WAY: Final = frozenset(
    {
        *("starlette", "uvicorn", "uvloop", "httptools"),
        *("aiobotocore", "botocore", "aiohttp", "redis", "hiredis"),
    }
)
"""Libraries that a request passes through."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """The figures of one workload. calls: for one operation, by the version of Python."""

    s3: Mapping[str, int]
    redis: Mapping[str, int]
    round_trips: int
    calls: Mapping[str, int]

    @classmethod
    def of(cls, cost: Cost, operations: int, python: str = PYTHON) -> Self:
        """What was measured here."""
        calls = {python: round(cost.calls.total() / operations)}
        return cls(dict(cost.s3), dict(cost.redis), cost.round_trips, calls)

    def complaints_of_stores(self, found: Baseline) -> Iterator[str]:
        """A sentence for each kind of call to the stores whose number is another one."""
        for store, here, there in (("S3", self.s3, found.s3), ("Redis", self.redis, found.redis)):
            for name in sorted(here.keys() | there.keys()):
                yield from _unequal(f"{name} to {store}", here.get(name, 0), there.get(name, 0))
        yield from _unequal("Round trips to Redis", self.round_trips, found.round_trips)

    def complaints_of_calls(self, found: Baseline, python: str = PYTHON) -> Iterator[str]:
        """A sentence if the functions called are too many, or fewer than they need to be known."""
        here, there = self.calls[python], found.calls[python]
        if abs(there - here) > TOLERANCE * here:
            yield f"{there} calls of functions for each operation; the baseline has {here}."


def load() -> dict[str, Baseline]:
    """All baselines by workload."""
    tables: Mapping[str, Any] = tomllib.loads(FILE.read_text()) if FILE.exists() else {}
    return {name: Baseline(**table) for name, table in tables.items()}


def save(found: Mapping[str, Baseline]) -> None:
    """Replace the figures; those of functions under other versions of Python stay."""
    before = load()
    for name, one in found.items():
        known = before[name].calls if name in before else {}
        before[name] = replace(one, calls={**known, **one.calls})
    tables = [_table(name, before[name]) for name in WORKLOADS if name in before]
    FILE.write_text("\n".join([_HEAD, *tables]))


def why_functions_cannot_be_compared(known: Baseline) -> str | None:
    """One sentence, if this Python or its libraries are not those of the baseline."""
    if PYTHON not in known.calls:
        return f"No baseline for Python {PYTHON}; `{RECORD}` makes one."
    if other := sorted(_other_versions()):
        return f"Not as in constraints.txt: {', '.join(other)}."
    return None


def most_called(calls: Counter[str], operations: int, count: int) -> list[str]:
    """The functions that are called most in one operation, a line each."""
    return [f"{many / operations:10.1f}  {name}" for name, many in calls.most_common(count)]


def _unequal(what: str, here: int, there: int) -> Iterator[str]:
    if here != there:
        yield f"{what}: {there}; the baseline has {here}."


def _other_versions() -> Iterator[str]:
    for line in _CONSTRAINTS.read_text().splitlines():
        name, _, pinned = line.partition("==")
        if name in _ON_THE_WAY and (found := metadata.version(name)) != pinned:
            yield f"{name} {found}"


def _table(name: str, one: Baseline) -> str:
    return (
        f"# {WORKLOADS[name].title}\n[{name}]\n"
        f"s3 = {_inline(one.s3)}\n"
        f"redis = {_inline(one.redis)}\n"
        f"round_trips = {one.round_trips}\n"
        f"calls = {_inline(one.calls)}\n"
    )


def _inline(numbers: Mapping[str, int]) -> str:
    pairs = [f'"{name}" = {number}' for name, number in sorted(numbers.items())]
    return f"{{ {', '.join(pairs)} }}" if pairs else "{}"
