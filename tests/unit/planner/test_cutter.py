"""The cutter: however a body is chunked, the same parts and the same rest come out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tusd_s3 import limits
from tusd_s3.model.layout import PartLayout
from tusd_s3.planner.cutter import PartCutter, PlannedPart

P = limits.S3_PART_SIZE_MIN_BYTES
LAYOUT = PartLayout(P)


@dataclass
class Outcome:
    """Parts (number, tail bytes taken, bytes from memory) and what is left in memory."""

    parts: list[tuple[int, int, bytes]] = field(default_factory=list)
    rest: bytes = b""


def cut(cutter: PartCutter, chunks: Iterable[bytes]) -> Outcome:
    outcome = Outcome()
    for chunk in (b"", *chunks):
        outcome.parts += [summary(part) for part in cutter.feed(chunk)]
    outcome.rest = b"".join(cutter.take_tail())
    return outcome


def summary(part: PlannedPart) -> tuple[int, int, bytes]:
    fresh = b"".join(part.chunks)
    assert part.size == part.tail_bytes + len(fresh)
    return part.number, part.tail_bytes, fresh


def chunked(body: bytes, cuts: Iterable[int]) -> list[bytes]:
    edges = [0, *sorted({cut for cut in cuts if 0 < cut < len(body)}), len(body)]
    return [body[low:high] for low, high in pairwise(edges)]


def body_of(size: int) -> bytes:
    """Bytes that differ from their neighbours a part away, so that a mix-up shows."""
    unit = bytes(range(251))
    return (unit * (size // len(unit) + 1))[:size]


@given(
    size=st.one_of(
        st.integers(0, 3 * P + 5),
        st.sampled_from([P - 1, P, P + 1, 2 * P - 1, 2 * P, 2 * P + 1, 3 * P]),
    ),
    tail=st.sampled_from([0, 1, P // 2, P - 1, P]),
    parts=st.sampled_from([0, 1, 7]),
    cuts=st.lists(
        st.one_of(st.integers(0, 3 * P), st.sampled_from([1, P - 1, P, P + 1, 2 * P])), max_size=8
    ),
)
def test_every_chunking_gives_the_same_parts_and_the_same_rest(
    size: int, tail: int, parts: int, cuts: list[int]
) -> None:
    body = body_of(size)

    def fresh_cutter() -> PartCutter:
        return PartCutter(LAYOUT, parts=parts, tail_bytes=tail, length=None)

    whole = cut(fresh_cutter(), [body])
    assert cut(fresh_cutter(), chunked(body, cuts)) == whole
    # And what comes out is the body, in order, in full parts.
    assert b"".join(fresh for _, _, fresh in whole.parts) + whole.rest == body
    assert [number for number, _, _ in whole.parts] == [
        parts + 1 + index for index in range((tail + size) // P)
    ]
    assert all(taken + len(fresh) == P for _, taken, fresh in whole.parts)
    assert [taken for _, taken, _ in whole.parts[:1]] == [tail][: len(whole.parts)]


def test_every_split_point_of_a_small_window_around_a_boundary() -> None:
    body = body_of(P + 40)
    expected = cut(PartCutter(LAYOUT, parts=0, tail_bytes=20, length=None), [body])
    for split in range(P - 40, P + 1):
        cutter = PartCutter(LAYOUT, parts=0, tail_bytes=20, length=None)
        assert cut(cutter, [body[:split], body[split:]]) == expected


@pytest.mark.parametrize("length", [0, 1, P - 1, P])
def test_an_upload_that_fits_one_part_is_never_cut(length: int) -> None:
    cutter = PartCutter(LAYOUT, parts=0, tail_bytes=0, length=length)
    outcome = cut(cutter, [body_of(length)])
    assert outcome.parts == []
    assert len(outcome.rest) == length


def test_one_byte_more_is_cut() -> None:
    cutter = PartCutter(LAYOUT, parts=0, tail_bytes=0, length=P + 1)
    outcome = cut(cutter, [body_of(P + 1)])
    assert [number for number, _, _ in outcome.parts] == [1]
    assert len(outcome.rest) == 1


def test_a_tail_that_already_fills_a_part_is_sent_by_an_empty_chunk() -> None:
    cutter = PartCutter(LAYOUT, parts=3, tail_bytes=P, length=None)
    assert cutter.feed(b"") == [PlannedPart(number=4, tail_bytes=P, chunks=(), size=P)]
    assert cutter.feed(b"") == []


def test_fresh_bytes_taken_into_the_tail_are_part_of_the_next_part_but_not_of_memory() -> None:
    cutter = PartCutter(LAYOUT, parts=0, tail_bytes=0, length=None)
    cutter.feed(b"a" * 10)
    assert cutter.take_tail() == [b"a" * 10]
    assert cutter.fresh_bytes == 0
    [part] = cutter.feed(b"b" * (P - 10))
    assert (part.tail_bytes, part.size) == (10, P)


def test_the_last_part_is_what_is_left_of_tail_and_memory() -> None:
    cutter = PartCutter(LAYOUT, parts=2, tail_bytes=5, length=2 * P + 12)
    cutter.feed(b"seven b")
    last = cutter.take_last()
    assert (last.number, last.tail_bytes, last.chunks, last.size) == (3, 5, (b"seven b",), 12)
    assert cutter.take_last().size == 0


def test_chunks_are_neither_joined_nor_copied() -> None:
    cutter = PartCutter(LAYOUT, parts=0, tail_bytes=0, length=None)
    first, second = body_of(100), body_of(P - 100)
    cutter.feed(first)
    [part] = cutter.feed(second)
    assert part.chunks[0] is first
    assert part.chunks[1] is second


def test_parts_of_a_growing_layout_have_their_own_sizes() -> None:
    growing = PartLayout(P, parts_per_size=1)
    cutter = PartCutter(growing, parts=0, tail_bytes=0, length=None)
    parts = cutter.feed(body_of(7 * P + 3))
    assert [part.size for part in parts] == [P, 2 * P, 4 * P]
    assert sum(map(len, cutter.take_tail())) == 3
