"""Cuts a body into parts.

The cutter knows the layout, how many parts are stored, and how long the tail is. It is fed chunks
and says which parts became full; what is short of a part it keeps as *fresh* chunks, until they
are taken into the tail or become part of the next part. It does not join or copy chunks, but for
tiny ones: only the one chunk that spans a boundary is split.

Three lengths describe the part being filled:

    |<-- tail (durable) -->|<-- fresh (memory) -->|<-- missing -->|
    part's start                                        part's end

However a body is chunked, the same parts and the same rest come out.

An upload that fits one part is never cut: it becomes one PutObject, which is one S3 call instead
of four.
"""

from __future__ import annotations

from dataclasses import dataclass

from tusd_s3 import limits
from tusd_s3.model.chunk import Chunk
from tusd_s3.model.layout import PartLayout

_SMALL_BYTES = 4 * limits.KIB
"""A chunk below this costs more as an object of its own than to copy: a client that sends single
bytes would take a hundred times their memory."""

_RUN_BYTES = 64 * limits.KIB
"""Small chunks are put together up to this: what is copied for each of them is bounded."""


@dataclass(frozen=True, slots=True)
class PlannedPart:
    """A part that is ready to be sent: the tail's `tail_bytes` bytes, then `chunks`.

    number: S3 part number (1-based). size: bytes in all.
    """

    number: int
    tail_bytes: int
    chunks: tuple[Chunk, ...]
    size: int

    @property
    def fresh_bytes(self) -> int:
        """Length of `chunks`."""
        return self.size - self.tail_bytes


class PartCutter:
    """Chunks in, full parts out.

    parts: parts stored so far. tail_bytes: durable bytes after them.
    length: the upload's total in bytes, None while deferred.
    """

    def __init__(
        self, layout: PartLayout, *, parts: int, tail_bytes: int, length: int | None
    ) -> None:
        self._layout = layout
        self._number = parts + 1
        self._tail_bytes = tail_bytes
        self._fresh: list[Chunk] = []
        self._fresh_bytes = 0
        self._size = layout.size_of(self._number)
        self._single = length is not None and length <= layout.first_size_bytes

    @property
    def next_number(self) -> int:
        """Number of the part being filled."""
        return self._number

    @property
    def fresh_bytes(self) -> int:
        """Bytes of the part being filled that are only in memory."""
        return self._fresh_bytes

    @property
    def missing_bytes(self) -> int:
        """Bytes that are to come until that part is full."""
        return self._size - self._tail_bytes - self._fresh_bytes

    def feed(self, chunk: Chunk) -> list[PlannedPart]:
        """Take the next chunk (may be empty); the parts that are full now, in order.

        An empty chunk matters at the start: a tail may already hold a whole part.
        """
        if self._single:
            self._keep(chunk)
            return []
        planned: list[PlannedPart] = []
        missing = self.missing_bytes
        while len(chunk) >= missing:
            self._keep(chunk[:missing])
            chunk = chunk[missing:]
            planned.append(self._cut())
            missing = self.missing_bytes
        self._keep(chunk)
        return planned

    def take_tail(self) -> list[Chunk]:
        """The fresh chunks, which the caller makes durable as a continuation of the tail."""
        taken, self._fresh = self._fresh, []
        self._tail_bytes += self._fresh_bytes
        self._fresh_bytes = 0
        return taken

    def take_last(self) -> PlannedPart:
        """All that is left, as the last part: of the tail's bytes and of the fresh ones."""
        return self._cut()

    def _keep(self, chunk: Chunk) -> None:
        if not chunk:
            return
        self._fresh_bytes += len(chunk)
        if len(chunk) >= _SMALL_BYTES:
            self._fresh.append(chunk)
            return
        run = self._fresh[-1] if self._fresh else b""
        if isinstance(run, bytes) and 0 < len(run) < _RUN_BYTES:
            self._fresh[-1] = run + chunk
        else:
            self._fresh.append(bytes(chunk))

    def _cut(self) -> PlannedPart:
        part = PlannedPart(
            number=self._number,
            tail_bytes=self._tail_bytes,
            chunks=tuple(self._fresh),
            size=self._tail_bytes + self._fresh_bytes,
        )
        self._number += 1
        self._size = self._layout.size_of(self._number)
        self._tail_bytes = self._fresh_bytes = 0
        self._fresh = []
        return part
