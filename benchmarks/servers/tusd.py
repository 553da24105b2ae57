"""tusd, the reference server, built from its Go module."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Final

from benchmarks.servers.installing import need, run_installer
from benchmarks.servers.kind import HERE, Launch, ServerKind, last_segment

_MODULE: Final = HERE / "tusd_module" / "go.mod"
_INSTALL_WITHIN_S: Final = 1200.0
"""It has every cloud's SDK among its dependencies: about 6 minutes on two cores."""


def _recipe() -> str:
    return _MODULE.read_text()


def _install(home: Path) -> None:
    go = need("go")
    shutil.copy(_MODULE, home / "go.mod")
    places = {"GOPATH": str(home / "path"), "GOCACHE": str(home / "cache")}
    # `go install …@version` would ask for the list of all versions, which not every proxy has.
    run_installer(
        [go, "install", "-mod=mod", "-modcacherw", "tool"],
        home,
        _INSTALL_WITHIN_S,
        places | {"GOBIN": str(home / "bin")},
    )
    for place in places.values():
        shutil.rmtree(place, ignore_errors=True)  # a GiB that only the build needs


def _command(launch: Launch) -> list[str]:
    return [
        str(launch.home / "bin/tusd"),
        *("-host", "127.0.0.1", "-port", f"{launch.port}", "-base-path", "/files/"),
        *("-s3-bucket", launch.bucket, "-s3-endpoint", launch.stores.s3_endpoint),
        *("-s3-part-size", f"{launch.part_bytes}"),
    ]


def _environment(launch: Launch) -> dict[str, str]:
    # It puts parts into temporary files before it sends them.
    return launch.credentials() | {"TMPDIR": str(launch.data_dir)}


def _version(_: Path) -> str:
    found = re.search(r"tusd/v2 v(\S+)", _recipe())
    assert found is not None
    return found[1]


def _key_of(path: str) -> str:
    # Its ids are the object's key and the multipart upload's id.
    return last_segment(path).split("+", 1)[0]


TUSD = ServerKind(
    name="tusd",
    title="tusd",
    note="The reference server, in Go: one process that uses all cores. Parts go through temporary "
    "files; what is short of a part is an object that is read and written again.",
    base_path="/files/",
    command=_command,
    environment=_environment,
    version=_version,
    install=_install,
    recipe=_recipe,
    key_of=_key_of,
)
