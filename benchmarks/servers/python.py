"""Servers in Python under uvicorn: the floor, and the peers from PyPI in an environment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Final

from benchmarks.servers.installing import run_installer
from benchmarks.servers.kind import (
    HERE,
    REPOSITORY,
    Launch,
    ServerKind,
    last_segment,
    python_path,
    this_python,
    uvicorn_command,
)

_REQUIREMENTS: Final = HERE / "apps" / "requirements.txt"
_INSTALL_WITHIN_S: Final = 300.0


def _recipe() -> str:
    return _REQUIREMENTS.read_text()


def _install(home: Path) -> None:
    run_installer([this_python(), "-m", "venv", str(home / "venv")], home, _INSTALL_WITHIN_S)
    pip = [str(home / "venv/bin/python"), "-m", "pip", "install", "--quiet"]
    # The same uvicorn, loop and parser as ours, so that the difference is the servers' own.
    pins = ["-c", str(REPOSITORY / "constraints.txt"), "-r", str(_REQUIREMENTS)]
    run_installer([*pip, *pins], home, _INSTALL_WITHIN_S)


def _version(distribution: str, home: Path) -> str:
    found = metadata.distributions(
        name=distribution, path=[str(path) for path in home.glob("venv/lib/*/site-packages")]
    )
    return next((one.version for one in found), "unknown")


def _command(app: str, launch: Launch) -> list[str]:
    return uvicorn_command(str(launch.home / "venv/bin/python"), app, launch)


def _environment(launch: Launch) -> Mapping[str, str]:
    apps = {"PYTHONPATH": str(HERE / "apps"), "PYTHONUNBUFFERED": "1"}
    return launch.credentials() | launch.settings() | apps


def _peer(name: str, app: str, note: str, base_path: str) -> ServerKind:
    command: Callable[[Launch], list[str]] = partial(_command, app)
    return ServerKind(
        name=name,
        title=name,
        note=note,
        base_path=base_path,
        command=command,
        environment=_environment,
        version=partial(_version, name),
        install=_install,
        recipe=_recipe,
        key_of=last_segment,
        workers=True,
    )


TUSPYSERVER = _peer(
    "tuspyserver",
    "tuspyserver_app:app",
    "FastAPI router with its own S3 storage (boto3 in threads). Keeps the body of a PATCH in "
    "memory until it ends; what is short of a part is an object that is read and written again.",
    "/files",
)

RESUMABLE_UPLOAD = _peer(
    "resumable-upload",
    "resumable_upload_app:app",
    "Its own S3 storage (boto3 in threads) behind its own ASGI adapter. Keeps the body of a "
    "request in memory until it ends and drops it when the connection breaks before.",
    "/files",
)


def _null_command(launch: Launch) -> list[str]:
    return uvicorn_command(this_python(), "benchmarks.servers.apps.null_app:app", launch)


NULL = ServerKind(
    name="null",
    title="null ASGI app",
    note="The floor: takes bodies and drops them, under the same uvicorn as this server.",
    base_path="/files/",
    command=_null_command,
    environment=lambda _: python_path(),
    version=lambda _: metadata.version("uvicorn"),
    key_of=None,
    workers=True,
)
