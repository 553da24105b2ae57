"""The part layout: which bytes a part holds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tusd_s3 import limits
from tusd_s3.model.layout import PartLayout

MIB = limits.MIB

layouts = st.builds(
    PartLayout,
    first_size_bytes=st.integers(limits.S3_PART_SIZE_MIN_BYTES, limits.PART_SIZE_MAX_BYTES),
    parts_per_size=st.integers(0, 2000),
    parts_max=st.integers(1, limits.S3_PARTS_MAX),
)


@given(layouts, st.integers(1, limits.S3_PARTS_MAX))
def test_a_part_begins_where_the_one_before_it_ends(layout: PartLayout, number: int) -> None:
    assert layout.start_of(1) == 0
    assert layout.start_of(number + 1) == layout.start_of(number) + layout.size_of(number)


@given(layouts, st.integers(1, limits.S3_PARTS_MAX - 1))
def test_sizes_never_shrink_and_stay_within_the_limits(layout: PartLayout, number: int) -> None:
    assert layout.size_of(number) <= layout.size_of(number + 1) <= limits.PART_SIZE_MAX_BYTES
    assert layout.size_of(number) >= limits.S3_PART_SIZE_MIN_BYTES


@given(layouts)
def test_dump_and_parse_are_inverses(layout: PartLayout) -> None:
    assert PartLayout.parse(layout.dump()) == layout


def test_a_uniform_layout_has_equal_parts() -> None:
    layout = PartLayout(5 * MIB)
    assert {layout.size_of(number) for number in (1, 2, 9_999, 10_000)} == {5 * MIB}
    assert layout.capacity_bytes == 10_000 * 5 * MIB


def test_a_doubling_layout_doubles_after_every_run_and_stops_at_the_largest_size() -> None:
    layout = PartLayout(5 * MIB, parts_per_size=1000)
    assert [layout.size_of(n) // MIB for n in (1, 1000, 1001, 2000, 2001, 4001, 5001, 10_000)] == [
        5, 5, 10, 10, 20, 80, 128, 128,
    ]  # fmt: skip
    assert layout.capacity_bytes == 1000 * (5 + 10 + 20 + 40 + 80) * MIB + 5000 * 128 * MIB


@pytest.mark.parametrize(
    ("first", "per_size", "parts_max"),
    [
        (limits.S3_PART_SIZE_MIN_BYTES - 1, 0, 1),
        (limits.PART_SIZE_MAX_BYTES + 1, 0, 1),
        (5 * MIB, -1, 1),
        (5 * MIB, 0, 0),
        (5 * MIB, 0, limits.S3_PARTS_MAX + 1),
    ],
)
def test_values_outside_the_limits_are_refused(first: int, per_size: int, parts_max: int) -> None:
    with pytest.raises(ValueError, match="must"):
        PartLayout(first, per_size, parts_max)


@pytest.mark.parametrize("text", ["", "5242880", "5242880/0", "a/b/c", "1/0/1", "5242880/0/1/2"])
def test_text_that_is_no_layout_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - of whatever kind, it must not be guessed at
        PartLayout.parse(text)
