"""The recovery object: what it takes to rebuild the record of an upload that S3 has bytes of.

It lies at `<prefix>.tus/<id>.json` from the start of the multipart upload, or from the moment the
tail was parked in S3, until the upload is complete or terminated. A partial upload's stays as long
as its object: the clean-up finds that by it when Redis has forgotten both. If Redis loses
everything, it, ListParts and the parked tail say what is durable.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from tusd_s3.model.layout import PartLayout
from tusd_s3.model.objects import OWN_FOLDER
from tusd_s3.model.upload import Upload, UploadId

DOCUMENT_MAX_BYTES = 1024 * 1024
"""What is read of a recovery object. Its longest field is a list of up to 10,000 ETags of 34
characters; beside it the metadata, which is bounded far below."""

DIRECTORY = OWN_FOLDER
"""Below the object prefix; no upload's key may begin with it."""

TAIL_SUFFIX = ".tail"
"""Ends the key of a parked tail, which begins like the recovery object's."""


def recovery_key(prefix: str, upload_id: UploadId) -> str:
    """Key of the recovery object."""
    return f"{prefix}{DIRECTORY}{upload_id}.json"


def tail_key(prefix: str, upload_id: UploadId, name: str) -> str:
    """Key of a tail that is parked in S3."""
    return f"{prefix}{DIRECTORY}{upload_id}.{name}{TAIL_SUFFIX}"


@dataclass(frozen=True, slots=True)
class ParkedTail:
    """A tail in S3. base: offset of its first byte in the upload. size: in bytes."""

    name: str
    base: int
    size: int


@dataclass(frozen=True, slots=True)
class Statement:
    """What a recovery object says.

    upload: with no parts and no tail yet. tail: the one in S3, if there is one.
    vouched: see `ports.Objects.put_recovery`.
    """

    upload: Upload
    tail: ParkedTail | None = None
    vouched: tuple[str, ...] | None = None


def dump_recovery(upload: Upload, vouched: Sequence[str] | None) -> bytes:
    """JSON with everything of the record that S3 does not know."""
    tail = {"name": upload.parked, "base": upload.parts_bytes, "size": upload.tail_bytes}
    return json.dumps(
        {
            "v": 2,
            "id": upload.id,
            "key": upload.key,
            "multipart_id": upload.multipart_id,
            "layout": upload.layout.dump(),
            "length": upload.length,
            "metadata": upload.metadata,
            "expires_at_s": upload.expires_at_s,
            "vouched": None if vouched is None else list(vouched),
            "tail": tail if upload.parked else None,
            "concat": upload.concat,
        }
    ).encode()


def load_recovery(upload_id: UploadId, document: bytes) -> Statement:
    """What a recovery object says: the inverse of `dump_recovery`.

    Raises ValueError for what is not this upload's recovery object.
    """
    fields = json.loads(document)
    try:
        if fields["v"] != 2 or fields["id"] != upload_id:
            raise ValueError("another form, or another upload's")
        vouched, tail = fields["vouched"], fields["tail"]
        upload = Upload(
            id=upload_id,
            key=str(fields["key"]),
            length=None if fields["length"] is None else int(fields["length"]),
            metadata=str(fields["metadata"]),
            expires_at_s=int(fields["expires_at_s"]),
            layout=PartLayout.parse(fields["layout"]),
            multipart_id=None if fields["multipart_id"] is None else str(fields["multipart_id"]),
            recovery_stored=True,
            is_staged=vouched is not None,
            concat=str(fields.get("concat", "")),
        )
        return Statement(
            upload=upload,
            tail=None
            if tail is None
            else ParkedTail(str(tail["name"]), int(tail["base"]), int(tail["size"])),
            vouched=None if vouched is None else tuple(map(str, vouched)),
        )
    except (KeyError, TypeError) as error:
        raise ValueError("a field is missing or of another kind") from error


@dataclass(frozen=True, slots=True)
class StoredPart:
    """A part as S3 lists it. size: in bytes."""

    number: int
    size: int
    etag: str
    modified: datetime


def contiguous_parts(stated: Statement, listed: Iterable[StoredPart]) -> list[StoredPart]:
    """The parts that are stored in a row from the first one, each with its full size.

    A part of another size is not trusted, nor anything behind it; only the one that ends the
    upload may be short. Nor is one that had to be vouched for, and is not. A store that lists a
    number twice (SeaweedFS) means the newest.
    """
    upload, vouched = stated.upload, stated.vouched
    if upload.is_final:
        return []  # its parts are of another layout; they are made again, from what S3 has
    newest: dict[int, StoredPart] = {}
    for part in sorted(listed, key=lambda part: part.modified):
        if vouched is None or vouched[part.number - 1 : part.number] == (part.etag,):
            newest[part.number] = part
    row: list[StoredPart] = []
    while (following := newest.get(len(row) + 1)) is not None:
        if following.size != _size(upload, following):
            break
        row.append(following)
    return row


def _size(upload: Upload, part: StoredPart) -> int:
    full = upload.layout.size_of(part.number)
    if upload.length is None:
        return full
    return min(full, upload.length - upload.layout.start_of(part.number))
