"""Finds what uploads left behind in S3 when Redis forgot them. When it may go is told in `expiry`.

Lists and reads, until a deed that it hands out is done. Right before anything is removed, Redis is
asked once more: what was listed a while ago may have been brought back since.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from functools import partial

from tusd_s3.engine import expiry
from tusd_s3.engine.chores import Chore, Deed, Duty
from tusd_s3.engine.sweep import Between, SweepOptions, paced
from tusd_s3.model.objects import upload_id_in_key
from tusd_s3.model.upload import Upload, UploadId, UploadState
from tusd_s3.ports import Objects
from tusd_s3.ports_cleanup import Housekeeping, Leftovers, ListedMultipart, Listing, StoredLeftover


class LeftoverSweep:
    """See the module."""

    def __init__(
        self,
        housekeeping: Housekeeping,
        leftovers: Leftovers,
        objects: Objects,
        options: SweepOptions,
        between: Between,
    ) -> None:
        self._housekeeping = housekeeping
        self._leftovers = leftovers
        self._objects = objects
        self._options = options
        self._between = between

    # --- recovery objects and parked tails ------------------------------------------------------

    async def stored(self) -> AsyncGenerator[Chore, None]:
        """Of expired uploads, what their recovery object speaks of; tails that nobody names."""
        lifetime_s = self._options.lifetime_s
        async for page in paced(self._leftovers.stored(), self._between):
            now_s = time.time()
            old = [item for item in page if expiry.is_old(item.modified_at_s, lifetime_s, now_s)]
            records = await self._housekeeping.look_up({item.upload_id for item in old})
            for item in old:
                if (chore := self._chore_of(item, records.get(item.upload_id))) is not None:
                    yield chore

    def _chore_of(self, item: StoredLeftover, listing: Listing | None) -> Chore | None:
        upload_id, tail = item.upload_id, item.tail
        if tail is None:
            if listing is not None:
                return None
            return Chore(
                duty=Duty.EXPIRED, upload_id=upload_id, look=partial(self._look_at_upload, item)
            )
        if not expiry.can_do_without_tail(listing, tail):
            return None
        look = partial(self._look_at_tail, item, tail)
        return Chore(duty=Duty.TAIL, upload_id=upload_id, detail=tail, look=look)

    async def _look_at_upload(self, item: StoredLeftover) -> Deed | None:
        recovered = await self._objects.recover(item.upload_id)
        age_s = time.time() - item.modified_at_s
        if recovered is None or _is_finished(recovered.upload):
            return Deed(
                duty=Duty.RECOVERY,
                age_s=age_s,
                size_bytes=item.size_bytes,
                do=partial(self._remove_recovery, item.upload_id),
            )
        upload = recovered.upload
        if not expiry.is_expired(recovered, self._options.lifetime_s, time.time()):
            return None
        if not upload.key.startswith(self._options.key_prefix):
            return None
        return Deed(
            duty=Duty.EXPIRED,
            age_s=age_s,
            size_bytes=upload.offset,
            do=partial(self._remove_expired, upload),
        )

    async def _remove_recovery(self, upload_id: UploadId) -> bool:
        if await self._record_of(upload_id) is not None:
            return False
        await self._objects.delete_recovery(upload_id)
        return True

    async def _remove_expired(self, upload: Upload) -> bool:
        """The recovery object goes last: what fails half-way is found by it again."""
        if await self._record_of(upload.id) is not None:
            return False
        if upload.multipart_id is not None:
            await self._objects.abort_multipart(upload.key, upload.multipart_id)
        if upload.parked is not None:
            await self._objects.delete_tail(upload.id, upload.parked)
        if upload.is_partial:
            await self._objects.delete_object(upload.key)
        await self._objects.delete_recovery(upload.id)
        return True

    async def _look_at_tail(self, item: StoredLeftover, tail: str) -> Deed | None:
        recovered = await self._objects.recover(item.upload_id)
        if recovered is not None and recovered.upload.parked == tail:
            return None  # Redis lost the record, not S3 the upload: they stay and go together
        return Deed(
            duty=Duty.TAIL,
            age_s=time.time() - item.modified_at_s,
            size_bytes=item.size_bytes,
            do=partial(self._remove_tail, item.upload_id, tail),
        )

    async def _remove_tail(self, upload_id: UploadId, tail: str) -> bool:
        if not expiry.can_do_without_tail(await self._record_of(upload_id), tail):
            return False
        await self._objects.delete_tail(upload_id, tail)
        return True

    # --- multipart uploads ----------------------------------------------------------------------

    async def multiparts(self) -> AsyncGenerator[Chore, None]:
        """Multipart uploads whose id was lost before it could be recorded."""
        async for page in paced(self._leftovers.multiparts(), self._between):
            ours = [(item, found) for item in page if (found := self._id_in(item.key))]
            records = await self._housekeeping.look_up({upload_id for _, upload_id in ours})
            now_s = time.time()
            for item, upload_id in ours:
                listing = records.get(upload_id)
                if expiry.may_be_orphan(item, listing, self._options.lifetime_s, now_s):
                    look = partial(self._look_at_multipart, upload_id, item, listing)
                    yield Chore(
                        duty=Duty.ORPHAN, upload_id=upload_id, detail=item.multipart_id, look=look
                    )

    def _id_in(self, key: str) -> UploadId | None:
        options = self._options
        return upload_id_in_key(options.key_template, prefix=options.key_prefix, key=key)

    async def _look_at_multipart(
        self, upload_id: UploadId, item: ListedMultipart, listing: Listing | None
    ) -> Deed | None:
        recovered = await self._objects.recover(upload_id)
        own_prefix = bool(self._options.key_prefix)
        if not expiry.is_orphan(item, listing, recovered, own_prefix=own_prefix):
            return None
        return Deed(
            duty=Duty.ORPHAN,
            age_s=time.time() - item.started_at_s,
            size_bytes=None,
            do=partial(self._abort, upload_id, item),
        )

    async def _abort(self, upload_id: UploadId, item: ListedMultipart) -> bool:
        listing = await self._record_of(upload_id)
        if not expiry.may_be_orphan(item, listing, self._options.lifetime_s, time.time()):
            return False
        await self._objects.abort_multipart(item.key, item.multipart_id)
        return True

    async def _record_of(self, upload_id: UploadId) -> Listing | None:
        return (await self._housekeeping.look_up([upload_id])).get(upload_id)


def _is_finished(upload: Upload) -> bool:
    """Whether its object is its owner's. That of a partial upload goes with the upload."""
    return upload.state is UploadState.COMPLETE and not upload.is_partial
