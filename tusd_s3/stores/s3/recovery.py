"""The recovery object: what it takes to rebuild the record of an upload with parts.

It lies at `<prefix>.tus/<id>.json` from the start of the multipart upload until the upload is
complete or terminated. If Redis loses everything, it and ListParts say what is durable.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from tusd_s3.model.layout import PartLayout
from tusd_s3.model.upload import Upload, UploadId

DOCUMENT_MAX_BYTES = 64 * 1024
"""What is read of a recovery object: its longest field, the metadata, is bounded far below."""

DIRECTORY = ".tus/"
"""Below the object prefix; no upload's key may begin with it."""


def recovery_key(prefix: str, upload_id: UploadId) -> str:
    """Key of the recovery object."""
    return f"{prefix}{DIRECTORY}{upload_id}.json"


def dump_recovery(upload: Upload) -> bytes:
    """JSON with everything of the record that S3 does not know."""
    return json.dumps(
        {
            "v": 1,
            "id": upload.id,
            "key": upload.key,
            "multipart_id": upload.multipart_id,
            "layout": upload.layout.dump(),
            "length": upload.length,
            "metadata": upload.metadata,
            "expires_at_s": upload.expires_at_s,
        }
    ).encode()


def load_recovery(upload_id: UploadId, document: bytes) -> Upload:
    """The upload of a recovery object, with no parts yet. Inverse of `dump_recovery`.

    Raises ValueError for what is not the recovery object of this upload.
    """
    fields = json.loads(document)
    try:
        if fields["v"] != 1 or fields["id"] != upload_id:
            raise ValueError("another form, or another upload's")
        return Upload(
            id=upload_id,
            key=str(fields["key"]),
            length=None if fields["length"] is None else int(fields["length"]),
            metadata=str(fields["metadata"]),
            expires_at_s=int(fields["expires_at_s"]),
            layout=PartLayout.parse(fields["layout"]),
            multipart_id=str(fields["multipart_id"]),
            recovery_stored=True,
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


def contiguous_parts(upload: Upload, listed: Iterable[StoredPart]) -> list[StoredPart]:
    """The parts that are stored in a row from the first one, each with its full size.

    A part of another size is not trusted, nor anything behind it; only the one that ends the
    upload may be short. A store that lists a number twice (SeaweedFS) means the newest.
    """
    newest: dict[int, StoredPart] = {}
    for part in sorted(listed, key=lambda part: part.modified):
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
