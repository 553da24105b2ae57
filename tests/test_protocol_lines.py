"""Every line of the protocol has its tests, and `protocol_lines.md` says which."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
TABLE = TESTS / "protocol_lines.md"
BY_HAND = "wire/by_hand/"
LINES = range(1, 28)
CLIENTS = {"httpx", "http", "urllib", "requests", "aiohttp", "tusclient", "h11", "starlette"}
"""Packages that would write requests for a test."""

_NUMBERS = re.compile(r"test_line_([0-9]+(?:_and_[0-9]+)*)_")
_ROW = re.compile(r"\| ([0-9]+) \| ([^|]+) \| ([^|]*) \|")


@dataclass(frozen=True, slots=True)
class Found:
    """One test function. peers: whether it speaks bytes (it takes a `Peer`)."""

    lines: frozenset[int]
    peers: bool


Rows = Sequence[tuple[int, str, Sequence[str]]]
"""Line, rule, and the tests as `path::name`."""


def rows_of(text: str) -> Rows:
    """The rows of the table. Raises ValueError for one that is written another way."""
    found = []
    for written in text.splitlines():
        if not written.startswith("|") or written.startswith(("| line |", "|---")):
            continue
        row = _ROW.fullmatch(written)
        if row is None:
            raise ValueError(written)
        found.append((int(row[1]), row[2], re.findall(r"`([^`]+)`", row[3])))
    return found


def lines_in(name: str) -> frozenset[int]:
    """The numbers that a test's name carries."""
    numbers = _NUMBERS.match(name)
    return (
        frozenset(int(number) for number in numbers[1].split("_and_")) if numbers else frozenset()
    )


def found_below(root: Path) -> dict[str, Found]:
    """Every test function in files below `root`, as `path::name`."""
    found = {}
    for path in sorted(root.rglob("test_*.py")):
        if "node_modules" in path.parts:
            continue
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (
                node.name.startswith("test_")
            ):
                kinds = [ast.unparse(arg.annotation) for arg in node.args.args if arg.annotation]
                name = f"{path.relative_to(root).as_posix()}::{node.name}"
                found[name] = Found(lines_in(node.name), "Peer" in kinds)
    return found


def problems(rows: Rows, tests: Mapping[str, Found]) -> list[str]:
    """What is wrong with the table, or with the tests it speaks of."""
    named = {name for _, _, names in rows for name in names}
    return [
        *_lines_without(rows),
        *(problem for row in rows for problem in _wrong_in(row, tests)),
        *(problem for name in tests for problem in _wrong_with(name, tests[name], named)),
    ]


def _lines_without(rows: Rows) -> Iterator[str]:
    by_hand = {line for line, _, names in rows for name in names if name.startswith(BY_HAND)}
    for line in LINES:
        if line not in {of for of, _, _ in rows}:
            yield f"line {line} has no row"
        if line not in by_hand:
            yield f"line {line} has no test by hand"


def _wrong_in(row: tuple[int, str, Sequence[str]], tests: Mapping[str, Found]) -> Iterator[str]:
    line, rule, names = row
    if line not in LINES:
        yield f"there is no line {line}"
    if not names:
        yield f"line {line}: {rule}: no test"
    for name in names:
        if name not in tests:
            yield f"line {line}: there is no {name}"
        elif line not in tests[name].lines:
            yield f"line {line}: {name} does not carry its number"


def _wrong_with(name: str, test: Found, named: Set[str]) -> Iterator[str]:
    if not test.lines <= set(LINES):
        yield f"{name} carries a number that the table does not have"
    if name.startswith(BY_HAND) and name not in named:
        yield f"{name} is not in the table"
    if name.startswith(BY_HAND) and not test.peers:
        yield f"{name} takes no Peer"


def test_every_line_has_its_tests() -> None:
    assert problems(rows_of(TABLE.read_text()), found_below(TESTS)) == []


def test_by_hand_means_without_a_client() -> None:
    files = sorted((TESTS / BY_HAND).glob("*.py"))
    assert len(files) > 5
    for path in files:
        tree = ast.walk(ast.parse(path.read_text()))
        for node in tree:
            if isinstance(node, ast.ImportFrom):
                assert (node.module or "").split(".")[0] not in CLIENTS, path
                names = {alias.name for alias in node.names}
                assert not names & {"RawClient", "RawConnection", "patch_headers"}, path
            elif isinstance(node, ast.Import):
                assert not {alias.name.split(".")[0] for alias in node.names} & CLIENTS, path
            elif isinstance(node, ast.Attribute):
                assert node.attr != "client", f"{path} uses the client of the other tests"


RULE = "a rule"
GOOD: dict[int, list[str]] = {line: [f"{BY_HAND}t.py::test_line_{line:02}_a"] for line in LINES}


def rows_with(**changes: list[str] | None) -> Rows:
    """A table that is right, but for lines `L<number>`; None removes the row."""
    changed = GOOD | {int(name[1:]): names for name, names in changes.items()}
    return [(line, RULE, names) for line, names in changed.items() if names is not None]


KNOWN = {names[0]: Found(frozenset({line}), peers=True) for line, names in GOOD.items()}
ELSEWHERE = "unit/t.py::test_line_5_b"


@pytest.mark.parametrize(
    ("rows", "more", "complaints"),
    [
        (rows_with(), {}, 0),
        (rows_with(L5=[*GOOD[5], ELSEWHERE]), {ELSEWHERE: Found(frozenset({5}), False)}, 0),
        (rows_with(), {ELSEWHERE: Found(frozenset({5}), False)}, 0),
        # No row, no test by hand, and a test by hand that is in no row.
        (rows_with(L5=None), {}, 3),
        (rows_with(L5=[]), {}, 3),
        (rows_with(L5=[*GOOD[5], *GOOD[6]]), {}, 1),
        (rows_with(L5=[*GOOD[5], ELSEWHERE]), {}, 1),
        (rows_with(L28=[ELSEWHERE]), {ELSEWHERE: Found(frozenset({28}), False)}, 2),
        (rows_with(), {ELSEWHERE: Found(frozenset({0}), False)}, 1),
        (rows_with(), {f"{BY_HAND}u.py::test_more": Found(frozenset(), True)}, 1),
        (rows_with(), {GOOD[5][0]: Found(frozenset({5}), False)}, 1),
    ],
)
def test_the_check_itself(rows: Rows, more: dict[str, Found], complaints: int) -> None:
    assert len(problems(rows, KNOWN | more)) == complaints


def test_rows_are_read_as_they_are_written() -> None:
    assert rows_of("| line | r | t |\n|---|---|---|\n| 5 | One. | `a::b` `c::d` |\ntext") == [
        (5, "One.", ["a::b", "c::d"])
    ]
    with pytest.raises(ValueError, match="5a"):
        rows_of("| 5a | One. | `a::b` |")
    assert lines_in("test_line_1_and_27_both") == {1, 27}
    assert lines_in("test_lines") == frozenset()
