"""How pieces become parts: every byte once, every part as S3 takes it, few bytes through us."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tusd_s3 import limits
from tusd_s3.errors import UploadTooLarge
from tusd_s3.limits import GIB, MIB
from tusd_s3.planner.choose import LayoutPolicy
from tusd_s3.planner.join import JoinedPart, JoinPlan, Source, choose_plan, equal_plan

P = limits.S3_PART_SIZE_MIN_BYTES
AT_BOUNDARIES = [0, 1, P - 1, P, P + 1, 2 * P - 1, 2 * P, 2 * P + 1, 3 * P + 7]
SIZES = st.sampled_from(AT_BOUNDARIES) | st.integers(0, 4 * P)
HUGE = SIZES | st.integers(0, 40 * GIB)
TAIL = SIZES | st.integers(0, limits.PART_SIZE_MAX_BYTES)
SOURCES = st.lists(
    st.builds(Source, HUGE, st.just(True)) | st.builds(Source, TAIL, st.just(False)),
    min_size=1,
    max_size=12,
)
POLICIES = st.builds(
    LayoutPolicy,
    st.sampled_from([P, 8 * MIB, 64 * MIB]),
    st.sampled_from([1000, 10_000]),
    st.booleans(),
)


def tails(*lengths: int) -> list[Source]:
    return [Source(length, False) for length in lengths]


def objects(*lengths: int) -> list[Source]:
    return [Source(length, True) for length in lengths]


def fits(sources: Sequence[Source], policy: LayoutPolicy) -> bool:
    """What is longer than any upload may be is refused before anything is planned."""
    total = sum(source.length for source in sources)
    return total <= policy.parts_max * limits.PART_SIZE_MAX_BYTES


def assert_covers(sources: Sequence[Source], parts: Sequence[JoinedPart]) -> None:
    """Every byte once, in order; parts are numbered in a row."""
    assert [part.number for part in parts] == list(range(1, len(parts) + 1))
    index, start = 0, 0
    for piece in (piece for part in parts for piece in part.pieces):
        while start == sources[index].length:
            index, start = index + 1, 0
        assert (piece.index, piece.start) == (index, start)
        assert piece.size > 0
        start += piece.size
        assert start <= sources[index].length
    assert sum(part.size for part in parts) == sum(source.length for source in sources)


def assert_s3_takes(parts: Sequence[JoinedPart], policy: LayoutPolicy) -> None:
    assert len(parts) <= policy.parts_max
    assert all(part.size >= limits.S3_PART_SIZE_MIN_BYTES for part in parts[:-1])
    assert all(part.size <= limits.S3_PART_SIZE_MAX_BYTES for part in parts)


def streamed_of_objects(sources: Sequence[Source], parts: Sequence[JoinedPart]) -> int:
    """Bytes of objects that do not stay in S3."""
    return sum(
        piece.size
        for part in parts
        if not part.may_copy
        for piece in part.pieces
        if sources[piece.index].is_object
    )


@given(SOURCES, POLICIES, st.booleans())
def test_line_24_every_plan_covers_every_byte_once_in_parts_that_s3_takes(
    sources: list[Source], policy: LayoutPolicy, can_copy: bool
) -> None:
    assume(fits(sources, policy))
    plan = choose_plan(sources, policy, can_copy=can_copy)
    parts = plan.parts(sources)
    assert_covers(sources, parts)
    assert_s3_takes(parts, policy)
    assert JoinPlan.parse(plan.dump()) == plan
    for part in parts:
        copied = part.may_copy and (can_copy or not plan.is_equal)
        assert copied or part.size <= limits.PART_SIZE_MAX_BYTES, "it is held in memory"


@given(st.lists(HUGE, min_size=1, max_size=20), POLICIES)
def test_line_24_at_most_5_mib_for_each_boundary_pass_through_the_server(
    lengths: list[int], policy: LayoutPolicy
) -> None:
    sources = objects(*lengths)
    assume(fits(sources, policy))
    plan = choose_plan(sources, policy, can_copy=True)
    boundaries = max(0, sum(length > 0 for length in lengths) - 1)
    if not plan.is_equal:
        assert streamed_of_objects(sources, plan.parts(sources)) <= boundaries * 5 * MIB


@given(SOURCES)
def test_line_24_tails_join_without_drawing_more_than_they_need_from_objects(
    sources: list[Source],
) -> None:
    parts = JoinPlan(P, limits.COPY_SIZE_BYTES).parts(sources)
    meetings = sum(len(part.pieces) > 1 for part in parts)
    alone = [part for part in parts if len(part.pieces) == 1 and not part.may_copy]
    assert streamed_of_objects(sources, parts) <= meetings * P
    assert all(not sources[part.pieces[0].index].is_object for part in alone)


@pytest.mark.parametrize("kinds", list(product([False, True], repeat=3)))
def test_line_24_the_short_part_is_the_last_one_only(kinds: tuple[bool, ...]) -> None:
    for lengths in product(AT_BOUNDARIES, repeat=3):
        sources = [Source(length, kind) for length, kind in zip(lengths, kinds, strict=True)]
        parts = JoinPlan(P, 2 * P).parts(sources)
        assert_covers(sources, parts)
        assert all(part.size >= P for part in parts[:-1])
        assert all(part.size <= 2 * P for part in parts)


@given(SOURCES, POLICIES)
def test_line_24_equal_parts_have_one_size_but_for_the_last(
    sources: list[Source], policy: LayoutPolicy
) -> None:
    assume(fits(sources, policy))
    plan = equal_plan(sources, policy)
    parts = plan.parts(sources)
    assert {part.size for part in parts[:-1]} <= {plan.part_bytes}
    assert all(0 < part.size <= plan.part_bytes for part in parts[-1:])


def shapes(sources: Sequence[Source], plan: JoinPlan) -> list[tuple[int, bool]]:
    return [(part.size, part.may_copy) for part in plan.parts(sources)]


def test_whole_objects_are_copied_and_nothing_else_happens() -> None:
    plan = JoinPlan(P, limits.COPY_SIZE_BYTES)
    assert shapes(objects(2 * P, P, 3 * P + 1), plan) == [
        (2 * P, True),
        (P, True),
        (3 * P + 1, True),
    ]


def test_a_short_piece_takes_the_beginning_of_the_next() -> None:
    plan = JoinPlan(P, limits.COPY_SIZE_BYTES)
    assert shapes([*tails(3), *objects(2 * P)], plan) == [(P, False), (P + 3, True)]
    assert shapes([*objects(2 * P), *tails(3)], plan) == [(2 * P, True), (3, False)]
    # What that leaves of it may be short itself.
    assert shapes([*tails(3), *objects(P), *objects(P)], plan) == [
        (P, False),
        (P, False),
        (3, True),
    ]


def test_a_long_object_is_copied_in_ranges_of_almost_equal_size() -> None:
    plan = JoinPlan(P, limits.S3_PART_SIZE_MAX_BYTES)
    parts = shapes(objects(12 * GIB + 1), plan)
    assert len(parts) == 3
    assert all(size >= 4 * GIB and is_copied for size, is_copied in parts)


def test_copies_get_longer_where_there_would_be_too_many() -> None:
    sources = objects(100 * GIB)
    plan = choose_plan(sources, LayoutPolicy(P), can_copy=True)
    assert plan.copy_bytes == limits.COPY_SIZE_BYTES
    narrow = choose_plan(sources, LayoutPolicy(P, parts_max=1000), can_copy=True)
    assert narrow == plan  # 400 copies
    sources = objects(*[10 * GIB] * 11)
    narrower = choose_plan(sources, LayoutPolicy(P, parts_max=900), can_copy=True)
    assert narrower.copy_bytes == limits.COPY_SIZE_BYTES
    with pytest.raises(UploadTooLarge):  # beyond what equal parts could hold as well
        choose_plan(sources, LayoutPolicy(P, parts_max=10), can_copy=True)


@given(st.integers(11, 400), st.integers(1, 3000))
def test_copies_are_as_long_as_the_number_of_parts_demands(parts_max: int, copies: int) -> None:
    length = min(copies * 64 * MIB, parts_max * limits.PART_SIZE_MAX_BYTES)
    plan = choose_plan(objects(length), LayoutPolicy(P, parts_max=parts_max), can_copy=True)
    assert len(plan.parts(objects(length))) <= parts_max
    if plan.copy_bytes > limits.COPY_SIZE_BYTES:
        assert -(-length // (plan.copy_bytes // 2)) > parts_max


def test_very_many_short_pieces_become_equal_parts() -> None:
    sources = objects(*[P + 1] * 200)
    policy = LayoutPolicy(P, parts_max=100)
    plan = choose_plan(sources, policy, can_copy=True)
    assert plan.is_equal
    assert len(plan.parts(sources)) <= 100


@pytest.mark.parametrize(
    "text", ["", "5242880", "a/b", "1/0", f"{P}/{P}", f"{P}/{6 * GIB}", "1/2/3"]
)
def test_what_is_no_plan_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - of whatever kind, it must not be guessed at
        JoinPlan.parse(text)
