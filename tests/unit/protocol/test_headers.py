"""Structured header values: what is taken, what is refused, and that building inverts parsing."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tusd_s3 import limits
from tusd_s3.errors import HeaderTooLong, InvalidHeader
from tusd_s3.model.metadata import Metadata
from tusd_s3.protocol.headers import (
    build_metadata,
    decode_base64,
    http_date,
    parse_integer,
    parse_metadata,
)

KEY_ALPHABET = "".join(chr(c) for c in range(0x21, 0x7F) if chr(c) != ",")
SOME_METADATA = st.dictionaries(
    st.text(KEY_ALPHABET, min_size=1, max_size=20), st.binary(max_size=60), max_size=20
)

# --- Integers -----------------------------------------------------------------------------------

LARGEST = 10**limits.INTEGER_DIGITS_MAX - 1


@given(st.integers(0, LARGEST))
def test_line_4_every_non_negative_integer_in_bounds_is_read_back(number: int) -> None:
    assert parse_integer("Upload-Offset", str(number)) == number


@pytest.mark.parametrize(
    "text",
    [
        *("-1", "1.0", "1e3", "0x10", "abc", "null", "undefined", "NaN"),  # realistic
        *("", " ", "1 2", "+1", "1_000", "1,1", "1;1", "1\n"),  # synthetic
        *("\u0661", "\u00b2", "1\u00b2", "\uff11", "9" * 100_000),  # pathological
    ],
)
def test_line_4_anything_but_ascii_digits_is_invalid(text: str) -> None:
    with pytest.raises(InvalidHeader, match="Upload-Length: expected a non-negative integer"):
        parse_integer("Upload-Length", text)


def test_line_4_digits_are_bounded_and_leading_zeros_count() -> None:
    most = limits.INTEGER_DIGITS_MAX
    assert parse_integer("Upload-Length", "9" * most) == LARGEST
    assert parse_integer("Upload-Length", "0" * (most - 1) + "7") == 7
    for text in ("9" * (most + 1), "0" * most + "7"):
        with pytest.raises(InvalidHeader):
            parse_integer("Upload-Length", text)


# --- Metadata -----------------------------------------------------------------------------------


@given(SOME_METADATA)
def test_line_18_building_inverts_parsing(metadata: Metadata) -> None:
    parsed = parse_metadata(build_metadata(metadata))
    assert parsed == metadata
    assert list(parsed) == list(metadata), "the client's order is kept"


@given(st.text(max_size=60))
def test_line_18_any_text_parses_to_what_can_be_built_or_is_refused(text: str) -> None:
    try:
        metadata = parse_metadata(text)
    except InvalidHeader:
        return
    assert parse_metadata(build_metadata(metadata)) == metadata


@pytest.mark.parametrize("text", ["", " ", "\t "])
def test_line_18_empty_metadata_header_is_no_metadata(text: str) -> None:
    """Realistic: tuspy and go-tus send the header with nothing in it."""
    assert parse_metadata(text) == {}


REALISTIC = {
    # the protocol's own example
    "filename d29ybGRfZG9taW5hdGlvbl9wbGFuLnBkZg==,is_confidential": {
        "filename": b"world_domination_plan.pdf",
        "is_confidential": b"",
    },
    # Uppy: every field of its meta as a string
    "relativePath bnVsbA==,name Y2F0LmpwZw==,type aW1hZ2UvanBlZw==,filetype aW1hZ2UvanBlZw==": {
        "relativePath": b"null",
        "name": b"cat.jpg",
        "type": b"image/jpeg",
        "filetype": b"image/jpeg",
    },
    # a file name in UTF-8
    "filename 44GT44KT44Gr44Gh44GvLnR4dA==": {"filename": "こんにちは.txt".encode()},
}


@pytest.mark.parametrize("text", REALISTIC)
def test_line_18_realistic_headers_are_read(text: str) -> None:
    assert parse_metadata(text) == REALISTIC[text]


@pytest.mark.parametrize(
    ("text", "metadata"),
    [
        ("k dg==", {"k": b"v"}),
        ("k", {"k": b""}),
        ("k ", {"k": b""}),
        ("a,b ,c Yw==", {"a": b"", "b": b"", "c": b"c"}),
        ("a YQ==, b Yg==", {"a": b"a", "b": b"b"}),
        ("  a YQ==\t,b  ", {"a": b"a", "b": b""}),
        ("K Yg==,k Yg==", {"K": b"b", "k": b"b"}),
        ("bin AP+A", {"bin": b"\x00\xff\x80"}),
        ("!#$&'()*+-./:;<=>?@[]^_`{|}~ YQ==", {"!#$&'()*+-./:;<=>?@[]^_`{|}~": b"a"}),
    ],
)
def test_line_18_synthetic_headers_are_read(text: str, metadata: Metadata) -> None:
    assert parse_metadata(text) == metadata


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        # realistic mistakes
        ("filename cat.jpg", "expected base64 (standard alphabet, padded) as value 1"),
        ("a YQ==,b Yg", "expected base64 (standard alphabet, padded) as value 2"),
        ("a YQ==,", "expected a key in pair 2, which is empty"),
        ("a YQ==,a Yg==", "expected every key once, but key 2 is repeated"),
        ("naïve YQ==", "expected printable ASCII in key 1"),
        # synthetic
        (",", "expected a key in pair 1, which is empty"),
        ("a,,b", "expected a key in pair 2, which is empty"),
        ("a,a", "expected every key once, but key 2 is repeated"),
        ("a  YQ==", "expected base64 (standard alphabet, padded) as value 1"),
        ("a YQ== Yg==", "expected base64 (standard alphabet, padded) as value 1"),
        ("a YQ=", "expected base64 (standard alphabet, padded) as value 1"),
        ("a YQ===", "expected base64 (standard alphabet, padded) as value 1"),
        ("a YQ==YQ==", "expected base64 (standard alphabet, padded) as value 1"),
        ("a ====", "expected base64 (standard alphabet, padded) as value 1"),
        ("a _-8=", "expected base64 (standard alphabet, padded) as value 1"),
        ("a\tYQ==", "expected printable ASCII in key 1"),
        # pathological
        ("a YQ\r\n==", "expected base64 (standard alphabet, padded) as value 1"),
        ("a YQ==\r\nSet-Cookie: x", "expected base64 (standard alphabet, padded) as value 1"),
        ("a\r\nb: YQ==", "expected printable ASCII in key 1"),
        ("a \u00e4\u00f6\u00fc\u00df", "expected base64 (standard alphabet, padded) as value 1"),
        ("\x00 YQ==", "expected printable ASCII in key 1"),
        ("\x7f YQ==", "expected printable ASCII in key 1"),
    ],
)
def test_line_18_errors_name_the_position_and_never_what_was_sent(text: str, sentence: str) -> None:
    with pytest.raises(InvalidHeader) as caught:
        parse_metadata(text)
    assert caught.value.text == f"Upload-Metadata: {sentence}."
    assert caught.value.status == 400


def test_line_18_the_header_is_bounded() -> None:
    """At the limit, one below and one above."""
    most = limits.METADATA_MAX_BYTES
    for length in (most - 1, most):
        assert parse_metadata("k".ljust(length)) == {"k": b""}
    with pytest.raises(HeaderTooLong) as caught:
        parse_metadata("k".ljust(most + 1))
    assert caught.value.status == 431


def test_line_18_the_number_of_pairs_is_bounded() -> None:
    most = limits.METADATA_PAIRS_MAX
    keys = [f"k{number}" for number in range(most + 1)]
    assert len(parse_metadata(",".join(keys[:most]))) == most
    with pytest.raises(InvalidHeader, match=f"at most {most} pairs"):
        parse_metadata(",".join(keys))


def test_line_18_keys_are_bounded() -> None:
    most = limits.METADATA_KEY_MAX_BYTES
    assert parse_metadata("k" * most) == {"k" * most: b""}
    with pytest.raises(InvalidHeader, match=f"at most {most} bytes in key 2"):
        parse_metadata("a," + "k" * (most + 1))


@pytest.mark.parametrize("key", ["", " ", "a b", "a,b", "a ", "\u00e9", "a\n"])
def test_line_18_what_would_be_refused_is_not_built(key: str) -> None:
    with pytest.raises(InvalidHeader):
        build_metadata({key: b"value"})
    with pytest.raises(InvalidHeader):
        build_metadata({key: b""})


def test_line_18_a_value_of_any_bytes_is_written_in_padded_base64() -> None:
    for size in range(5):
        value = bytes(range(250, 250 + size))
        expected = f"k {base64.b64encode(value).decode()}" if size else "k"
        assert build_metadata({"k": value}) == expected


# --- Dates --------------------------------------------------------------------------------------


def test_line_19_expiry_is_an_imf_fixdate_in_gmt() -> None:
    """RFC 9110's own example, and the padding of small numbers."""
    assert http_date(784111777) == "Sun, 06 Nov 1994 08:49:37 GMT"
    assert http_date(0) == "Thu, 01 Jan 1970 00:00:00 GMT"


@given(st.integers(0, int(datetime(9999, 12, 31, tzinfo=UTC).timestamp())))
def test_line_19_expiry_reads_back_as_the_same_second(unix_seconds: int) -> None:
    text = http_date(unix_seconds)
    assert len(text) == len("Sun, 06 Nov 1994 08:49:37 GMT")
    assert parsedate_to_datetime(text) == datetime.fromtimestamp(unix_seconds, tz=UTC)


@given(st.binary(max_size=40))
def test_base64_is_read_as_it_is_written(raw: bytes) -> None:
    assert decode_base64(base64.b64encode(raw).decode()) == raw


@pytest.mark.parametrize(
    "text",
    [
        "=",
        "==",
        "A",
        "AB",
        "ABC",
        "AB=",
        "ABCD=",
        "ABCD==",
        "ABC==",
        "AB===",
        "A===",
        "AB==CD==",
        "9tZSBuYW1lLmJpbg==",
        "BuYW1lLmJpbg====",
        "AB\n==",
        " AB==",
        "AB==\n",
        "-_==",
        "ÄÄÄÄ",
    ],
)
def test_base64_with_anything_else_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="not padded base64"):
        decode_base64(text)
