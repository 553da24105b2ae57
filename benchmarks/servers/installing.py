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

_STAMP = "installed"
_LINE_MAX_CHARS = 160


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
    """Run a registry's client. Raises: NotHereError, with the last line it wrote."""
    try:
        done = subprocess.run(
            command,
            cwd=where,
            env=os.environ | dict(environment or {}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=within_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise NotHereError(f"not installed within {within_s:.0f} s") from None
    if done.returncode != 0:
        lines = (done.stdout + done.stderr).strip().splitlines() or ["no message"]
        sys.stderr.write("\n".join(lines[-10:]) + "\n")
        raise NotHereError(f"cannot be installed: {lines[-1].strip()[:_LINE_MAX_CHARS]}")
