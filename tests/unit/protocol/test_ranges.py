"""Ranges: what is asked for and what is said of the answer, at every boundary."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tusd_s3 import limits
from tusd_s3.protocol.fields import Fields
from tusd_s3.protocol.ranges import (
    POSITION_MAX,
    RangeSpec,
    Span,
    content_range,
    parse_content_range,
    parse_range,
    unsatisfied_range,
)

positions = st.integers(0, POSITION_MAX)


def asked(*values: str) -> RangeSpec | None:
    return parse_range(Fields([(b"range", value.encode("latin-1")) for value in values]))


@given(first=st.none() | positions, last=st.none() | positions)
def test_a_range_survives_its_header(first: int | None, last: int | None) -> None:
    if first is None and last is None:
        return
    spec = RangeSpec(first, last)
    is_backwards = first is not None and last is not None and last < first
    assert asked(str(spec)) == (None if is_backwards else spec)


@given(length=st.integers(0, 50), first=st.none() | st.integers(0, 60), last=st.integers(0, 60))
def test_a_range_means_what_slicing_means(length: int, first: int | None, last: int) -> None:
    body = list(range(length))
    expected = body[first : last + 1] if first is not None else body[max(0, length - last) :]
    span = RangeSpec(first, last).of(length) if first is None or first <= last else None
    assert (body[span.start : span.stop] if span else []) == (
        expected if first is None or first <= last else []
    )


@given(length=st.integers(0, 50), first=st.integers(0, 60))
def test_an_open_range_goes_to_the_end(length: int, first: int) -> None:
    span = RangeSpec(first, None).of(length)
    assert (span is None) == (first >= length)
    assert span is None or (span.start, span.stop) == (first, length)


@given(text=st.text(max_size=40))
def test_no_header_is_an_error(text: str) -> None:
    encoded = text.encode("latin-1", "replace")
    found = parse_range(Fields([(b"range", b"bytes=" + encoded)]))
    assert found is None or found.first is not None or found.last is not None


@pytest.mark.parametrize("size", [limits.HEADER_MAX_BYTES, limits.HEADER_MAX_BYTES + 1])
def test_a_header_has_an_end(size: int) -> None:
    value = "bytes=" + "1" * (size - len("bytes=-")) + "-"
    expected = RangeSpec(POSITION_MAX, None) if size <= limits.HEADER_MAX_BYTES else None
    assert asked(value) == expected


def test_two_headers_are_a_list() -> None:
    assert asked("bytes=0-1", "bytes=4-5") is None


@pytest.mark.parametrize(
    ("spec", "hopeless"),
    [(RangeSpec(None, 0), True), (RangeSpec(None, 1), False), (RangeSpec(0, 0), False)],
)
def test_the_last_none_are_nowhere(spec: RangeSpec, hopeless: bool) -> None:
    assert spec.is_hopeless is hopeless
    assert not hopeless or spec.of(10) is None


@given(start=positions, size=st.integers(1, 100), behind=st.integers(0, 100))
def test_content_range_and_back(start: int, size: int, behind: int) -> None:
    stop = min(start + size, POSITION_MAX)
    length = min(stop + behind, POSITION_MAX)
    if start < stop:
        span = Span(start, stop, length)
        assert parse_content_range(content_range(span)) == span


@pytest.mark.parametrize(
    "text",
    ["", "bytes */5", "bytes 0-1/*", "bytes 1-0/5", "bytes 0-5/5", "bytes 0-1/5 ", "0-1/5",
     "bytes 0-1/\u0665", f"bytes 0-1/{10**18}"],
)  # fmt: skip
def test_what_is_no_content_range(text: str) -> None:
    assert parse_content_range(text) is None


def test_a_416_says_the_length() -> None:
    assert unsatisfied_range(0) == "bytes */0"


@pytest.mark.parametrize(("start", "stop", "length"), [(-1, 1, 5), (2, 1, 5), (0, 6, 5)])
def test_a_span_lies_within_its_object(start: int, stop: int, length: int) -> None:
    with pytest.raises(ValueError, match="within"):
        Span(start, stop, length)
