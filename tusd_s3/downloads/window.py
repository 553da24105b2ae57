"""How much of a download is in memory: a window, as wide as its reader is fast.

A window is what is read of the store at once; it is read again only when the client's kernel has
taken all of it. So it bounds what a download holds, and its width costs nothing but calls: while
bytes wait, the kernels on both sides go on filling and emptying their own buffers. A reader at
10 KB/s takes as long for the narrowest as it may take; 500 of them hold 4 MiB.
"""

from __future__ import annotations

from typing import Final

from tusd_s3 import limits
from tusd_s3.blocks import SMALL_BLOCK_BYTES
from tusd_s3.budget import READ_MAX_BYTES, MemoryBudget

WIDTHS_BYTES: Final = (8 * limits.KIB, SMALL_BLOCK_BYTES, READ_MAX_BYTES)
"""The widest costs the fewest calls; wider ones fall out of the processor's cache."""

SLOW_S: Final = 0.25
"""A window that the client took so long for becomes narrower: at less than 256 KB/s a wide one
would lie about for more than a quarter of a second."""

_FAST_IN_A_ROW: Final = 4
"""Windows taken at once, before the next one is wider: a burst into an empty buffer says little."""


class Window:
    """Of one download; charged to the budget until `close`."""

    def __init__(self, budget: MemoryBudget) -> None:
        self._budget = budget
        self._gear = 0
        self._fast = 0
        self._charged = WIDTHS_BYTES[0]
        budget.hold(self._charged)
        self._room = memoryview(bytearray(WIDTHS_BYTES[0]))
        self._widen()

    @property
    def room(self) -> memoryview:
        """Where to read to. Of any content; of another size after `taken`."""
        return self._room

    def charge(self, size: int) -> None:
        """The download holds `size` bytes besides."""
        self._charged += size
        self._budget.hold(size)

    def taken(self, *, within_s: float, is_full: bool) -> None:
        """The client has all that was in the window. within_s: how long that took since it was
        written. is_full: whether the window was."""
        if within_s >= SLOW_S:
            self._fast = 0
            self._shift(max(0, self._gear - 1))
        elif is_full:
            self._fast += 1
            if self._fast >= _FAST_IN_A_ROW:
                self._fast = 0
                self._widen()

    def close(self) -> None:
        """Nothing is held any more."""
        self._room = memoryview(b"")
        self._budget.narrow(self._charged)
        self._charged = 0

    def _widen(self) -> None:
        gear = min(self._gear + 1, len(WIDTHS_BYTES) - 1)
        if gear != self._gear and self._budget.widen(WIDTHS_BYTES[gear] - WIDTHS_BYTES[self._gear]):
            self._charged += WIDTHS_BYTES[gear] - WIDTHS_BYTES[self._gear]
            self._become(gear)

    def _shift(self, gear: int) -> None:
        """To a narrower one."""
        spared = WIDTHS_BYTES[self._gear] - WIDTHS_BYTES[gear]
        if spared:
            self._become(gear)
            self._charged -= spared
            self._budget.narrow(spared)

    def _become(self, gear: int) -> None:
        self._gear = gear
        blocks = (None, self._budget.small_blocks, self._budget.blocks)[gear]
        self._room = memoryview(bytearray(WIDTHS_BYTES[0])) if blocks is None else blocks.take()
