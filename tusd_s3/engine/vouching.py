"""Writes recovery objects, and vouches in them for parts.

When Redis has lost a record, the parts that S3 has in a row are taken for the upload's. That is
right as long as every part holds what its client sent. It ends with a body that came with a
checksum: its parts are sent before it is known to agree, and S3 cannot take a part back. From then
on the recovery object names the parts that count, one by one, by their ETags; it is written again
before further ones are recorded. A store may also list a number twice, or take a part late that
was given up: the ETag tells which one is meant.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tusd_s3.ports import Held, Objects, UploadRecords


async def write_recovery(
    held: Held,
    records: UploadRecords,
    objects: Objects,
    *,
    etags: Sequence[str] = (),
    parked: str | None = None,
) -> None:
    """Store the recovery object of a held upload.

    etags: of parts that are about to be recorded. parked: name of the tail that is about to leave
    Redis. Raises StateUnavailable, LeaseLost, StorageUnavailable.
    """
    upload = held.upload
    vouched = [*await records.etags(held), *etags] if upload.is_staged else None
    await objects.put_recovery(replace(upload, parked=parked or upload.parked), vouched)
