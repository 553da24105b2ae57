"""The two shapes that decide whether metadata may become a header."""

from __future__ import annotations

import time

import pytest

from tusd_s3 import limits
from tusd_s3.model.media_type import is_media_type, is_token


@pytest.mark.parametrize(
    "text",
    [
        *(
            "image/jpeg",
            "text/plain; charset=utf-8",
            "application/vnd.ms-excel.sheet.macroEnabled.12",
        ),
        *('multipart/mixed; boundary="a b;c\\"d"', "text/plain;a=1;b=2", "text/plain \t;\t a=1"),
        *("application/offset+octet-stream", "x/" + "y" * (limits.MEDIA_TYPE_MAX_BYTES - 2)),
    ],
)
def test_line_18_a_media_type(text: str) -> None:
    assert is_media_type(text)


@pytest.mark.parametrize(
    "text",
    [
        *("null", "undefined", "", "jpeg", "image/", "/jpeg", ".pdf"),  # realistic
        *("image /jpeg", " image/jpeg", "image/jpeg ", "a/b/c", "a/b,c/d", "a/b;", "a/b;c"),
        *(
            "a/b; c =d",
            'a/b; c="d',
            "a/b;;c=d",
            "a/\u00e9",
            "a/b; c=\u00e9",
            "a/b\n",
            "a/b\r\nX: y",
        ),
        *('a/b; c="\n"', "a/b\x00", "x/" + "y" * (limits.MEDIA_TYPE_MAX_BYTES - 1)),
    ],
)
def test_line_18_no_media_type(text: str) -> None:
    assert not is_media_type(text)


def test_line_18_a_hostile_media_type_is_refused_at_once() -> None:
    """White space that could be matched in many ways would take a naive pattern for ever."""
    started = time.monotonic()
    for text in ("a/b" + "; \t" * 80, "a/b" + " \t" * 120, 'a/b;c="' + "\\" * 240):
        assert not is_media_type(text)
    assert time.monotonic() - started < 1


def test_a_token_has_no_separators() -> None:
    assert is_token("x-amz.meta_1!#$%&'*+^`|~")
    for text in ("", "a b", "a:", "a/b", 'a"', "(a)", "[a]", "{a}", "a\n", "\u00e9"):
        assert not is_token(text)
