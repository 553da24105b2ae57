"""What a browser is told to do with an upload."""

from __future__ import annotations

from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tusd_s3.model.objects import object_attributes
from tusd_s3.protocol.disposition import (
    INLINE_TYPES,
    UNKNOWN_TYPE,
    is_inline,
    served_disposition,
    served_type,
)


@given(name=st.text(min_size=1, max_size=60), media_type=st.sampled_from(["video/mp4", "a/b"]))
def test_any_name_is_one_line_that_says_it_twice(name: str, media_type: str) -> None:
    attributes = object_attributes(
        {"filename": name.encode("utf-8", "replace"), "filetype": media_type.encode()}
    )
    said = served_disposition(media_type, attributes.content_disposition)
    assert said.isascii()
    assert said.isprintable()
    kind, plain, extended = said.split('"')[0], said.split('"')[1], said.split('"')[2]
    assert kind == ("inline" if media_type == "video/mp4" else "attachment") + "; filename="
    whole = unquote(extended.removeprefix("; filename*=UTF-8''"))
    assert len(plain) == len(whole)
    assert all(one in ("_", other) for one, other in zip(plain, whole, strict=True))


@pytest.mark.parametrize(
    "stored",
    [
        *(None, "", "attachment", "inline", "attachment; filename=a", "attachment; filename*="),
        *("attachment; filename*=UTF-8''a\r\nX: y", "attachment; filename*=UTF-8''a b"),
        *("attachment; filename*=UTF-8''%zz", "inline; filename*=UTF-8''a", "x" * 10_000),
    ],
)
def test_what_we_did_not_write_names_nothing(stored: str | None) -> None:
    assert served_disposition("text/html", stored) == "attachment"
    assert served_disposition("video/mp4", stored) == "inline"


@given(st.text(max_size=40))
def test_only_listed_types_are_inline(media_type: str) -> None:
    assert not is_inline(media_type) or media_type.partition(";")[0].strip().lower() in INLINE_TYPES


@pytest.mark.parametrize(
    "script",
    ["application/javascript", "text/JavaScript", "application/x-ecmascript", "text/jscript",
     "text/livescript", "text/javascript1.5", "text/css;charset=utf-8", "application/wasm"],
)  # fmt: skip
def test_what_runs_where_it_is_named_is_not_named(script: str) -> None:
    assert served_type(script) == UNKNOWN_TYPE


@pytest.mark.parametrize("kept", ["application/pdf", "text/html", 'video/mp4; codecs="avc1"'])
def test_other_types_are_passed_on(kept: str) -> None:
    assert served_type(kept) == kept


@pytest.mark.parametrize("bad", [None, "", "nonsense", "a/b\r\nX: y", "a/b;;"])
def test_what_is_no_type_is_unknown(bad: str | None) -> None:
    assert served_type(bad) == UNKNOWN_TYPE


def test_nothing_that_runs_script_is_on_the_list() -> None:
    assert not [one for one in INLINE_TYPES if "xml" in one or "html" in one or "pdf" in one]
    assert {one.partition("/")[0] for one in INLINE_TYPES} == {"video", "audio", "image", "text"}
    assert [one for one in INLINE_TYPES if one.startswith("text/")] == ["text/plain"]
