"""The record as a Redis hash: what is written is what is read, and nothing is guessed at."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tusd_s3 import limits
from tusd_s3.model.layout import PartLayout
from tusd_s3.model.upload import Upload, UploadId, UploadState
from tusd_s3.ports import Changes
from tusd_s3.stores.redis import serialize

ID = UploadId("0123456789abcdefghijAB")
P = limits.S3_PART_SIZE_MIN_BYTES
NEW = Upload(
    id=ID, key="k/é", length=None, metadata="filename Zg==", expires_at_s=7, layout=PartLayout(P)
)


def flat(fields: dict[str, str]) -> list[bytes]:
    return [text.encode() for pair in fields.items() for text in pair]


def test_a_new_record_is_read_as_it_was_written() -> None:
    assert serialize.load(ID, flat(serialize.dump_new(NEW, fence=3)), 0) == (NEW, 3)


@given(
    length=st.none() | st.integers(0, 10**18),
    parts=st.integers(0, 9_999),
    tail=st.integers(0, P),
    multipart=st.none() | st.text(min_size=1),
    recovery=st.booleans(),
    state=st.sampled_from(UploadState),
)
def test_fields_that_change_are_read_as_they_were_written(
    length: int | None,
    parts: int,
    tail: int,
    multipart: str | None,
    recovery: bool,
    state: UploadState,
) -> None:
    changes = Changes(
        length=length, multipart_id=multipart, recovery_stored=recovery, state=state, expires_at_s=9
    )
    after = serialize.apply(replace(NEW, parts=parts, tail_bytes=tail), changes)
    flat_changes = serialize.dump_changes(changes, after)
    fields = serialize.dump_new(NEW, fence=1) | {
        "parts": str(after.parts),
        "tail": str(after.tail_bytes),
        **dict(zip(flat_changes[::2], flat_changes[1::2], strict=True)),
    }
    assert serialize.load(ID, flat(fields), P) == (after, 1)


def test_new_parts_swallow_the_old_tail() -> None:
    before = replace(NEW, tail_bytes=100)
    after = serialize.apply(before, Changes(etags=["a", "b"], tail=[b"xyz"]))
    assert (after.parts, after.tail_bytes, after.offset) == (2, 3, 2 * P + 3)


def test_without_new_parts_the_tail_grows() -> None:
    after = serialize.apply(replace(NEW, tail_bytes=100), Changes(tail=[b"xy", b"z"]))
    assert (after.parts, after.tail_bytes, after.offset) == (0, 103, 103)


@pytest.mark.parametrize(("stored", "tail"), [(9, 0), (10, 10), (11, 10)])
def test_a_tail_that_redis_lost_is_dropped_not_trusted(stored: int, tail: int) -> None:
    fields = serialize.dump_new(NEW, fence=1) | {"tail": "10"}
    assert serialize.load(ID, flat(fields), stored)[0].tail_bytes == tail


@pytest.mark.parametrize(
    "broken",
    [{"v": "2"}, {"layout": "x"}, {"parts": ""}, {"state": "odd"}, {"length": "1.5"}],
)
def test_a_record_of_another_form_is_unreadable(broken: dict[str, str]) -> None:
    with pytest.raises(serialize.UnreadableRecordError):
        serialize.load(ID, flat(serialize.dump_new(NEW, fence=1) | broken), 0)


def test_a_record_that_lacks_a_field_is_unreadable() -> None:
    fields = serialize.dump_new(NEW, fence=1)
    del fields["key"]
    with pytest.raises(serialize.UnreadableRecordError):
        serialize.load(ID, flat(fields), 0)
