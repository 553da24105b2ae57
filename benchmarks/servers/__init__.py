"""The servers that are compared: how each is installed, started and asked for what it stored."""

from __future__ import annotations

from typing import Final

from benchmarks.servers.kind import Launch, NotHereError, ServerKind
from benchmarks.servers.node import TUS_NODE
from benchmarks.servers.ours import OURS
from benchmarks.servers.python import NULL, RESUMABLE_UPLOAD, TUSPYSERVER
from benchmarks.servers.tusd import TUSD

__all__ = ["NULL", "OURS", "SERVERS", "Launch", "NotHereError", "ServerKind"]

SERVERS: Final[dict[str, ServerKind]] = {
    kind.name: kind for kind in (OURS, TUSD, TUS_NODE, TUSPYSERVER, RESUMABLE_UPLOAD, NULL)
}
"""By name, in the order of the tables."""
