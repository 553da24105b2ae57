"""What it costs to keep 1 GiB that comes in reads of 256 KiB: in fresh memory and in blocks.

    python -m benchmarks.micro.memory

The reads are copies out of one buffer; some are held at any time, as parts on their way are.
"""

from __future__ import annotations

import mmap
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from tusd_s3.blocks import Stock
from tusd_s3.limits import GIB, MIB

READ_BYTES: Final = 256 * 1024
HELD: Final = 32 * MIB // READ_BYTES
ROUNDS: Final = 3

_BUFFER: Final = memoryview(bytearray(READ_BYTES))


def in_fresh_memory() -> Callable[[], object]:
    """A mapping for each read."""

    def keep() -> object:
        memory = mmap.mmap(-1, READ_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        memory[:] = _BUFFER
        return memory

    return keep


def in_blocks() -> Callable[[], object]:
    """A block for each read."""
    blocks = Stock(lambda: GIB, [READ_BYTES]).kinds[0]

    def keep() -> object:
        block = blocks.take()
        block[:] = _BUFFER
        return block.toreadonly()

    return keep


def cpu_s(keep: Callable[[], object]) -> float:
    """CPU seconds for 1 GiB."""
    held: deque[object] = deque(maxlen=HELD)
    began_s = time.process_time()
    for _ in range(GIB // READ_BYTES):
        held.append(keep())
    return time.process_time() - began_s


def main() -> None:
    """Print the best of some rounds of each, taken in turns."""
    ways = {"fresh memory": in_fresh_memory(), "blocks": in_blocks()}
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(ROUNDS):
        for name, keep in ways.items():
            best[name] = min(best[name], cpu_s(keep))
    for name, seconds in best.items():
        print(f"{name:12}  {seconds:.2f} CPU-s/GiB  {seconds / best['blocks']:.1f} x")  # noqa: T201 - its purpose


if __name__ == "__main__":
    main()
