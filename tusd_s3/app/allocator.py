"""The C allocator's settings for a process that takes bodies."""

from __future__ import annotations

import ctypes
from typing import Final

from tusd_s3 import limits

_M_MMAP_THRESHOLD: Final = -3
"""See mallopt(3)."""

OWN_MAPPING_MIN_BYTES: Final = 64 * limits.KIB
"""Blocks from this size on get a mapping of their own and go back to the system when they are
freed. glibc begins so too, but raises its threshold with the first block that is freed; from then
on the pieces of bodies lie among smaller and longer-lived things, and their memory never goes
back. A mapping costs some page faults: few beside reading the bytes."""


def give_back_freed_memory() -> None:
    """Make freed pieces of bodies leave the process. Only glibc knows how; others stay as is."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, OWN_MAPPING_MIN_BYTES)
