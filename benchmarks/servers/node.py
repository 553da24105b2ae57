"""@tus/server with @tus/s3-store, from npm."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Final

from benchmarks.servers.installing import need, run_installer
from benchmarks.servers.kind import HERE, Launch, ServerKind, last_segment

_SOURCES: Final = HERE / "node"
_FILES: Final = ("package.json", "package-lock.json")
_PROGRAM: Final = "server.mjs"
_INSTALL_WITHIN_S: Final = 300.0


def _recipe() -> str:
    return "".join((_SOURCES / name).read_text() for name in _FILES)


def _install(home: Path) -> None:
    npm = need("npm")
    need("node")
    for name in _FILES:
        shutil.copy(_SOURCES / name, home / name)
    run_installer(
        [npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts"], home, _INSTALL_WITHIN_S
    )


def _command(launch: Launch) -> list[str]:
    # A module finds its packages beside itself, so the program goes where they are.
    program = Path(shutil.copy(_SOURCES / _PROGRAM, launch.home / _PROGRAM))
    return [need("node"), str(program)]


def _environment(launch: Launch) -> dict[str, str]:
    return launch.credentials() | launch.settings() | {"NODE_ENV": "production"}


def _version(home: Path) -> str:
    found = [
        json.loads((home / "node_modules/@tus" / name / "package.json").read_text())["version"]
        for name in ("server", "s3-store")
    ]
    return " / ".join(found)


TUS_NODE = ServerKind(
    name="tus-node-server",
    title="@tus/server",
    note="With @tus/s3-store, on Node.js; one process. Parts go through temporary files; what is "
    "short of a part is an object that is read and written again.",
    base_path="/files",
    command=_command,
    environment=_environment,
    version=_version,
    install=_install,
    recipe=_recipe,
    key_of=last_segment,
)
