"""Messages that cannot be wrong."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tusd_s3.errors import BodyTooLong, LengthConflict
from tusd_s3.protocol.message import AppendRequest, CreateRequest, Response

SMALL = st.integers(0, 5)
MAYBE = st.none() | SMALL


@given(MAYBE, MAYBE)
def test_a_first_chunk_never_goes_past_the_length(
    length: int | None, body_length: int | None
) -> None:
    too_long = length is not None and body_length is not None and body_length > length
    try:
        request = CreateRequest(length=length, body_length=body_length)
    except BodyTooLong:
        assert too_long
        return
    assert not too_long
    assert request.has_body == (body_length != 0)


@given(SMALL, MAYBE, MAYBE)
def test_a_body_never_goes_past_the_length_it_declares(
    offset: int, declared_length: int | None, body_length: int | None
) -> None:
    end = offset + (body_length or 0)
    try:
        AppendRequest(offset=offset, declared_length=declared_length, body_length=body_length)
    except LengthConflict:
        assert declared_length is not None
        assert declared_length < offset
    except BodyTooLong:
        assert declared_length is not None
        assert offset <= declared_length < end
    else:
        assert declared_length is None or end <= declared_length


def test_negative_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="body_length must not be negative"):
        CreateRequest(length=None, body_length=-1)
    with pytest.raises(ValueError, match=r"^length must not be negative"):
        CreateRequest(length=-1)
    with pytest.raises(ValueError, match="offset must not be negative"):
        AppendRequest(offset=-1)
    with pytest.raises(ValueError, match="declared_length must not be negative"):
        AppendRequest(offset=0, declared_length=-1)


@pytest.mark.parametrize("value", ["a\nb", "a\r\nX: y", "\x00", "\x7f", "\u00e9", "\u2028"])
def test_a_value_that_would_break_out_of_its_header_is_never_sent(value: str) -> None:
    with pytest.raises(ValueError, match="Location must be printable ASCII"):
        Response(201, (("Tus-Resumable", "1.0.0"), ("Location", value)))


@pytest.mark.parametrize("name", ["", "a b", "a:", "a\n", "\u00e9"])
def test_a_header_name_is_a_token(name: str) -> None:
    with pytest.raises(ValueError, match="must be a token"):
        Response(200, ((name, "value"),))


def test_only_final_statuses_are_sent() -> None:
    for status in (200, 599):
        assert Response(status).status == status
    for status in (199, 600):
        with pytest.raises(ValueError, match=r"200\.\.599"):
            Response(status)
