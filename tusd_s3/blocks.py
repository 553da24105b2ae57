"""Memory that bodies are kept in, used again and again.

Fresh memory is dear: the kernel clears each page of it when it is first touched, which costs more
than reading the bytes off the socket. The C library keeps what is freed, but chunks of all sizes
leave it so riddled with holes that a process takes twice what it holds. Blocks of one size have
neither fault: what one body gives back is what another takes, also the first one of the next burst.
What nobody needed for a while goes back to the system.

A block is free again when the last view of it is gone, whoever held it: nobody has to say so, and
nobody can say so too early.
"""

from __future__ import annotations

import ctypes
import itertools
import mmap
import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

from tusd_s3 import limits

SPARE_BYTES: Final = 8 * limits.MIB
"""Kept of each size when none is needed, for clients that send one small body after another."""

TIDY_BYTES: Final = 4 * limits.MIB
"""Given back at once, at most, of each size: the system takes half a millisecond for it."""

SMALL_BLOCK_BYTES: Final = 64 * limits.KIB
"""What a body is given that sends little at once."""

LARGE_BLOCK_BYTES: Final = limits.MIB
"""What a fast body is read straight into: a read costs much the same however long it is. A block in
which two parts meet outlives the first one: bodies may have a sixteenth of the budget in these."""


class Stock:
    """Blocks of several sizes, from the smallest on, and the room for those that nobody uses.

    room: bytes that these may take now. free_bytes: what they take.
    """

    def __init__(self, room: Callable[[], int], sizes: Sequence[int]) -> None:
        self._room = room
        self.free_bytes = 0
        self.kinds = [Blocks(size, self) for size in sizes]

    def fit(self) -> None:
        """Give back to the system what there is no room for, of the largest first."""
        excess = self.free_bytes - max(0, self._room())
        for blocks in reversed(self.kinds):
            if excess <= 0:
                return
            excess -= blocks.give_back(-(-excess // blocks.size))

    def tidy(self, unused_since_s: float) -> bool:
        """Give back some of what has been free since then, except for `SPARE_BYTES` of each size;
        whether there will be more to give back. unused_since_s: on the clock of `time.monotonic`.
        """
        for blocks in self.kinds:
            blocks.give_back(min(blocks.count_unused(unused_since_s), TIDY_BYTES // blocks.size))
        return any(blocks.used_count or blocks.free_bytes > SPARE_BYTES for blocks in self.kinds)


class Blocks:
    """The blocks of one size, in bytes. Those that are free are kept until the stock gives them
    back."""

    def __init__(self, size: int, stock: Stock) -> None:
        self.size = size
        self._stock = stock
        # Since when they are. The last one is taken first: it is the likeliest to be in a cache.
        self._free: deque[tuple[float, mmap.mmap]] = deque()
        self._used: dict[int, tuple[weakref.ref[object], mmap.mmap]] = {}
        # By the id of the reference, which lives as long as it stands here. What it refers to has
        # no hash.
        self._use: Any = type("_Use", (ctypes.c_char * size,), {})
        # What the views of a block refer to; its end is the end of the last of them.

    @property
    def used_count(self) -> int:
        """Blocks that somebody has a view of."""
        return len(self._used)

    @property
    def free_bytes(self) -> int:
        """Memory that waits to be used again."""
        return len(self._free) * self.size

    def take(self) -> memoryview:
        """A writable view of a whole block, of any content."""
        block = self._pop() if self._free else self._map()
        use = self._use.from_buffer(block)
        end = weakref.ref(use, self._end_of_use)
        self._used[id(end)] = (end, block)
        return memoryview(use).cast("B")

    def give_back(self, count: int) -> int:
        """Give so many of the free ones, or all, back to the system: those that have been free for
        longest. How many bytes that were."""
        given = min(count, len(self._free))
        for _ in range(given):
            self._free.popleft()
        self._stock.free_bytes -= given * self.size
        return given * self.size

    def count_unused(self, since_s: float) -> int:
        """How many have been free since then, beside `SPARE_BYTES`."""
        beyond = len(self._free) - SPARE_BYTES // self.size
        unused = itertools.takewhile(lambda free: free[0] < since_s, self._free)
        return sum(1 for _ in itertools.islice(unused, max(0, beyond)))

    def _pop(self) -> mmap.mmap:
        self._stock.free_bytes -= self.size
        return self._free.pop()[1]

    def _map(self) -> mmap.mmap:
        self._stock.fit()
        # Private: shared memory, the default, is dearer still and counts as something else.
        return mmap.mmap(-1, self.size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)

    def _end_of_use(self, end: weakref.ref[object]) -> None:
        self._free.append((time.monotonic(), self._used.pop(id(end))[1]))
        self._stock.free_bytes += self.size
