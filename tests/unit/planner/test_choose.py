"""Which layout an upload gets, and what declaring a deferred length does to it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tusd_s3 import errors, limits
from tusd_s3.model.layout import PartLayout
from tusd_s3.model.upload import Upload, UploadId
from tusd_s3.planner.choose import LayoutPolicy, with_declared_length

MIB = limits.MIB
POLICY = LayoutPolicy(part_size_bytes=5 * MIB)
LARGEST = limits.PART_SIZE_MAX_BYTES * limits.S3_PARTS_MAX


def deferred(*, parts: int = 0, tail: int = 0, multipart: str | None = None) -> Upload:
    return Upload(
        id=UploadId("A" * 22),
        key="k",
        length=None,
        metadata="",
        expires_at_s=0,
        layout=POLICY.layout_for(None),
        parts=parts,
        tail_bytes=tail,
        multipart_id=multipart,
    )


@given(st.integers(0, LARGEST), st.integers(1, limits.S3_PARTS_MAX))
def test_a_known_length_gets_equal_parts_that_hold_it(length: int, parts_max: int) -> None:
    policy = LayoutPolicy(part_size_bytes=5 * MIB, parts_max=parts_max)
    try:
        layout = policy.layout_for(length)
    except errors.UploadTooLarge:
        assert length > limits.PART_SIZE_MAX_BYTES * parts_max
    else:
        assert layout.parts_per_size == 0
        assert layout.capacity_bytes >= length
        assert layout.first_size_bytes >= 5 * MIB


@pytest.mark.parametrize(
    ("length", "size"),
    [
        (0, 5 * MIB),
        (5 * MIB * 10_000, 5 * MIB),
        (5 * MIB * 10_000 + 1, 5 * MIB + 64 * limits.KIB),
        (LARGEST, limits.PART_SIZE_MAX_BYTES),
    ],
)
def test_parts_grow_only_when_the_length_demands_it(length: int, size: int) -> None:
    assert POLICY.layout_for(length).first_size_bytes == size


def test_a_length_beyond_the_largest_parts_is_too_large() -> None:
    with pytest.raises(errors.UploadTooLarge, match=str(LARGEST)):
        POLICY.layout_for(LARGEST + 1)


def test_a_deferred_length_gets_growing_parts() -> None:
    assert POLICY.layout_for(None) == PartLayout(5 * MIB, 1000, 10_000)


def test_a_store_with_few_parts_gets_the_same_growth_in_fewer() -> None:
    few = LayoutPolicy(part_size_bytes=5 * MIB, parts_max=1000)
    assert few.layout_for(None) == PartLayout(5 * MIB, 100, 1000)


def test_a_store_that_wants_equal_parts_gets_them_with_a_deferred_length_too() -> None:
    r2 = LayoutPolicy(part_size_bytes=5 * MIB, equal_parts=True)
    assert r2.layout_for(None) == PartLayout(5 * MIB, 0, 10_000)


def test_declaring_the_same_length_again_changes_nothing() -> None:
    upload = with_declared_length(deferred(tail=10), 100, POLICY)
    assert with_declared_length(upload, 100, POLICY) is upload


@pytest.mark.parametrize("length", [99, 101])
def test_declaring_another_length_is_a_conflict(length: int) -> None:
    upload = with_declared_length(deferred(), 100, POLICY)
    with pytest.raises(errors.LengthConflict):
        with_declared_length(upload, length, POLICY)


def test_a_length_below_the_offset_is_a_conflict_and_at_the_offset_it_is_not() -> None:
    with pytest.raises(errors.LengthConflict):
        with_declared_length(deferred(tail=10), 9, POLICY)
    assert with_declared_length(deferred(tail=10), 10, POLICY).is_whole


def test_the_layout_is_chosen_anew_while_there_is_no_part() -> None:
    upload = with_declared_length(deferred(tail=10), LARGEST, POLICY)
    assert upload.layout == POLICY.layout_for(LARGEST)


def test_the_new_first_part_is_never_smaller_than_the_tail_may_already_be() -> None:
    old = replace(deferred(), layout=PartLayout(16 * MIB, 1000), tail_bytes=16 * MIB - 1)
    assert with_declared_length(old, 20 * MIB, POLICY).layout.first_size_bytes == 16 * MIB


def test_the_layout_is_fixed_once_there_is_a_multipart_upload() -> None:
    started = deferred(parts=1, multipart="m")
    assert with_declared_length(started, 100 * MIB, POLICY).layout == started.layout
    most = started.layout.capacity_bytes
    assert with_declared_length(started, most, POLICY).length == most
    with pytest.raises(errors.UploadTooLarge):
        with_declared_length(started, most + 1, POLICY)
