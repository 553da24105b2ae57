"""From an upload's id to its object's bytes, or to why there are none.

No lease is taken, nothing is written, nothing is extended: a download may last for hours, and any
number of them may go on beside each other and beside whatever else is done with the upload.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Final, Protocol

from tusd_s3 import errors
from tusd_s3.budget import MemoryBudget
from tusd_s3.downloads.delivery import Delivery
from tusd_s3.downloads.options import DownloadOptions
from tusd_s3.downloads.window import Window
from tusd_s3.model.objects import key_beginning, upload_id_in_key
from tusd_s3.model.upload import Upload, UploadId, UploadState
from tusd_s3.ports_downloads import (
    BehindTheEnd,
    NotModified,
    ObjectBody,
    ObjectChanged,
    ObjectInfo,
    ObjectReads,
)
from tusd_s3.protocol.conditions import Conditions, Validators, Verdict
from tusd_s3.protocol.disposition import served_disposition, served_type
from tusd_s3.protocol.ranges import RangeSpec

logger = logging.getLogger("tusd_s3.downloads")

_KEYS_LOOKED_AT_MAX: Final = 8
"""Of those that begin with an id. There is one, unless somebody else puts things there."""


class Peeking(Protocol):
    """The part of `ports.UploadRecords` that downloads need."""

    async def peek(self, upload_id: UploadId) -> Upload | None:
        """See `ports.UploadRecords.peek`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadRequest:
    """What a GET asks for. wanted: None for the whole."""

    wanted: RangeSpec | None
    conditions: Conditions


@dataclass(frozen=True, slots=True)
class Unchanged:
    """The client has it already."""

    validators: Validators


class Downloads:
    """Of one worker."""

    def __init__(
        self, records: Peeking, reads: ObjectReads, options: DownloadOptions, budget: MemoryBudget
    ) -> None:
        self._records = records
        self._reads = reads
        self._options = options
        self._budget = budget
        self._open = 0

    async def open(self, upload_id: UploadId, request: DownloadRequest) -> Delivery | Unchanged:
        """The upload's bytes, as far as they are asked for; `finish` must follow on a delivery.

        Raises UploadNotFound, UploadUnfinished, PartialUpload; PreconditionFailed,
        RangeNotSatisfiable; TooManyDownloads, StorageUnavailable, StateUnavailable.
        """
        if self._open >= self._options.open_max:
            raise errors.TooManyDownloads
        self._open += 1
        try:
            key = await self._key_of(upload_id)
            answer = await self._answer(key, request)
            if isinstance(answer, Unchanged):
                self._open -= 1
                return answer
            return Delivery(
                self._reads,
                key,
                answer,
                Window(self._budget),
                is_partial=_is_partial(request.wanted, answer),
            )
        except BaseException as error:
            self._open -= 1
            if isinstance(error, errors.NoSuchObject):
                raise errors.UploadNotFound from error
            raise

    def finish(self, delivery: Delivery) -> None:
        """It is over, however it ended."""
        delivery.close()
        self._open -= 1

    async def link(self, upload_id: UploadId) -> str:
        """An address of the store's at which the upload can be had for a while.

        Raises as `open` does, but for what is about conditions and ranges: the store judges those.
        """
        try:
            key = await self._key_of(upload_id)
            info = await self._reads.look(key)
        except errors.NoSuchObject as error:
            raise errors.UploadNotFound from error
        return await self._reads.link(
            key,
            life_s=self._options.link_life_s,
            content_type=served_type(info.content_type),
            disposition=served_disposition(info.content_type, info.content_disposition),
        )

    # --- which object -------------------------------------------------------------------------

    async def _key_of(self, upload_id: UploadId) -> str:
        """By its record, while there is one; a finished upload outlives that. Then by its id."""
        try:
            upload = await self._records.peek(upload_id)
        except errors.StateUnavailable:
            key = await self._key_without_record(upload_id)
            try:
                await self._reads.look(key)
            except errors.NoSuchObject:
                pass  # whether there is such an upload, only the record could say
            else:
                return key
            raise
        if upload is None:
            return await self._key_without_record(upload_id)
        await self._check_is_there(upload)
        return upload.key

    async def _check_is_there(self, upload: Upload) -> None:
        if upload.state is UploadState.TERMINATING:
            raise errors.UploadNotFound
        if upload.is_partial:
            raise errors.PartialUpload
        if upload.state is UploadState.COMPLETE:
            return
        # A Redis that fell back to an older copy says this of what was finished since. Nobody would
        # ask for the offset of that again; but its object, which exists as a whole or not at all,
        # is there.
        try:
            info = await self._reads.look(upload.key)
        except (errors.NoSuchObject, errors.StorageUnavailable) as error:
            raise errors.UploadUnfinished from error
        if info.length != upload.length:
            raise errors.UploadUnfinished

    async def _key_without_record(self, upload_id: UploadId) -> str:
        """Raises UploadNotFound if it cannot be told, or if nothing begins like it."""
        template, prefix = self._options.key_template, self._options.key_prefix
        beginning = key_beginning(template, prefix=prefix, upload_id=upload_id)
        if beginning is None:
            raise errors.UploadNotFound
        if "{filename}" not in template:
            return beginning
        for key in await self._reads.keys_of(beginning, _KEYS_LOOKED_AT_MAX):
            if upload_id_in_key(template, prefix=prefix, key=key) == upload_id:
                return key
        raise errors.UploadNotFound

    # --- what of it ---------------------------------------------------------------------------

    async def _answer(self, key: str, request: DownloadRequest) -> ObjectBody | Unchanged:
        conditions, wanted = request.conditions, request.wanted
        if wanted is not None and wanted.is_hopeless:
            return await self._beside_the_range(key, request)
        try:
            body = await self._reads.open(
                key,
                wanted,
                if_match=conditions.only_match,
                if_none_match=conditions.only_none_match,
            )
        except NotModified as same:
            return Unchanged(same.validators)
        except ObjectChanged as error:
            raise errors.PreconditionFailed from error
        except BehindTheEnd:
            return await self._beside_the_range(key, request)
        try:
            if _is_unchanged(conditions, body.info):
                body.close()
                return Unchanged(body.info.validators)
            if wanted is None or conditions.range_holds(body.info.validators):
                return body
        except BaseException:
            body.close()
            raise
        body.close()
        return await self._reads.open(key, None)

    async def _beside_the_range(self, key: str, request: DownloadRequest) -> ObjectBody | Unchanged:
        """The range lies behind the end. Only now it matters how long the object is; and the
        conditions come first (RFC 9110, 13.2.2)."""
        info = await self._reads.look(key)
        if _is_unchanged(request.conditions, info):
            return Unchanged(info.validators)
        # Of nothing every range lies behind the end, also the `bytes=0-` of a browser that asks for
        # all there is. `Range` may be ignored.
        if info.length == 0 or not request.conditions.range_holds(info.validators):
            return await self._reads.open(key, None)
        raise errors.RangeNotSatisfiable(info.length)


def _is_unchanged(conditions: Conditions, info: ObjectInfo) -> bool:
    """Raises PreconditionFailed."""
    verdict = conditions.judge(info.validators)
    if verdict is Verdict.FAILED:
        raise errors.PreconditionFailed
    return verdict is Verdict.NOT_MODIFIED


def _is_partial(wanted: RangeSpec | None, body: ObjectBody) -> bool:
    """Whether what comes is the range that was asked for, and not the whole instead of it."""
    return wanted is not None and wanted.of(body.span.length) == body.span
