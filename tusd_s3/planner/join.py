"""How uploads are put together to one: which byte ranges become which parts.

S3 can copy a range of an object into a part by itself, which costs the server nothing. But no part
other than the last may be under 5 MiB, and pieces do not care. So where two pieces meet, one part
takes what is left of the first and the beginning of the second, through the server; everything
else is copied:

    piece A (object)         |B|   piece C (object)
    [copy][copy.......][5 MiB through the server][copy............]

Only parts that hold a boundary pass through the server, and they have 5 MiB: so at most 5 MiB per
boundary, whatever the sizes. Pieces that are no objects yet (tails) pass through it anyway.

Where the store wants equal parts, or cannot copy, every part has one size. Those that lie within
one object may then still be copied, if the store can do that; their ranges are the same either
way, so that the choice can change in the middle.

The plan is a function of the pieces' lengths and of what `JoinPlan` says, which is recorded before
the first part is sent: as with every upload, part k is always the same byte range.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

from tusd_s3 import limits
from tusd_s3.planner.choose import LayoutPolicy

_LEAST = limits.S3_PART_SIZE_MIN_BYTES


@dataclass(frozen=True, slots=True)
class Source:
    """What is put together. length: in bytes. is_object: whether S3 has it as one object."""

    length: int
    is_object: bool


@dataclass(frozen=True, slots=True)
class Piece:
    """`size` bytes of the source at `index` in the sequence of sources, from byte `start` of it."""

    index: int
    start: int
    size: int


@dataclass(frozen=True, slots=True)
class JoinedPart:
    """One part of the whole. may_copy: whether it lies within one object."""

    number: int
    pieces: tuple[Piece, ...]
    may_copy: bool

    @property
    def size(self) -> int:
        """In bytes."""
        return sum(piece.size for piece in self.pieces)


@dataclass(frozen=True, slots=True)
class JoinPlan:
    """What, with the sources, decides every part.

    part_bytes: size of all parts but the last where parts are equal, else of those that pass
        through the server without touching an object.
    copy_bytes: the longest part that is copied; 0 for equal parts.
    Raises ValueError for sizes that S3 does not take, or that are not to be held in memory.
    """

    part_bytes: int
    copy_bytes: int = 0

    def __post_init__(self) -> None:
        if not _LEAST <= self.part_bytes <= limits.PART_SIZE_MAX_BYTES:
            raise ValueError("part_bytes must be a size of parts")
        if self.copy_bytes and not 2 * _LEAST <= self.copy_bytes <= limits.S3_PART_SIZE_MAX_BYTES:
            # Cut evenly, what is longer than a copy still makes parts of 5 MiB.
            raise ValueError("copy_bytes must be twice the least part, up to the largest")

    @property
    def is_equal(self) -> bool:
        """Whether all parts have one size."""
        return self.copy_bytes == 0

    def parts(self, sources: Sequence[Source]) -> list[JoinedPart]:
        """Every byte of the sources once and in order, cut into parts; none if there is none."""
        if self.is_equal:
            cut = _equal(sources, self.part_bytes)
        else:
            cut = _copied(sources, self.part_bytes, self.copy_bytes)
        return [
            JoinedPart(
                number=number,
                pieces=pieces,
                may_copy=len(pieces) == 1 and sources[pieces[0].index].is_object,
            )
            for number, pieces in enumerate(cut, start=1)
        ]

    def dump(self) -> str:
        """As text, for the record: `part/copy`."""
        return f"{self.part_bytes}/{self.copy_bytes}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Inverse of `dump`. Raises ValueError for anything else."""
        part, copy = text.split("/")
        return cls(int(part), int(copy))


def choose_plan(sources: Sequence[Source], policy: LayoutPolicy, *, can_copy: bool) -> JoinPlan:
    """The plan for these sources. can_copy: whether the store copies.

    Copies are short, so that they run side by side and none takes long, and as much longer as it
    takes to have no more parts than the store allows. Raises UploadTooLarge if no plan fits.
    """
    equal = equal_plan(sources, policy)
    if policy.equal_parts or not can_copy:
        return equal
    copy_bytes = limits.COPY_SIZE_BYTES
    while True:
        plan = JoinPlan(policy.part_size_bytes, copy_bytes)
        if len(plan.parts(sources)) <= policy.parts_max:
            return plan
        if copy_bytes == limits.S3_PART_SIZE_MAX_BYTES:
            return equal  # very many short pieces
        copy_bytes = min(2 * copy_bytes, limits.S3_PART_SIZE_MAX_BYTES)


def equal_plan(sources: Sequence[Source], policy: LayoutPolicy) -> JoinPlan:
    """The plan of equal parts, which every store takes. Raises UploadTooLarge if none fits."""
    total = sum(source.length for source in sources)
    return JoinPlan(policy.layout_for(total).first_size_bytes)


def _equal(sources: Sequence[Source], size: int) -> Iterator[tuple[Piece, ...]]:
    pending = _Pending()
    for index, source in enumerate(sources):
        start = 0
        while start < source.length:
            start += pending.take(index, start, min(source.length - start, size - pending.size))
            if pending.size == size:
                yield pending.flush()
    if pending.size:
        yield pending.flush()


def _copied(
    sources: Sequence[Source], part_bytes: int, copy_bytes: int
) -> Iterator[tuple[Piece, ...]]:
    pending = _Pending()
    last = max((index for index, source in enumerate(sources) if source.length), default=0)
    for index, source in enumerate(sources):
        start = 0
        while start < source.length:
            left = source.length - start
            if not source.is_object:
                start += pending.take(index, start, min(left, part_bytes - pending.size))
                if pending.size == part_bytes:
                    yield pending.flush()
            elif not pending.size and (left >= _LEAST or index == last):
                yield from _copies(index, start, left, copy_bytes)
                break
            else:
                # A short rest waits for the next piece's beginning, which fills it up.
                start += pending.take(index, start, min(left, max(0, _LEAST - pending.size)))
                if pending.size >= _LEAST:
                    yield pending.flush()
    if pending.size:
        yield pending.flush()


def _copies(index: int, start: int, size: int, most: int) -> Iterator[tuple[Piece, ...]]:
    """`size` bytes in as few copies as may be, of almost equal size: none is short."""
    count = -(-size // most)
    for number in range(count):
        begin, end = size * number // count, size * (number + 1) // count
        yield (Piece(index, start + begin, end - begin),)


class _Pending:
    """Pieces of a part that is not full yet."""

    def __init__(self) -> None:
        self._pieces: list[Piece] = []
        self.size = 0

    def take(self, index: int, start: int, size: int) -> int:
        """Add a piece; its size."""
        if size:
            self._pieces.append(Piece(index, start, size))
            self.size += size
        return size

    def flush(self) -> tuple[Piece, ...]:
        """The part, after which there is none."""
        pieces = tuple(self._pieces)
        self._pieces, self.size = [], 0
        return pieces
