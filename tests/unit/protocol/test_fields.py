"""The view on request headers that every parser shares."""

from __future__ import annotations

import pytest

from tusd_s3 import limits
from tusd_s3.errors import HeaderTooLong, InvalidHeader
from tusd_s3.protocol.fields import Fields


def test_names_are_compared_without_regard_to_case() -> None:
    fields = Fields([(b"Upload-OFFSET", b"1")])
    assert fields.get("upload-offset") == fields.get("Upload-Offset") == "1"
    assert "UPLOAD-OFFSET" in fields
    assert "Upload-Length" not in fields
    assert fields.get("Upload-Length") is None


def test_white_space_around_a_value_is_not_part_of_it() -> None:
    assert Fields([(b"a", b" \t1 2 \t")]).get("a") == "1 2"
    only_in_unicode = b"\xa01\x85"
    assert Fields([(b"a", only_in_unicode)]).get("a") == only_in_unicode.decode("latin-1")


def test_every_byte_reaches_the_parser_as_one_character() -> None:
    raw = bytes(range(0x21, 0x100))
    value = Fields([(b"a", raw)]).get("a")
    assert value is not None
    assert value.encode("latin-1") == raw


@pytest.mark.parametrize("second", [b"1", b"2", b""])
def test_a_repeated_header_is_invalid_even_if_it_says_the_same(second: bytes) -> None:
    fields = Fields([(b"upload-length", b"1"), (b"Upload-Length", second)])
    with pytest.raises(InvalidHeader, match="Upload-Length: expected once"):
        fields.get("Upload-Length")


def test_a_value_is_bounded() -> None:
    most = limits.HEADER_MAX_BYTES
    fields = Fields([(b"a", b"1" * most), (b"b", b"1" * (most + 1))])
    assert fields.get("a") == "1" * most
    assert fields.get("b", max_bytes=most + 1) == "1" * (most + 1)
    with pytest.raises(HeaderTooLong):
        fields.get("b")


def test_a_list_is_joined_in_order() -> None:
    fields = Fields([(b"forwarded", b"for=a, for=b"), (b"x", b"y"), (b"forwarded", b"for=c")])
    assert fields.get_list("Forwarded") == "for=a, for=b, for=c"
    assert fields.get_list("Trailer") is None
