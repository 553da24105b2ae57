"""The recovery object, and which listed parts are believed."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tusd_s3 import limits
from tusd_s3.model.layout import PartLayout
from tusd_s3.model.upload import Upload, UploadId
from tusd_s3.stores.s3.recovery import (
    DOCUMENT_MAX_BYTES,
    ParkedTail,
    Statement,
    StoredPart,
    contiguous_parts,
    dump_recovery,
    load_recovery,
)

ID = UploadId("0123456789abcdefghijAB")
P = limits.S3_PART_SIZE_MIN_BYTES
WHEN = datetime(2026, 1, 1, tzinfo=UTC)
UPLOAD = Upload(
    id=ID,
    key="k/é",
    length=3 * P + 5,
    metadata="filename Zg==",
    expires_at_s=7,
    layout=PartLayout(P),
    multipart_id="m",
    recovery_stored=True,
)


def part(number: int, size: int = P, etag: str = "e", age: int = 0) -> StoredPart:
    return StoredPart(number, size, etag, WHEN - timedelta(seconds=age))


@given(length=st.none() | st.integers(0, 10**15), metadata=st.text(), key=st.text(min_size=1))
def test_what_is_written_is_what_is_read(length: int | None, metadata: str, key: str) -> None:
    upload = replace(UPLOAD, length=length, metadata=metadata, key=key)
    assert load_recovery(ID, dump_recovery(upload, None)) == Statement(upload)


def test_a_parked_tail_is_spoken_of() -> None:
    upload = replace(UPLOAD, parts=2, tail_bytes=9, parked="name", multipart_id=None)
    bare = replace(upload, parts=0, tail_bytes=0, parked=None)
    assert load_recovery(ID, dump_recovery(upload, None)) == Statement(
        bare, ParkedTail("name", 2 * P, 9)
    )


@pytest.mark.parametrize(
    "change",
    [
        {"tail": {}},
        {"tail": 1},
        {"v": 1},
        {"vouched": 1},
        {"id": "another"},
        {"layout": "1/2/3"},
        {"length": "x"},
        {"expires_at_s": None},
    ],
)
def test_what_is_not_ours_is_refused(change: dict[str, object]) -> None:
    document = json.loads(dump_recovery(UPLOAD, None)) | change
    with pytest.raises(ValueError):  # noqa: PT011 - of whatever kind, it must not be guessed at
        load_recovery(ID, json.dumps(document).encode())


@pytest.mark.parametrize("document", [b"", b"{", b"[]", b"null", b'{"v": 1}', b"\xff"])
def test_what_is_no_document_is_refused(document: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - as above
        load_recovery(ID, document)


@given(st.sets(st.integers(1, 5)))
def test_only_parts_in_a_row_from_the_first_count(numbers: set[int]) -> None:
    upload = replace(UPLOAD, length=5 * P)
    row = contiguous_parts(Statement(upload), [part(number) for number in numbers])
    expected = next(count for count in range(6) if count + 1 not in numbers)
    assert [stored.number for stored in row] == list(range(1, expected + 1))


@pytest.mark.parametrize("size", [0, P - 1, P + 1])
def test_a_part_of_another_size_is_not_believed_nor_what_follows(size: int) -> None:
    assert contiguous_parts(Statement(UPLOAD), [part(1), part(2, size), part(3)]) == [part(1)]


@pytest.mark.parametrize(("size", "count"), [(4, 3), (5, 4), (6, 3), (P, 3)])
def test_only_the_part_that_ends_the_upload_may_be_short(size: int, count: int) -> None:
    listed = [part(1), part(2), part(3), part(4, size)]
    assert len(contiguous_parts(Statement(UPLOAD), listed)) == count


def test_of_a_number_that_is_listed_twice_the_newest_counts() -> None:
    old, new = part(1, etag="old", age=5), part(1, etag="new")
    assert contiguous_parts(Statement(UPLOAD), [new, old]) == [new]


@given(st.lists(st.sampled_from(["good", "bad"]), max_size=4), st.integers(0, 3))
def test_of_a_staged_upload_only_parts_that_are_vouched_for_count(
    etags: list[str], vouched: int
) -> None:
    stated = Statement(replace(UPLOAD, is_staged=True), vouched=("good",) * vouched)
    listed = [part(number, etag=etag) for number, etag in enumerate(etags, start=1)]
    row = contiguous_parts(stated, listed)
    expected = next(
        count for count in range(5) if count == vouched or etags[count : count + 1] != ["good"]
    )
    assert [stored.number for stored in row] == list(range(1, expected + 1))


@pytest.mark.parametrize("age", [-5, 0, 5])
def test_of_a_number_that_is_listed_twice_the_one_vouched_for_counts(age: int) -> None:
    bad, good = part(1, etag="bad", age=age), part(1, etag="good")
    stated = Statement(replace(UPLOAD, is_staged=True), vouched=("good",))
    assert contiguous_parts(stated, [bad, good]) == [good]
    assert contiguous_parts(stated, [good, bad]) == [good]


@given(st.none() | st.lists(st.text(max_size=40), max_size=5))
def test_who_is_vouched_for_is_read_as_written(vouched: list[str] | None) -> None:
    stated = load_recovery(ID, dump_recovery(UPLOAD, vouched))
    assert stated.vouched == (None if vouched is None else tuple(vouched))
    assert stated.upload.is_staged is (vouched is not None)


def test_the_longest_document_is_read() -> None:
    longest = replace(UPLOAD, metadata="m" * limits.METADATA_MAX_BYTES, key="k" * 1024)
    document = dump_recovery(longest, ['"' + "f" * 32 + '"'] * limits.S3_PARTS_MAX)
    assert len(document) < DOCUMENT_MAX_BYTES


def test_what_an_upload_has_to_do_with_others_is_written_down() -> None:
    upload = replace(UPLOAD, concat="partial")
    assert load_recovery(ID, dump_recovery(upload, None)).upload == upload


def test_parts_of_a_final_upload_are_not_adopted() -> None:
    """They are of another layout: that one has the same size as in this one proves nothing."""
    final = replace(UPLOAD, concat="final;/files/x")
    assert contiguous_parts(Statement(final), [part(1), part(2)]) == []
