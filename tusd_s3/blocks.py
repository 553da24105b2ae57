"""Memory that bodies are kept in, used again and again.

Fresh memory is dear: the kernel clears each page of it when it is first touched, which costs more
than reading the bytes off the socket. The C library keeps what is freed, but chunks of all sizes
leave it so riddled with holes that a process takes twice what it holds. Blocks of one size have
neither fault: what one body gives back is what another takes.

A block is free again when the last view of it is gone, whoever held it: nobody has to say so, and
nobody can say so too early.
"""

from __future__ import annotations

import ctypes
import mmap
import weakref
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from tusd_s3 import limits

SPARE_BYTES: Final = 8 * limits.MIB
"""Kept as free blocks when none is in use, for clients that send one small body after another."""


SMALL_BLOCK_BYTES: Final = 64 * limits.KIB
"""What a body is given that sends little at once."""

LARGE_BLOCK_BYTES: Final = limits.MIB
"""What a fast body is read straight into: a read costs much the same however long it is. A block in
which two parts meet outlives the first one: bodies may have a sixteenth of the budget in these."""


class Blocks:
    """The blocks of one size. Of those that are free it keeps as many as are in use, and
    `SPARE_BYTES`, as long as there is room for them.

    size: bytes of a block. room: bytes that blocks which nobody uses may take now.
    """

    def __init__(self, size: int, room: Callable[[], int]) -> None:
        self.size = size
        self._room = room
        self._free: list[mmap.mmap] = []
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
        block = self._free.pop() if self._free else self._map()
        use = self._use.from_buffer(block)
        end = weakref.ref(use, self._end_of_use)
        self._used[id(end)] = (end, block)
        return memoryview(use).cast("B")

    def trim(self) -> None:
        """Give back to the system what may not be kept."""
        kept = min(len(self._used) * self.size + SPARE_BYTES, self._room())
        del self._free[max(0, kept // self.size) :]

    def _end_of_use(self, end: weakref.ref[object]) -> None:
        self._free.append(self._used.pop(id(end))[1])
        self.trim()

    def _map(self) -> mmap.mmap:
        # Private: shared memory, the default, is dearer still and counts as something else.
        return mmap.mmap(-1, self.size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


def blocks_sharing(room: Callable[[], int], sizes: Sequence[int]) -> list[Blocks]:
    """Blocks of several sizes. room: bytes that those of them which nobody uses may take in all."""

    def left_for(size: int) -> int:
        return room() - sum(blocks.free_bytes for blocks in all_blocks if blocks.size != size)

    all_blocks = [Blocks(size, partial(left_for, size)) for size in sizes]
    return all_blocks
