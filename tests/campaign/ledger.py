"""What an upload may hold, given everything its clients sent and everything they were told.

Whether a request whose answer was lost wrote anything cannot be known from outside. So the ledger
keeps every content the upload can have: each is a row of runs, "these bytes come from that variant
of the body". What is observed later (an offset, an answer) narrows the set; when nothing is left,
the server did what no order of those requests explains.

A PATCH writes only if the upload's offset is the one it names. So a content grows only by a chain
of writers, each of which starts exactly where the chain has got to.

Only when Redis lost its data there is one way more: what S3 has in a row of whole parts counts,
whoever stored them. Parts behind one that failed were stored, too; so then a writer may also go on
from any boundary between its parts.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from tests.support.bodies import PART_BYTES

Run = tuple[int, int, int]
"""First offset, end, variant of the body."""

Content = tuple[Run, ...]
"""Runs in a row from offset 0; neighbours are of different variants."""


class Violation(AssertionError):
    """The server broke a promise."""


_numbers = itertools.count()


@dataclass(frozen=True, slots=True)
class Writer:
    """A request that may have written bytes `start` to, at most, `end` of one variant. `number`
    tells it from others that are alike."""

    start: int
    end: int
    variant: int
    number: int = field(default_factory=_numbers.__next__)


@dataclass(slots=True)
class Ledger:
    """The model of one upload's bytes.

    acknowledged: the server may not fall below this offset. floors: what each loss of Redis's data
    left of that.
    """

    acknowledged: int = 0
    floors: list[int] = field(default_factory=list)
    possible: set[Content] = field(default_factory=lambda: {()})
    _writers: set[Writer] = field(default_factory=set)
    _rewound_to: int = 0

    @property
    def losses(self) -> int:
        """How often Redis lost data so far."""
        return len(self.floors)

    @property
    def sent_end(self) -> int:
        """No offset can be beyond this."""
        return max([writer.end for writer in self._writers], default=self.acknowledged)

    def send(self, writer: Writer) -> None:
        """A request that may write goes out."""
        self._writers.add(writer)

    def refused(self, writer: Writer) -> None:
        """The server said that it took nothing of this request."""
        self._writers.discard(writer)

    def lose(self, floor: int) -> None:
        """Redis lost data; S3 holds the upload's first `floor` bytes in whole parts."""
        self.floors.append(floor)
        self._fall_back(floor)

    def observe(self, offset: int, *, told_before: int, losses_before: int) -> None:
        """The server said that this is the upload's offset.

        told_before, losses_before: `acknowledged` and `losses` when the request went out.
        """
        floor = min([told_before, *self.floors[losses_before:]])
        if offset < floor:
            raise Violation(f"the offset is {offset}, but {floor} bytes were acknowledged")
        if self.losses > losses_before or offset >= self.acknowledged:
            self._settle(offset)
        self.acknowledged = max(self.acknowledged, offset)
        if self.losses == losses_before:
            self._rewound_to = self.acknowledged
        else:  # whether the answer came before the loss or after it is not known
            self._fall_back(min(self.floors[losses_before:]))

    def acknowledge(self, writer: Writer, offset: int, *, losses_before: int) -> None:
        """The server said that it took the request's bytes up to `offset`."""
        self.observe(offset, told_before=writer.start, losses_before=losses_before)
        if self.losses > losses_before:
            return
        kept = {one for one in self.possible if _is_of(one, writer.start, offset, writer.variant)}
        if not kept:
            raise Violation(
                f"bytes {writer.start} to {offset} of variant {writer.variant} were acknowledged,"
                f" but the upload can only hold {sorted(self.possible)}"
            )
        self.possible = kept

    def bodies(self, length: int, variant: Callable[[int], bytes]) -> Iterable[bytes]:
        """Every object of `length` bytes that the upload can become."""
        for content in self._reached(length):
            yield b"".join(variant(which)[start:end] for start, end, which in content)

    def _reached(self, offset: int) -> set[Content]:
        writers = set(self._writers)
        if self.floors:
            writers |= {one for writer in self._writers for one in _from_boundaries(writer)}
        return _reached(self.possible, writers, offset, self._rewound_to)

    def _fall_back(self, floor: int) -> None:
        self.acknowledged = min(self.acknowledged, floor)
        # A tail may be gone, and whole parts of its range be in S3, whoever stored them.
        self._rewound_to = min(self._rewound_to // PART_BYTES * PART_BYTES, floor)

    def _settle(self, offset: int) -> None:
        reached = self._reached(offset)
        if not reached:
            raise Violation(
                f"the offset is {offset}, which no order of the requests explains:"
                f" {sorted(self.possible)} and {sorted(self._writers, key=repr)}"
            )
        # After a loss, what was known before may be true again: an older copy is behind, not gone.
        self.possible = reached


def _reached(
    contents: set[Content], writers: set[Writer], offset: int, rewound_to: int
) -> set[Content]:
    """Every content of `offset` bytes that one of `contents` can have become.

    rewound_to: how far back the upload may have fallen before writers went on.
    """
    stops = {writer.start for writer in writers if writer.start < offset} | {offset}
    seen, waiting = set(contents), list(contents)
    while waiting:
        content = waiting.pop()
        size = _size(content)
        low = min(rewound_to, size)
        for writer in writers:
            if not low <= writer.start <= size:
                continue
            before = _cut(content, writer.start)
            for stop in stops:
                if writer.start < stop <= writer.end:
                    grown = _joined(before, (writer.start, stop, writer.variant))
                    if grown not in seen:
                        seen.add(grown)
                        waiting.append(grown)
    return {_cut(content, offset) for content in seen if _size(content) >= offset}


def _from_boundaries(writer: Writer) -> Iterable[Writer]:
    first = -(-(writer.start + 1) // PART_BYTES) * PART_BYTES
    for boundary in range(first, writer.end, PART_BYTES):
        yield Writer(boundary, writer.end, writer.variant, writer.number)


def _size(content: Content) -> int:
    return content[-1][1] if content else 0


def _cut(content: Content, end: int) -> Content:
    return tuple((a, min(b, end), which) for a, b, which in content if a < end)


def _joined(content: Content, run: Run) -> Content:
    if content and content[-1][2] == run[2]:
        return (*content[:-1], (content[-1][0], run[1], run[2]))
    return (*content, run)


def _is_of(content: Content, start: int, end: int, variant: int) -> bool:
    return all(which == variant for a, b, which in content if a < end and b > start)
