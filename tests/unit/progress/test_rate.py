"""How fast an offset moves, by a clock that the test sets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tusd_s3.progress.rate import SAMPLES_MAX, SPAN_MIN_S, WINDOW_S, Rate

MOVES = st.lists(st.tuples(st.floats(0.01, 3), st.integers(-(10**9), 10**9)), max_size=80)


def rate_of(*samples: tuple[float, int]) -> int:
    rate = Rate()
    for at_s, offset in samples:
        rate.note(at_s, offset)
    return rate.bytes_per_s


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        ([], 0),
        ([(0, 100)], 0),
        ([(0, 0), (SPAN_MIN_S - 0.01, 100)], 0),
        ([(0, 0), (SPAN_MIN_S, 100)], 200),
        ([(0, 0), (1, 100), (2, 400)], 200),
    ],
)
def test_the_mean_once_there_is_enough_to_tell(
    samples: list[tuple[float, int]], expected: int
) -> None:
    assert rate_of(*samples) == expected


def test_what_is_older_than_the_window_does_not_count() -> None:
    fast = [(at_s, at_s * 1000) for at_s in range(10)]
    slow = [(10 + at_s, 9000 + at_s) for at_s in range(1, 10)]
    assert rate_of(*fast, *slow) == 1


def test_an_upload_that_stops_comes_to_nothing() -> None:
    assert rate_of((0, 0), (1, 1000), (1 + WINDOW_S, 1000)) == 0


def test_an_offset_that_goes_back_begins_a_new_count() -> None:
    assert rate_of((0, 0), (1, 5000), (2, 1000)) == 0
    assert rate_of((0, 0), (1, 5000), (2, 1000), (3, 1300)) == 300


@given(MOVES)
def test_it_is_never_negative_and_keeps_little(moves: list[tuple[float, int]]) -> None:
    rate, at_s, offset = Rate(), 0.0, 0
    for passed_s, moved in moves:
        at_s, offset = at_s + passed_s, max(0, offset + moved)
        rate.note(at_s, offset)
        assert rate.bytes_per_s >= 0
    assert len(rate._samples) <= SAMPLES_MAX
