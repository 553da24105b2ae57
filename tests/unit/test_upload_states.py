"""What follows from a record for uploads that are pieces of others, or made of others."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tusd_s3 import limits
from tusd_s3.engine.parking import can_be_parked
from tusd_s3.model.layout import PartLayout
from tusd_s3.model.upload import Upload, UploadId, UploadState

P = limits.S3_PART_SIZE_MIN_BYTES
ORDINARY = Upload(
    id=UploadId("0123456789abcdefghijAB"),
    key="k",
    length=10,
    metadata="",
    expires_at_s=7,
    layout=PartLayout(P),
)
PARTIAL = replace(ORDINARY, concat="partial")
FINAL = replace(ORDINARY, concat="final;/files/0123456789abcdefghijAB")


def test_a_short_partial_is_whole_and_waits_for_no_object() -> None:
    whole = replace(PARTIAL, tail_bytes=10)
    assert (whole.is_whole, whole.awaits_completion) == (True, False)
    assert replace(ORDINARY, tail_bytes=10).awaits_completion
    assert replace(whole, length=0, tail_bytes=0).is_whole


def test_a_long_partial_waits_for_its_object() -> None:
    upload = replace(PARTIAL, length=P + 3, parts=1, tail_bytes=3, multipart_id="m")
    assert upload.awaits_completion


@pytest.mark.parametrize("length", [None, 0, 10, P])
@pytest.mark.parametrize("parts", [0, 1])
def test_a_final_has_no_offset_until_it_is_complete(length: int | None, parts: int) -> None:
    upload = replace(FINAL, length=length, parts=parts, multipart_id="m" if parts else None)
    assert (upload.offset, upload.is_whole, upload.awaits_completion) == (0, False, False)
    assert upload.awaits_assembly
    whole = replace(upload, length=10, state=UploadState.COMPLETE)
    assert (whole.offset, whole.is_whole, whole.awaits_assembly) == (10, True, False)


def test_a_whole_partial_tail_may_be_parked_and_one_about_to_become_an_object_not() -> None:
    assert can_be_parked(replace(PARTIAL, tail_bytes=10))
    assert can_be_parked(replace(ORDINARY, tail_bytes=9))
    assert not can_be_parked(replace(ORDINARY, tail_bytes=10))
    assert not can_be_parked(replace(PARTIAL, tail_bytes=10, parked="x"))
    assert not can_be_parked(PARTIAL)
