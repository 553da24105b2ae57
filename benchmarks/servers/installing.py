"""Installing a peer once, into a directory that is not under version control."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from benchmarks.servers.kind import NotHereError, ServerKind
from tusd_s3.devstack import guard

_STAMP = "installed"
_LINE_MAX_CHARS = 160
_GRACE_S = 5.0


def home_of(kind: ServerKind, peers_dir: Path) -> Path:
    """Where it is, or would be, installed. Those with the same recipe share a place."""
    digest = hashlib.sha256(kind.recipe().encode()).hexdigest()[:12]
    return peers_dir / digest if kind.install else peers_dir


def is_installed(kind: ServerKind, peers_dir: Path) -> bool:
    """Whether there is nothing left to install."""
    return kind.install is None or (home_of(kind, peers_dir) / _STAMP).exists()


def install(kind: ServerKind, peers_dir: Path) -> None:
    """Install it unless it is. Raises: NotHereError."""
    if kind.install is None or is_installed(kind, peers_dir):
        return
    home = home_of(kind, peers_dir)
    shutil.rmtree(home, ignore_errors=True)  # of an attempt that was cut short
    home.mkdir(parents=True)
    sys.stderr.write(f"installing {kind.title} …\n")
    kind.install(home)
    (home / _STAMP).touch()


def need(program: str) -> str:
    """The program on PATH. Raises: NotHereError."""
    if found := shutil.which(program):
        return found
    raise NotHereError(f"needs {program} on PATH")


def run_installer(
    command: list[str],
    where: Path,
    within_s: float,
    environment: Mapping[str, str] | None = None,
) -> None:
    """Run a registry's client, behind a guard that ends it with us. Raises: NotHereError."""
    guarded = [sys.executable, "-I", "-S", guard.__file__, f"{_GRACE_S}", "--", *command]
    log = where / "install.log"
    with (
        log.open("ab") as written,
        subprocess.Popen(
            guarded,
            cwd=where,
            env=os.environ | dict(environment or {}),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=written,
            start_new_session=True,
        ) as process,
    ):
        try:
            status = process.wait(within_s)
        except subprocess.TimeoutExpired:
            raise NotHereError(f"not installed within {within_s:.0f} s") from None
        finally:
            assert process.stdin is not None
            process.stdin.close()  # the guard ends what still runs
    if status != 0:
        lines = log.read_text(errors="replace").strip().splitlines() or ["no message"]
        sys.stderr.write("\n".join(lines[-10:]) + "\n")
        raise NotHereError(f"cannot be installed: {lines[-1].strip()[:_LINE_MAX_CHARS]}")
