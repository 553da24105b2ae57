"""Moves a request's body into an upload that is held."""

from __future__ import annotations

import logging
import time
from typing import Final

from tusd_s3 import errors
from tusd_s3.budget import Account, MemoryBudget
from tusd_s3.engine import parking
from tusd_s3.engine.options import EngineOptions
from tusd_s3.engine.reader import BodyReader
from tusd_s3.engine.writer import Bench, UploadWriter
from tusd_s3.model.checksum import BodyDigest
from tusd_s3.model.upload import Upload, UploadState
from tusd_s3.planner.choose import with_declared_length
from tusd_s3.ports import (
    BodyEnd,
    BodySource,
    Held,
    Objects,
    Reception,
    ReceptionObserver,
    StopReason,
    UploadRecords,
)
from tusd_s3.protocol.message import AppendRequest, CreateRequest, Verification

logger = logging.getLogger("tusd_s3.engine")

_STOP_ERRORS: Final[dict[StopReason, type[errors.UploadError]]] = {
    StopReason.RELEASE_REQUESTED: errors.UploadInterrupted,
    StopReason.SHUTDOWN: errors.ShuttingDown,
    StopReason.SILENCE: errors.BodyTimedOut,
    StopReason.MEMORY: errors.ServerBusy,
    StopReason.LEASE_LOST: errors.LeaseLost,
}

_NOTHING_KEPT: Final = (
    "The body was cut short; as it came with a checksum, nothing of it was kept. Send it again."
)


