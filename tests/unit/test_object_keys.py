"""Under which key an upload is stored, and which templates of keys are taken."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tusd_s3 import limits
from tusd_s3.model.objects import check_key_prefix, check_key_template, render_key
from tusd_s3.model.upload import UploadId

ID = UploadId("AAAAAAAAAAAAAAAAAAAAA_")


def key_of(name: bytes | str, template: str = "{id}/{filename}", prefix: str = "") -> str:
    value = name.encode() if isinstance(name, str) else name
    return render_key(template, prefix=prefix, upload_id=ID, metadata={"filename": value})


def name_in_key(name: bytes | str) -> str:
    return key_of(name).removeprefix(f"{ID}/")


def test_a_key_is_the_prefix_and_the_filled_template() -> None:
    assert key_of("cat.jpg", "{id}", "up/") == f"up/{ID}"
    assert key_of("cat.jpg", "{id}/{filename}", "up/") == f"up/{ID}/cat.jpg"
    assert key_of("cat.jpg", "x-{filename}-{id}.bin") == f"x-cat.jpg-{ID}.bin"


def test_a_key_uses_the_name_when_there_is_no_filename() -> None:
    metadata = {"filename": b"", "name": b"cat.jpg"}
    assert render_key("{id}-{filename}", prefix="", upload_id=ID, metadata=metadata) == (
        f"{ID}-cat.jpg"
    )
    assert render_key("{id}-{filename}", prefix="", upload_id=ID, metadata={}) == f"{ID}-file"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # realistic
        ("r\u00e9sum\u00e9 (1).pdf", "r\u00e9sum\u00e9 (1).pdf"),
        ("re\u0301sume\u0301.pdf", "r\u00e9sum\u00e9.pdf"),
        ("\u0939\u093f\u0928\u094d\u0926\u0940.txt", "\u0939\u093f\u0928\u094d\u0926\u0940.txt"),
        ("100% & more?.txt", "100_ _ more_.txt"),
        ("party\U0001f389.png", "party_.png"),
        # pathological
        ("../../etc/passwd", "_.._etc_passwd"),
        ("..", "file"),
        (".tus", "tus"),
        ("..\\x", "_x"),
        ("{id}", "_id_"),
        ("a\x00\r\nb\u2028", "a___b_"),
        ("\ufffe\u200b", "__"),
        (b"\xff", "_"),
        (" trailing ", "trailing"),
    ],
)
def test_a_file_name_in_a_key_is_narrowed(name: str | bytes, expected: str) -> None:
    assert name_in_key(name) == expected


@given(
    st.text(max_size=300) | st.text(".\\/ ~%{}a\u00e9\U0001f389", max_size=300), st.integers(0, 760)
)
def test_a_key_is_one_segment_deep_and_within_bounds(name: str, prefix_bytes: int) -> None:
    prefix = "p" * prefix_bytes
    key = key_of(name.encode("utf-8", errors="replace"), prefix=prefix)
    file_name = key.removeprefix(f"{prefix}{ID}/")
    assert len(key.encode()) <= limits.S3_KEY_MAX_BYTES
    assert 1 <= len(file_name.encode()) <= limits.FILENAME_MAX_BYTES
    assert unicodedata.is_normalized("NFC", file_name)
    assert not file_name.startswith(".")
    assert not file_name.endswith(" ")
    assert not set(file_name) & set("/\\%{}\x00\n")


@pytest.mark.parametrize("char", ["a", "\u00e9", "\u3042", "\U00020000"])
def test_a_long_name_is_cut_between_characters(char: str) -> None:
    most, width = limits.FILENAME_MAX_BYTES, len(char.encode())
    for count in (most // width - 1, most // width, most // width + 1):
        assert name_in_key(char * count) == char * min(count, most // width)


def test_a_name_that_is_cut_behind_a_space_does_not_end_in_it() -> None:
    most = limits.FILENAME_MAX_BYTES
    assert name_in_key("n" * (most - 1) + " tail") == "n" * (most - 1)


def test_a_name_is_shortened_until_the_key_fits() -> None:
    fixed = len(f"{ID}/")
    for room in (4, 5, 254, 255, 256):
        prefix = "p" * (limits.S3_KEY_MAX_BYTES - fixed - room)
        assert key_of("n" * 300, prefix=prefix) == f"{prefix}{ID}/" + "n" * min(room, 255)
    with pytest.raises(ValueError, match="too little room"):
        key_of("n", prefix="p" * (limits.S3_KEY_MAX_BYTES - fixed - 3))


def test_a_key_without_a_name_needs_room_for_the_id_only() -> None:
    longest = "p" * (limits.S3_KEY_MAX_BYTES - len(ID))
    assert key_of("n", "{id}", longest) == longest + ID
    with pytest.raises(ValueError, match="too little room"):
        key_of("n", "{id}", longest + "p")


@pytest.mark.parametrize(
    "template",
    [
        *("{id}", "{id}/{filename}", "{filename}/{id}", "a b/\u00e9-{id}.bin", "x/.tus/{id}"),
        "{id}".rjust(limits.KEY_TEMPLATE_MAX_BYTES, "x"),
    ],
)
def test_a_template_that_is_taken_makes_keys_that_no_two_uploads_share(template: str) -> None:
    check_key_template(template)
    other = UploadId("B" * limits.UPLOAD_ID_CHARS)
    metadata = {"filename": b"tus"}
    keys = {render_key(template, prefix="", upload_id=i, metadata=metadata) for i in (ID, other)}
    assert len(keys) == 2
    assert not any(key.startswith((".tus/", "/")) for key in keys)


@pytest.mark.parametrize(
    ("template", "sentence"),
    [
        ("", r"needs \{id\}"),
        ("{filename}", r"needs \{id\}"),
        ("{{id}}", "knows the fields"),
        ("{id}{name}", "knows the fields"),
        ("{id}{}", "knows the fields"),
        ("{id!r}", "knows the fields"),
        ("{id}{", "knows the fields"),
        ("{id}{id}", "each field once"),
        ("{id}/{filename}/{filename}", "each field once"),
        ("/{id}", '"/" in front'),
        ("a//{id}", "must not have"),
        ("a/./{id}", "must not have"),
        ("a/../{id}", "must not have"),
        ("a\\{id}", "must not have"),
        ("{id}/", 'must not end with "/"'),
        (".tus/{id}", "holds recovery objects"),
        (".{filename}/{id}", "holds recovery objects"),
        ("{id}\n", "control characters"),
        ("{id}\x7f", "control characters"),
        ("\ud800{id}", "control characters"),
        ("{id}".rjust(limits.KEY_TEMPLATE_MAX_BYTES + 1, "x"), "at most 256 bytes"),
        ("\u00e9" * 126 + "{id}x", "at most 256 bytes"),
    ],
)
def test_a_template_that_could_do_harm_is_refused(template: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence) as caught:
        check_key_template(template)
    assert str(caught.value).endswith(".")


def test_a_prefix_begins_a_key() -> None:
    for prefix in ("", "up/", "up", "a/b-", "p" * limits.KEY_PREFIX_MAX_BYTES):
        check_key_prefix(prefix)
    for prefix in ("/", "/up", "up//", "a/../", "./", "a\\", "a\n", "\ud800"):
        with pytest.raises(ValueError, match=r"^The key prefix must not have .*\.$"):
            check_key_prefix(prefix)
    with pytest.raises(ValueError, match="at most 512 bytes"):
        check_key_prefix("p" * (limits.KEY_PREFIX_MAX_BYTES + 1))
