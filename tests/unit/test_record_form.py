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


def fields_of(upload: Upload) -> dict[str, str]:
    dumped = serialize.dump(upload)
    return {**dict(zip(dumped[::2], dumped[1::2], strict=True)), "checked": "run"}


def loaded(fields: dict[str, str], stored: int = 0, run: bytes = b"run") -> Upload:
    flat = [text.encode() for pair in fields.items() for text in pair]
    return serialize.load(ID, flat, stored, run)


def test_a_new_record_is_read_as_it_was_written() -> None:
    assert loaded(fields_of(NEW)) == NEW


def test_a_restored_record_is_read_as_it_was_written() -> None:
    upload = replace(NEW, parts=3, multipart_id="m", tail_bytes=7, parked="name")
    assert loaded(fields_of(upload)) == upload


def test_a_record_from_another_run_of_redis_is_doubtful_unless_it_is_final() -> None:
    assert loaded(fields_of(NEW), run=b"another").is_doubtful
    complete = replace(NEW, state=UploadState.COMPLETE)
    assert not loaded(fields_of(complete), run=b"another").is_doubtful


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
    fields = fields_of(NEW) | {
        "parts": str(after.parts),
        "tail": str(after.tail_bytes),
        **dict(zip(flat_changes[::2], flat_changes[1::2], strict=True)),
    }
    assert loaded(fields, P) == after


def test_new_parts_swallow_the_old_tail() -> None:
    before = replace(NEW, tail_bytes=100)
    after = serialize.apply(before, Changes(etags=["a", "b"], tail=[b"xyz"]))
    assert (after.parts, after.tail_bytes, after.offset) == (2, 3, 2 * P + 3)


def test_without_new_parts_the_tail_grows() -> None:
    after = serialize.apply(replace(NEW, tail_bytes=100), Changes(tail=[b"xy", b"z"]))
    assert (after.parts, after.tail_bytes, after.offset) == (0, 103, 103)


@pytest.mark.parametrize(("stored", "tail"), [(9, 0), (10, 10), (11, 10)])
def test_a_tail_that_redis_lost_is_dropped_not_trusted(stored: int, tail: int) -> None:
    assert loaded(fields_of(NEW) | {"tail": "10"}, stored).tail_bytes == tail


def test_a_parked_tail_is_not_expected_in_redis() -> None:
    upload = loaded(fields_of(NEW) | {"tail": "10", "parked": "name"})
    assert (upload.offset, upload.parked) == (10, "name")


def test_parking_keeps_the_offset_and_unparking_too() -> None:
    parked = serialize.apply(replace(NEW, tail_bytes=3), Changes(parked="name"))
    assert (parked.offset, parked.parked) == (3, "name")
    back = serialize.apply(parked, Changes(tail=[b"abc"], unparked=True))
    assert (back.offset, back.parked) == (3, None)
    lost = serialize.apply(parked, Changes(unparked=True))
    assert (lost.offset, lost.parked) == (0, None)


@pytest.mark.parametrize(
    "broken",
    [{"v": "1"}, {"layout": "x"}, {"parts": ""}, {"state": "odd"}, {"length": "1.5"}],
)
def test_a_record_of_another_form_is_unreadable(broken: dict[str, str]) -> None:
    with pytest.raises(serialize.UnreadableRecordError):
        loaded(fields_of(NEW) | broken)


def test_a_record_that_lacks_a_field_is_unreadable() -> None:
    fields = fields_of(NEW)
    del fields["key"]
    with pytest.raises(serialize.UnreadableRecordError):
        loaded(fields)


@pytest.mark.parametrize("concat", ["partial", "final; /files/x  http://h/y"])
def test_what_an_upload_has_to_do_with_others_is_read_as_it_was_written(concat: str) -> None:
    upload = replace(NEW, concat=concat, join="1/2")
    assert loaded(fields_of(upload)) == upload
    changes = Changes(join="3/4")
    after = serialize.apply(upload, changes)
    flat = serialize.dump_changes(changes, after)
    fields = fields_of(upload) | dict(zip(flat[::2], flat[1::2], strict=True))
    assert loaded(fields).join == after.join == "3/4"
    assert serialize.apply(upload, Changes()).join == "1/2"
