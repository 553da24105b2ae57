"""How much memory a process had at most, as the kernel tells."""

from __future__ import annotations

import re
from pathlib import Path

from tests.support.bodies import KIB, MIB
from tusd_s3.blocks import Blocks, Stock


def peak_bytes(pid: int) -> int:
    """Its peak resident memory since it was started, or since `forget_peak`."""
    found = re.search(r"^VmHWM:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) * KIB


def blocks() -> Blocks:
    """Memory without a bound."""
    return Stock(lambda: 1024 * MIB, [256 * KIB]).kinds[0]
