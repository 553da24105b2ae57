"""What of a stranger's metadata reaches S3."""

from __future__ import annotations

from urllib.parse import unquote, unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tusd_s3 import limits
from tusd_s3.model.metadata import Metadata
from tusd_s3.model.objects import object_attributes

KEYS = st.text("".join(chr(c) for c in range(0x21, 0x7F) if chr(c) != ","), min_size=1, max_size=8)
FILE_NAMES = st.binary(max_size=400) | st.text(max_size=300).map(
    lambda t: t.encode(errors="replace")
)


def disposition(name: bytes | str) -> str | None:
    value = name.encode() if isinstance(name, str) else name
    return object_attributes({"filename": value}).content_disposition


@pytest.mark.parametrize(
    ("metadata", "content_type"),
    [
        ({}, None),
        ({"filetype": b"image/png"}, "image/png"),
        ({"type": b"image/png"}, "image/png"),
        ({"contentType": b"image/png"}, "image/png"),
        ({"contentType": b"c/c", "type": b"b/b", "filetype": b"a/a"}, "a/a"),
        ({"filetype": b"null", "type": b"b/b"}, "b/b"),
        ({"filetype": b"", "type": b"null", "contentType": b"c/c"}, "c/c"),
        ({"filetype": b"a/a\r\nX: y"}, None),
        ({"filetype": b"a/\xff"}, None),
        ({"content-type": b"a/a", "Type": b"a/a"}, None),
    ],
)
def test_line_18_content_type_is_the_first_valid_one(
    metadata: Metadata, content_type: str | None
) -> None:
    assert object_attributes(metadata).content_type == content_type


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({"filename": b"cat.jpg"}, "attachment; filename*=UTF-8''cat.jpg"),
        ({"name": b"cat.jpg"}, "attachment; filename*=UTF-8''cat.jpg"),
        ({"name": b"b", "filename": b"a"}, "attachment; filename*=UTF-8''a"),
        ({"name": b"b", "filename": b""}, "attachment; filename*=UTF-8''b"),
        ({"filename": b"null"}, "attachment; filename*=UTF-8''null"),
        ({}, None),
        ({"filename": b""}, None),
    ],
)
def test_line_18_content_disposition_names_the_file(
    metadata: Metadata, expected: str | None
) -> None:
    assert object_attributes(metadata).content_disposition == expected


def test_a_type_that_the_client_chose_is_never_shown_inline() -> None:
    """An HTML page must not be served as one from the bucket's address."""
    attributes = object_attributes({"filetype": b"text/html"})
    assert attributes.content_type == "text/html"
    assert attributes.content_disposition == "attachment"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # realistic
        ("r\u00e9sum\u00e9 (1).pdf", "r%C3%A9sum%C3%A9%20%281%29.pdf"),
        ("100%.txt", "100%25.txt"),
        ("a'b;c\"d.txt", "a%27b%3Bc%22d.txt"),
        ("C:\\Users\\me\\cat.jpg", "C%3A_Users_me_cat.jpg"),
        # pathological
        ("../../etc/passwd", "_.._etc_passwd"),
        ("a\r\nSet-Cookie: x", "a__Set-Cookie%3A%20x"),
        ("\u202egpj.exe", "_gpj.exe"),
        ("\u2067a\u2069", "_a_"),
        (" . .x", "x"),
        ("...", "file"),
        (" ", "file"),
        (b"\xff\xfe.bin", "%EF%BF%BD%EF%BF%BD.bin"),
    ],
)
def test_content_disposition_is_safe_whatever_the_name(name: str | bytes, expected: str) -> None:
    assert disposition(name) == f"attachment; filename*=UTF-8''{expected}"


@given(FILE_NAMES)
def test_content_disposition_is_one_segment_in_ascii_within_bounds(name: bytes) -> None:
    value = disposition(name)
    if not name:
        assert value is None
        return
    assert value is not None
    assert value.isascii()
    assert value.isprintable()
    decoded = unquote(value.removeprefix("attachment; filename*=UTF-8''"), errors="strict")
    assert 1 <= len(decoded.encode()) <= limits.FILENAME_MAX_BYTES
    assert not set(decoded) & set("/\\\r\n\x00")
    assert not decoded.startswith(".")


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (b"", ""),
        (b"null", "null"),
        (b"two words, and more", "two words, and more"),
        (b"a+b&c=d", "a+b&c=d"),
        (b"100%", "100%25"),
        (b"%41", "%2541"),
        (b" a", "%20a"),
        (b"a ", "a%20"),
        (b"a  b", "a%20%20b"),
        (b"a\nb", "a%0Ab"),
        ("\u00e9".encode(), "%C3%A9"),
        (b"\xff", "%FF"),
        (b"\x7f", "%7F"),
    ],
)
def test_user_metadata_is_plain_or_percent_encoded(value: bytes, stored: str) -> None:
    assert object_attributes({"k": value}).user_metadata == {"k": stored}


@given(st.dictionaries(KEYS, st.binary(max_size=400), max_size=20))
def test_every_pair_is_stored_whole_or_left_out(metadata: Metadata) -> None:
    attributes = object_attributes(metadata)
    stored = attributes.user_metadata
    size = sum(len(key) + len(value) for key, value in stored.items())
    assert size <= limits.S3_USER_METADATA_MAX_BYTES
    kept = [key for key in metadata if key not in attributes.left_out]
    assert [key.lower() for key in kept] == list(stored)
    for key in kept:
        value = stored[key.lower()]
        assert value.isascii()
        assert value == value.strip()
        assert not value or value.isprintable()
        assert unquote_to_bytes(value) == metadata[key]


def test_what_cannot_be_a_header_name_is_left_out() -> None:
    attributes = object_attributes({"File-Name": b"1", "file-name": b"2", "a/b": b"3", "c": b"4"})
    assert attributes.user_metadata == {"file-name": "1", "c": "4"}
    assert attributes.left_out == ("file-name", "a/b")


def test_user_metadata_fills_two_kib_and_no_more() -> None:
    """At the limit, one below and one above; what is smaller still fits after what did not."""
    most = limits.S3_USER_METADATA_MAX_BYTES
    for size in (most - 1, most):
        assert object_attributes({"k": b"v" * (size - 1)}).left_out == ()
    attributes = object_attributes({"k": b"v" * most, "j": b"v" * (most - 1), "i": b""})
    assert attributes.left_out == ("k", "i")
    assert list(attributes.user_metadata) == ["j"]
    encoded = object_attributes({"k": b"\xff" * (most // 3), "l": b""})
    assert encoded.left_out == (), "an encoded byte counts three"
    assert object_attributes({"k": b"\xff" * (most // 3 + 1)}).left_out == ("k",)
