"""A record as a Redis hash, and back. `dump_x` stands beside `load_x`; they are inverses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from tusd_s3.model.layout import PartLayout
from tusd_s3.model.upload import Upload, UploadId, UploadState
from tusd_s3.ports import Changes

T = TypeVar("T")

FORMAT = "3"
"""Version of the record's form; a record of another form is not guessed at."""

_FORMAT = FORMAT.encode()
_STATES = {state.value.encode(): state for state in UploadState}


class UnreadableRecordError(ValueError):
    """The hash is not a record of this form."""


def dump(upload: Upload) -> list[str]:
    """The record's fields as a flat field-value list, without those that belong to the lease."""
    fields = {
        "v": FORMAT,
        "key": upload.key,
        "length": "" if upload.length is None else str(upload.length),
        "metadata": upload.metadata,
        "expires": str(upload.expires_at_s),
        "layout": upload.layout.dump(),
        "parts": str(upload.parts),
        "multipart": upload.multipart_id or "",
        "starting": str(int(upload.is_starting)),
        "recovery": str(int(upload.recovery_stored)),
        "staged": str(int(upload.is_staged)),
        "state": upload.state.value,
        "base": str(upload.parts_bytes),
        "tail": str(upload.tail_bytes),
        "parked": upload.parked or "",
        "concat": upload.concat,
        "join": upload.join,
    }
    return [text for pair in fields.items() for text in pair]


def load(
    upload_id: UploadId, pairs: Sequence[bytes], stored_tail_bytes: int, run: bytes = b""
) -> Upload:
    """The upload of a record.

    pairs: HGETALL's flat answer. stored_tail_bytes: the length the tail really has in Redis.
    run: names the present run of Redis; empty if unknown.
    A tail that is shorter than the record says was lost by Redis: it is dropped, not trusted.
    Raises UnreadableRecordError.
    """
    fields = dict(zip(pairs[::2], pairs[1::2], strict=True))
    if fields.get(b"v") != _FORMAT:
        raise UnreadableRecordError(upload_id)
    try:
        return _load_fields(upload_id, fields, stored_tail_bytes, run)
    except (KeyError, ValueError) as error:
        raise UnreadableRecordError(upload_id) from error


def _load_fields(
    upload_id: UploadId, fields: dict[bytes, bytes], stored_tail_bytes: int, run: bytes
) -> Upload:
    # Each request comes by here: what can be read as bytes is not made a text first.
    state, tail_bytes = _STATES[fields[b"state"]], int(fields[b"tail"])
    if not fields[b"parked"] and stored_tail_bytes < tail_bytes:
        tail_bytes = 0
    return Upload(
        id=upload_id,
        key=fields[b"key"].decode(),
        length=int(fields[b"length"]) if fields[b"length"] else None,
        metadata=fields[b"metadata"].decode(),
        expires_at_s=int(fields[b"expires"]),
        layout=PartLayout.parse(fields[b"layout"].decode()),
        parts=int(fields[b"parts"]),
        tail_bytes=tail_bytes,
        multipart_id=fields[b"multipart"].decode() or None,
        is_starting=fields[b"starting"] == b"1",
        recovery_stored=fields[b"recovery"] == b"1",
        is_staged=fields[b"staged"] == b"1",
        state=state,
        parked=fields[b"parked"].decode() or None,
        concat=fields.get(b"concat", b"").decode(),
        join=fields.get(b"join", b"").decode(),
        is_doubtful=state is UploadState.OPEN and fields[b"checked"] != run,
    )


def apply(upload: Upload, changes: Changes) -> Upload:
    """`upload` after `changes`: what the record says once the commit succeeded."""
    complete = changes.state is UploadState.COMPLETE
    tail_bytes = 0 if complete else append_at(upload, changes) + sum(map(len, changes.tail))
    stays_parked = not (changes.unparked or changes.etags or complete)
    return replace(
        upload,
        parts=upload.parts + len(changes.etags),
        tail_bytes=tail_bytes,
        length=_or(changes.length, upload.length),
        layout=_or(changes.layout, upload.layout),
        multipart_id=_or(changes.multipart_id, upload.multipart_id),
        is_starting=_or(changes.is_starting, upload.is_starting),
        recovery_stored=_or(changes.recovery_stored, upload.recovery_stored),
        is_staged=_or(changes.is_staged, upload.is_staged),
        state=_or(changes.state, upload.state),
        expires_at_s=_or(changes.expires_at_s, upload.expires_at_s),
        parked=_or(changes.parked, upload.parked) if stays_parked else None,
        join=_or(changes.join, upload.join),
        is_doubtful=upload.is_doubtful and not changes.verified,
    )


def append_at(upload: Upload, changes: Changes) -> int:
    """Where in the tail that `changes` leaves its new bytes begin."""
    return 0 if changes.etags or changes.unparked else upload.tail_bytes


def dump_changes(changes: Changes, after: Upload) -> list[str]:
    """The fields that `changes` sets, as a flat field-value list. `after`: see `apply`."""
    fields: dict[str, str | None] = {
        "parts": str(after.parts) if changes.etags else None,
        "length": None if changes.length is None else str(changes.length),
        "layout": None if changes.layout is None else changes.layout.dump(),
        "multipart": changes.multipart_id,
        "starting": None if changes.is_starting is None else str(int(changes.is_starting)),
        "recovery": None if changes.recovery_stored is None else str(int(changes.recovery_stored)),
        "staged": None if changes.is_staged is None else str(int(changes.is_staged)),
        "state": None if changes.state is None else changes.state.value,
        "expires": None if changes.expires_at_s is None else str(changes.expires_at_s),
        "join": changes.join,
    }
    return [text for name, value in fields.items() if value is not None for text in (name, value)]


def _or(new: T | None, old: T) -> T:
    return old if new is None else new
