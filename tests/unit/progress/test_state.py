"""What is shown of an upload in each state of its life."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tusd_s3 import limits
from tusd_s3.model.layout import PartLayout
from tusd_s3.model.upload import Upload, UploadState, new_upload_id
from tusd_s3.progress.state import Phase, Progress

PART = 5 * limits.MIB
LENGTH = 2 * PART + 10


def an_upload(**changes: Any) -> Upload:  # noqa: ANN401 - its fields
    plain = Upload(
        id=new_upload_id(),
        key="k",
        length=LENGTH,
        metadata="",
        expires_at_s=2_000_000_000,
        layout=PartLayout(PART),
    )
    return replace(plain, **changes)


def shown(received: int | None = None, *, is_held: bool = False, **changes: Any) -> Progress:  # noqa: ANN401
    return Progress.of(an_upload(**changes), received, is_held=is_held)


def test_an_upload_that_nobody_sends() -> None:
    assert shown(parts=1, tail_bytes=3) == Progress(
        state=Phase.WAITING, offset=PART + 3, durable=PART + 3, length=LENGTH
    )


def test_what_was_received_counts_in_one_of_the_two_offsets() -> None:
    found = shown(PART + 9, is_held=True, parts=1)
    assert (found.state, found.offset, found.durable) == (Phase.RECEIVING, PART + 9, PART)


def test_a_report_that_is_older_than_the_record_counts_for_nothing() -> None:
    assert shown(3, is_held=True, parts=1).offset == PART


@pytest.mark.parametrize("received", [None, LENGTH])
def test_the_last_byte_does_not_count_before_the_object_is_there(received: int | None) -> None:
    whole = shown(received, is_held=True, parts=2, tail_bytes=10)
    assert (whole.state, whole.offset, whole.durable) == (Phase.FINISHING, LENGTH - 1, LENGTH - 1)
    done = shown(parts=2, tail_bytes=10, state=UploadState.COMPLETE)
    assert (done.state, done.offset, done.durable) == (Phase.COMPLETE, LENGTH, LENGTH)


def test_an_empty_upload() -> None:
    assert shown(length=0).offset == 0
    assert shown(length=0, state=UploadState.COMPLETE).state is Phase.COMPLETE


def test_an_upload_that_is_being_removed_is_gone() -> None:
    assert shown(state=UploadState.TERMINATING).state is Phase.TERMINATED


def test_a_partial_upload_short_of_a_part_needs_no_object() -> None:
    found = shown(length=7, tail_bytes=7, concat="partial")
    assert (found.state, found.offset) == (Phase.COMPLETE, 7)
    assert shown(length=7, tail_bytes=6, concat="partial").state is Phase.WAITING


def test_a_final_upload_has_no_offset_before_it_is_whole() -> None:
    found = shown(concat="final;a b", parts=1, is_held=True)
    assert (found.state, found.offset, found.durable) == (Phase.FINISHING, None, None)
    assert shown(concat="final;a b", state=UploadState.COMPLETE).offset == LENGTH


def test_a_deferred_length_bounds_nothing() -> None:
    found = shown(PART, is_held=True, length=None, parts=0, tail_bytes=9)
    assert (found.offset, found.durable, found.length) == (PART, 9, None)


@given(
    st.one_of(st.none(), st.integers(0, LENGTH)),
    st.one_of(st.none(), st.integers(0, 2 * LENGTH)),
    st.integers(0, 2),
    st.booleans(),
)
def test_an_open_upload_never_looks_whole(
    length: int | None, received: int | None, parts: int, is_held: bool
) -> None:
    found = shown(received, is_held=is_held, length=length, parts=parts)
    assert found.offset is not None
    assert found.durable is not None
    assert found.durable <= found.offset
    assert length is None or found.offset < max(length, 1)


def test_a_mark_names_what_is_shown() -> None:
    one, two = shown(parts=1), shown(PART + 1, is_held=True, parts=1)
    assert one.mark != two.mark
    assert replace(one, rate=5).mark == one.mark
    assert shown(state=UploadState.COMPLETE).mark == "complete"
