"""Fixtures: the clients' interpreters, and a network between them and the server."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NoReturn

import pytest

from tests.clients.scripts import HERE, Script
from tests.support.server import ServerProcess
from tests.support.tcp_proxy import TcpProxy

REQUIRE = "REQUIRE_CLIENTS"
"""Set to 1 in the environment, a client that is missing fails its tests instead of skipping
them. (Not TUSD_S3_...: those are the server's settings.)"""

_CHROMIUMS = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
_INSTALL_WITHIN_S = 150.0

RunScript = Callable[..., Script]


@pytest.fixture(scope="session")
def node() -> str:
    """Node, with the packages of `package.json` installed."""
    found, npm = shutil.which("node"), shutil.which("npm")
    if found is None or npm is None:
        missing("Node.js and npm are not on the PATH")
    with _alone():
        if not _is_installed():
            _install(npm)
    return found


@pytest.fixture(scope="session")
def chromium() -> str:
    """The browser's executable."""
    found = next(filter(None, map(shutil.which, _CHROMIUMS)), None)
    if found is None:
        missing("Chromium is not on the PATH")
    return found


@pytest.fixture
def script(node: str) -> Iterator[RunScript]:
    """Start a script: `script("node/upload.mjs", endpoint=..., path=...)`."""
    with ExitStack() as stack:

        def start(path: str, /, **job: Any) -> Script:  # noqa: ANN401 - becomes JSON
            return stack.enter_context(Script(node, path, job))

        yield start


@pytest.fixture
def network(server: ServerProcess) -> Iterator[TcpProxy]:
    """The way to the default server."""
    proxy = TcpProxy(("127.0.0.1", server.port))
    proxy.start()
    yield proxy
    proxy.stop()


def missing(reason: str) -> NoReturn:
    """A client that is not there: skip, or fail where all must be there."""
    if os.environ.get(REQUIRE) == "1":
        pytest.fail(f"{reason}, and {REQUIRE}=1 asks for it", pytrace=False)
    pytest.skip(reason)


@contextmanager
def _alone() -> Iterator[None]:
    """One process at a time: of several that run tests, two would install into one folder."""
    with (HERE / "package.json").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


def _is_installed() -> bool:
    """Whether every package that we ask for is there, in the version that we ask for."""
    wanted: dict[str, str] = json.loads((HERE / "package.json").read_text())["dependencies"]
    manifests = {name: HERE / "node_modules" / name / "package.json" for name in wanted}
    return (HERE / "node_modules" / ".package-lock.json").exists() and all(
        _version(manifests[name]) == version for name, version in wanted.items()
    )


def _version(manifest: Path) -> str | None:
    if not manifest.exists():
        return None
    version: str = json.loads(manifest.read_text())["version"]
    return version


def _install(npm: str) -> None:
    done = subprocess.run(
        [npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts"],
        cwd=HERE,
        env=os.environ | {"PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD": "1"},
        capture_output=True,
        text=True,
        timeout=_INSTALL_WITHIN_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
