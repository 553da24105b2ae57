"""What README.md tells a newcomer to type is understood; what it claims of the code is so.

The commands that set up an environment, start the dev stack and run these tests are themselves run
by continuous integration.
"""

from __future__ import annotations

import ast
import os
import re
import shlex
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

import tusd_s3
from tests.conftest import StartServer
from tests.support.server import StoreSettings
from tusd_s3.config import Settings, flag_name, load_settings, show

ROOT = Path(tusd_s3.__file__).parents[1]
README = (ROOT / "README.md").read_text()


def commands(marker: str) -> list[str]:
    block = re.search(rf"<!-- {marker} -->\n```sh\n(.*?)```", README, re.DOTALL)
    assert block is not None, f"README.md has no {marker} block"
    return block[1].splitlines()


@pytest.mark.parametrize("marker", ["dev", "tests", "curl"])
def test_a_command_to_paste_is_one_line(marker: str) -> None:
    assert len(commands(marker)) == 1


ADDRESSES = {"--s3-bucket", "--s3-endpoint", "--redis-url"}
"""What a reader replaces by their own, and this test by the stores of the run."""


@pytest.mark.parametrize("line", commands("serve"))
def test_the_serve_lines_serve(line: str, start_server: StartServer) -> None:
    program, command, *flags = shlex.split(line)
    assert (program, command) == ("tusd-s3", "serve")
    pairs = dict(zip(flags[::2], flags[1::2], strict=True))
    load_settings({flag[2:].replace("-", "_"): value for flag, value in pairs.items()})
    others = {flag[2:]: value for flag, value in pairs.items() if flag not in ADDRESSES}
    assert start_server(**others).client.create(5, body=b"hello").offset == 5


def test_the_gc_line_cleans_up(stores: StoreSettings) -> None:
    [line] = commands("gc")
    program, command, *flags = shlex.split(line)
    assert (program, command) == ("tusd-s3", "gc")
    ours = stores.options()
    given = [ours.get(before.removeprefix("--"), word) for before, word in pairwise(["", *flags])]
    root = str(Path(tusd_s3.__file__).resolve().parents[1])
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "TUSD_"))}
    ended = subprocess.run(
        [sys.executable, "-m", "tusd_s3", "gc", *given, "--s3-endpoint", stores.s3_endpoint],
        env=environment | stores.environment() | {"PYTHONPATH": root},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert "0 failed" in ended.stdout


def test_flags_in_the_settings_table_exist() -> None:
    known = {flag_name(field) for field in Settings.model_fields} | {"--dry-run"}
    named = re.findall(r"`(--[a-z0-9-]+)`", README)
    assert named
    assert set(named) <= known


@pytest.mark.parametrize(
    "field",
    ["s3_part_size", "host", "port", "workers", "base_path", "upload_lifetime", "network_timeout",
     "lease_ttl", "cors_allow_origin", "s3_region", "s3_object_key"],
)  # fmt: skip
def test_defaults_in_the_settings_table_are_the_defaults(field: str) -> None:
    rows = [row for row in README.splitlines() if f"`{flag_name(field)}`" in row and "|" in row]
    [row] = rows
    assert f"`{show(field, Settings.model_fields[field].default)}`" in row.split("|")[2]


def test_the_python_in_it_is_python() -> None:
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert blocks
    for block in blocks:
        ast.parse(block)


def test_files_it_links_to_exist() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
