"""The process's memory, and how many files it may have open, set up for a server."""

from __future__ import annotations

import ctypes
import gc
import resource
from contextlib import suppress
from typing import Final

from tusd_s3 import limits

_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
"""See mallopt(3)."""

OWN_MAPPING_MIN_BYTES: Final = 512 * limits.KIB
"""Memory from this size on has a mapping of its own and goes back to the system when it is freed.
glibc begins lower, but raises its threshold with the first that is freed; from then on large pieces
lie among smaller and longer-lived ones and never go back. What is read at once is below it: fresh
pages for each read would cost more than the read."""

TOP_BYTES: Final = 2 * limits.MIB
"""Kept at the end of the heap: the pieces of a few reads come and go there."""

GC_THRESHOLDS: Final = (5_000, 20, 20)
"""When the garbage collector looks for cycles (see `gc`). A request makes hundreds of objects and
few cycles; Python's own 700 have it look after every other request."""


def give_back_freed_memory() -> None:
    """Make large pieces leave the process when they are freed. Only glibc knows how; others stay as
    they are."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, OWN_MAPPING_MIN_BYTES)
        mallopt(_M_TRIM_THRESHOLD, TOP_BYTES)


def spare_what_is_there() -> None:
    """Keep the garbage collector from what has been loaded so far, for ever.

    The libraries are a hundred thousand objects that stay. To look through them takes longer than
    most requests, again and again, and nothing else happens meanwhile.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


def open_as_many_files_as_allowed() -> None:
    """Raise the soft limit on open files, which is 1,024 on most systems, to the hard one: a
    download takes two."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(
        ValueError, OSError
    ):  # where the hard one is "unlimited", but more than there are
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