class Intake:
    """What PATCH and a POST with a first chunk have in common."""

    def __init__(
        self,
        records: UploadRecords,
        objects: Objects,
        options: EngineOptions,
        budget: MemoryBudget,
        observer: ReceptionObserver | None = None,
    ) -> None:
        self._observer = observer
        self._records = records
        self._objects = objects
        self._options = options
        self._bench = Bench(records, objects, budget, options.concurrent_parts, self.expiry)

    def reader(self, body: BodySource) -> BodyReader:
        """Of a request's body. Make it before the work begins, so that it can be stopped."""
        return BodyReader(
            body,
            silence_max_s=self._options.body_silence_max_s,
            housekeeping_s=self._options.checkpoint_interval_s,
        )

    def expiry(self) -> int:
        """When an upload that changes now expires (Unix seconds)."""
        return int(time.time() + self._options.lifetime_s)

    def admit(self, upload: Upload, request: AppendRequest) -> Upload:
        """The upload with what the request declares. Raises RequestError if it does not fit."""
        if existing(upload).is_final:
            raise errors.FinalUpload
        if request.offset != upload.offset:
            raise errors.OffsetMismatch(upload.offset)
        if request.declared_length is not None:
            if request.declared_length > self._options.max_upload_bytes:
                raise errors.UploadTooLarge(self._options.max_upload_bytes)
            upload = with_declared_length(upload, request.declared_length, self._options.policy)
        if upload.offset + (request.body_length or 0) > self._end_of(upload):
            raise self._too_long(upload)
        return upload

    async def receive(
        self,
        held: Held,
        declared: Upload,
        reader: BodyReader,
        request: AppendRequest | CreateRequest,
    ) -> Upload:
        """The held upload when the body has ended, with what came of it. Gives up the lease.

        declared: see `admit`. A body that is to be verified counts as a whole or not at all.
        Raises ChecksumMismatch, InvalidHeader (for a checksum behind the body), BodyTooLong,
        UploadTooLarge, UploadNotFound, UploadInterrupted, TemporaryError.
        """
        writer = self.writer(
            held,
            declared,
            account=reader.account,
            body_bytes=request.body_length,
            staging=request.verification is not None,
        )

        def on_stop(reason: StopReason) -> None:
            reader.stop(reason)
            if reason is StopReason.LEASE_LOST:
                writer.abandon()

        held.listen(on_stop, writer.secure)
        reception = Reception(held.upload.id, lambda: writer.offset)
        if self._observer is not None:
            self._observer.began(reception)
        try:
            if request.verification is None:
                end = await self._pump(reader, writer, declared)
            else:
                end = await self._pump_verified(reader, writer, declared, request.verification)
            if writer.is_whole and held.upload.state is UploadState.OPEN:
                await writer.settle_whole()
            else:
                await writer.settle()
        except errors.UploadNotFound:
            await vanished(held, self._records, self._objects)
            raise
        finally:
            await writer.stop()
            if self._observer is not None:
                self._observer.ended(reception)
        if isinstance(end, StopReason) and not held.upload.is_whole:
            raise _STOP_ERRORS[end](offset=held.upload.offset)
        return held.upload

    async def _pump_verified(
        self, reader: BodyReader, writer: UploadWriter, upload: Upload, verification: Verification
    ) -> BodyEnd | StopReason:
        """`_pump`, and let the body count if it was whole and agrees."""
        digest = BodyDigest(verification.algorithm)
        offset = upload.offset
        try:
            end = await self._pump(reader, writer, upload, digest)
            if end is not BodyEnd.COMPLETE:
                if end is BodyEnd.DISCONNECTED:
                    raise errors.BodyCutShort(offset=offset)
                raise _STOP_ERRORS[end](_NOTHING_KEPT, offset=offset)
            if not digest.agrees_with(verification.expected()):
                raise errors.ChecksumMismatch(offset=offset)
        except errors.UploadError:
            await writer.reject()
            raise
        writer.accept()
        return end

    async def _pump(
        self,
        reader: BodyReader,
        writer: UploadWriter,
        upload: Upload,
        digest: BodyDigest | None = None,
    ) -> BodyEnd | StopReason:
        """Move the body into the writer until it ends, or until a part cannot be stored."""
        end_of_upload = self._end_of(upload)
        try:
            with reader:
                if not writer.is_whole:
                    await writer.start()
                while True:
                    item = await reader.read()
                    if isinstance(item, bytes | memoryview):
                        if writer.offset + len(item) > end_of_upload:
                            raise self._too_long(upload)
                        if digest is not None:
                            digest.update(item)
                        await writer.write(item)
                    elif item is None:
                        if reader.account.is_asked and writer.is_staging:
                            return StopReason.MEMORY
                        await writer.checkpoint()
                        reader.trim()
                        reader.account.yielded()
                    else:
                        return item
        except errors.StorageUnavailable:
            return BodyEnd.DISCONNECTED  # settling meets the same error and reports it

    def writer(
        self,
        held: Held,
        declared: Upload,
        *,
        account: Account | None = None,
        body_bytes: int | None = None,
        staging: bool = False,
    ) -> UploadWriter:
        """Of a held upload. declared: as it will be. The others: see `UploadWriter`."""
        return UploadWriter(
            held, declared, self._bench, account=account, body_bytes=body_bytes, staging=staging
        )

    def _end_of(self, upload: Upload) -> int:
        """The offset no byte may pass."""
        if upload.length is not None:
            return upload.length
        return min(self._options.max_upload_bytes, upload.layout.capacity_bytes)

    def _too_long(self, upload: Upload) -> errors.RequestError:
        if upload.length is not None:
            return errors.BodyTooLong()
        return errors.UploadTooLarge(self._end_of(upload))


def existing(upload: Upload) -> Upload:
    """`upload`, unless it is being removed. Raises UploadNotFound."""
    if upload.state is UploadState.TERMINATING:
        raise errors.UploadNotFound
    return upload


async def vanished(held: Held, records: UploadRecords, objects: Objects) -> None:
    """S3 dropped the multipart upload on its own: the upload is gone, say so from now on."""
    logger.warning("upload %s: S3 no longer has its multipart upload", held.upload.id)
    await records.forget(held)
    await parking.drop(held.upload, objects)
    try:
        await objects.delete_recovery(held.upload.id)
    except errors.StorageUnavailable:
        logger.warning("upload %s: its recovery object stays", held.upload.id)
