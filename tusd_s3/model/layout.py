"""Which bytes a part holds.

The layout of an upload is fixed before its first part is sent, and from then on part k is the same
byte range, whoever sends it and however often. Everything that makes recovery simple rests on
this: a stored part of its full size *is* its byte range; a part sent twice covers the same bytes;
the offset is a function of how many parts are stored in a row.

Two shapes suffice. `uniform`: all parts are equal (what R2 demands of every upload). `doubling`:
the size doubles after every so many parts, for uploads whose length is not known yet.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from tusd_s3 import limits


@dataclass(frozen=True, slots=True)
class PartLayout:
    """Byte ranges of parts 1..`parts_max`.

    first_size_bytes: size of part 1 (5 MiB to `limits.PART_SIZE_MAX_BYTES`).
    parts_per_size: after this many parts the size doubles, up to `limits.PART_SIZE_MAX_BYTES`;
        0 means that all parts are equal.
    parts_max: how many parts there may be (1 to `limits.S3_PARTS_MAX`).
    Raises ValueError for values outside these bounds.
    """

    first_size_bytes: int
    parts_per_size: int = 0
    parts_max: int = limits.S3_PARTS_MAX

    def __post_init__(self) -> None:
        low, high = limits.S3_PART_SIZE_MIN_BYTES, limits.PART_SIZE_MAX_BYTES
        if not low <= self.first_size_bytes <= high:
            raise ValueError(f"first_size_bytes must be in {low}..{high}")
        if self.parts_per_size < 0:
            raise ValueError("parts_per_size must not be negative")
        if not 1 <= self.parts_max <= limits.S3_PARTS_MAX:
            raise ValueError(f"parts_max must be in 1..{limits.S3_PARTS_MAX}")

    def size_of(self, number: int) -> int:
        """Full size in bytes of part `number` (1-based)."""
        if self.parts_per_size == 0:
            return self.first_size_bytes
        # Bounded shift: the size stops growing long before the exponent does.
        doublings = min((number - 1) // self.parts_per_size, 32)
        return min(self.first_size_bytes << doublings, limits.PART_SIZE_MAX_BYTES)

    def start_of(self, number: int) -> int:
        """Offset in bytes of the first byte of part `number`; also the sum of all parts before."""
        before = number - 1
        if self.parts_per_size == 0:
            return before * self.first_size_bytes
        total, part = 0, 1
        while before > 0:
            size = self.size_of(part)
            if size == limits.PART_SIZE_MAX_BYTES:
                return total + before * size
            run = min(before, self.parts_per_size)
            total += run * size
            before -= run
            part += run
        return total

    @property
    def capacity_bytes(self) -> int:
        """Length of the longest upload this layout can hold."""
        return self.start_of(self.parts_max + 1)

    def dump(self) -> str:
        """As text, for the record: `first_size/parts_per_size/parts_max`."""
        return f"{self.first_size_bytes}/{self.parts_per_size}/{self.parts_max}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Inverse of `dump`. Raises ValueError for anything else."""
        first, per_size, parts_max = text.split("/")
        return cls(int(first), int(per_size), int(parts_max))
