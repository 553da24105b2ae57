"""What reviewers would otherwise have to count: length of functions and modules, dead modules."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import tusd_s3

PACKAGE = Path(tusd_s3.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
BENCHMARKS = sorted(
    path for path in (PACKAGE.parent / "benchmarks").rglob("*.py") if ".peers" not in path.parts
)
FUNCTION_LINES_MAX = 50
MODULE_LINES_MAX = 400


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def functions(path: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            yield node.name, node.end_lineno - node.lineno + 1


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", [*MODULES, *BENCHMARKS], ids=name_of)
def test_functions_and_modules_stay_short_enough_to_read(path: Path) -> None:
    long = [(name, lines) for name, lines in functions(path) if lines > FUNCTION_LINES_MAX]
    assert not long
    assert len(path.read_text().splitlines()) <= MODULE_LINES_MAX


def test_every_module_is_used() -> None:
    imported = {name for path in MODULES for name in imports(path)}
    entry_points = {"tusd_s3", "tusd_s3.__main__", "tusd_s3.cli", "tusd_s3.devstack.guard"}
    unused = {name_of(path) for path in MODULES} - imported - entry_points
    assert not {name for name in unused if not any(m.startswith(f"{name}.") for m in imported)}
