"""Tails that leave Redis for S3, and come back.

A tail waits in Redis because it changes with every small PATCH. An upload that rests, paused for
the night or given up, does not change: its tail is as safe in S3, where it costs no memory. There
it lies beside the recovery object, which speaks of it, so that such an upload also survives the
loss of Redis.

Every parking has a name of its own. A process that was frozen in the middle of one and wakes up
late can then not replace a newer tail by an older one; what it leaves behind is cleaned up.
"""

from __future__ import annotations

import logging
import secrets

from tusd_s3 import errors
from tusd_s3.budget import MemoryBudget
from tusd_s3.engine.vouching import write_recovery
from tusd_s3.model.upload import Upload, UploadId, UploadState
from tusd_s3.ports import Changes, Held, Objects, UploadRecords

logger = logging.getLogger("tusd_s3.engine")

_NAME_BYTES = 8
"""Random bytes in a name: two parkings of one upload never meet."""


def can_be_parked(upload: Upload) -> bool:
    """Whether there is a tail to move, of an upload that waits for bytes, or as a partial upload
    for a final one."""
    is_waiting = upload.state is UploadState.OPEN and not upload.awaits_completion
    return is_waiting and upload.tail_bytes > 0 and upload.parked is None


async def park(held: Held, records: UploadRecords, objects: Objects, budget: MemoryBudget) -> None:
    """Move the tail of a held upload to S3 and give up its lease. Its expiry stays as it was.

    Raises TemporaryError; the tail then stays in Redis.
    """
    upload, name = held.upload, secrets.token_hex(_NAME_BYTES)
    async with budget.loan(upload.tail_bytes):
        tail = await records.read_tail(held)
        await objects.put_tail(upload.id, name, tail, upload.tail_bytes)
        del tail
    try:
        await write_recovery(held, records, objects, parked=name)
        await records.commit(held, Changes(parked=name, recovery_stored=True), release=True)
    except errors.LeaseLost:
        await _mend_recovery(upload.id, records, objects)
        raise


async def unpark(
    held: Held, records: UploadRecords, objects: Objects, budget: MemoryBudget
) -> None:
    """Bring the tail of a held upload back to Redis.

    A tail that S3 no longer has is dropped from the record: the upload's offset goes back.
    Raises TemporaryError; the tail then stays in S3.
    """
    upload = held.upload
    if upload.parked is None:
        return
    async with budget.loan(upload.tail_bytes):
        await _bring_back(upload, upload.parked, held, records, objects)
    await drop(upload, objects)


async def _bring_back(
    upload: Upload, name: str, held: Held, records: UploadRecords, objects: Objects
) -> None:
    tail = await objects.read_tail(upload.id, name)
    if tail is None:
        logger.error("upload %s: S3 lost its parked tail", upload.id)
        await records.commit(held, Changes(unparked=True))
        return
    if len(tail) != upload.tail_bytes:
        # Nothing of ours writes a name twice: what was read is not all of it.
        logger.error("upload %s: %d bytes of its parked tail came", upload.id, len(tail))
        raise errors.StorageUnavailable
    await records.commit(held, Changes(tail=[tail], unparked=True))


async def drop(upload: Upload, objects: Objects) -> None:
    """Remove the stored tail that `upload` names, if any; one that cannot be removed now is left
    to the clean-up."""
    if upload.parked is None:
        return
    try:
        await objects.delete_tail(upload.id, upload.parked)
    except errors.TemporaryError:
        logger.warning("upload %s: a stored tail stays", upload.id)


async def _mend_recovery(upload_id: UploadId, records: UploadRecords, objects: Objects) -> None:
    """Write the recovery object again: ours may have replaced a newer one after the lease was
    lost."""
    try:
        held = await records.acquire(upload_id)
        try:
            if held.upload.recovery_stored:
                await write_recovery(held, records, objects)
        finally:
            await records.release(held)
    except errors.UploadError as error:
        logger.warning("upload %s: its recovery object may be old: %s", upload_id, error.code)
