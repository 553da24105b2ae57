"""The partial uploads that a final one is made of: whether they are usable, and their bytes.

A partial upload is usable once it has all its bytes; then it never changes. One that was longer
than a part is an object; a shorter one is still its tail, in Redis or parked in S3. They must not
expire while a final upload is made of them, and need not stay for long afterwards: their expiry is
moved at both ends.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Final, TypeVar

from tusd_s3 import errors
from tusd_s3.engine.options import EngineOptions
from tusd_s3.engine.recovery import RecoveringRecords
from tusd_s3.engine.tasks import ProtectedTasks
from tusd_s3.model.upload import Upload, UploadId, UploadState
from tusd_s3.planner.join import Piece, Source
from tusd_s3.ports import Changes, Held, Objects, UploadRecords
from tusd_s3.ports_copies import ByteRange, Copies

logger = logging.getLogger("tusd_s3.engine")

T = TypeVar("T")

AT_ONCE_MAX: Final = 16
"""Partial uploads held at the same time: a few hundred must not crowd out other requests."""

KEPT_S: Final = 3600.0
"""A partial upload stays for so long after it became part of a final one. The final one no longer
needs it; a client that makes two finals of the same partials, or the same one again after it was
terminated, does."""

_KEPT_PER_LIFETIME: Final = 0.25
"""With a short lifetime, an hour would be longer than what unused partial uploads get."""


class SourceGoneError(Exception):
    """A partial upload, or its bytes, are no longer there."""


def kept_s(lifetime_s: float) -> float:
    """How long a used partial upload stays; lifetime_s: of uploads."""
    return min(KEPT_S, lifetime_s * _KEPT_PER_LIFETIME)


class Sources:
    """Access to partial uploads.

    tasks: a part that is dropped half-way must not leave a lease behind that nobody gives up.
    complete: turns a held upload that has all its bytes into its object.
    """

    def __init__(
        self,
        records: UploadRecords,
        recovering: RecoveringRecords,
        objects: Objects,
        copies: Copies,
        tasks: ProtectedTasks,
        complete: Callable[[Held], Awaitable[Upload]],
        options: EngineOptions,
    ) -> None:
        self._records = records
        self._recovering = recovering
        self._objects = objects
        self._copies = copies
        self._tasks = tasks
        self._complete = complete
        self._lifetime_s = options.lifetime_s
        self._turns = asyncio.Semaphore(AT_ONCE_MAX)

    async def length_of(self, ids: Sequence[UploadId]) -> int:
        """How many bytes they have together; nothing is changed.

        Raises UnusablePartial, UnfinishedPartial; UploadLocked, TemporaryError."""
        distinct = list(dict.fromkeys(ids))
        looked_at = await _all(self._look_at(upload_id) for upload_id in distinct)
        lengths = dict(zip(distinct, looked_at, strict=True))
        return sum(lengths[upload_id] for upload_id in ids)

    async def take(self, ids: Sequence[UploadId]) -> list[Upload]:
        """The partial uploads of these ids, which expire a lifetime from now.

        Raises UnusablePartial, UnfinishedPartial; UploadLocked, TemporaryError."""
        distinct = list(dict.fromkeys(ids))
        taken = await _all(self._take(upload_id) for upload_id in distinct)
        known: Mapping[UploadId, Upload] = dict(zip(distinct, taken, strict=True))
        return [known[upload_id] for upload_id in ids]

    async def let_go(self, ids: Sequence[UploadId]) -> None:
        """They became part of a final upload, and need not stay for long. Never raises: they
        also expire by themselves."""
        expires_at_s = int(time.time() + kept_s(self._lifetime_s))
        await _all(self._shorten(upload_id, expires_at_s) for upload_id in dict.fromkeys(ids))

    async def read(self, source: Upload, piece: Piece) -> bytes:
        """The bytes of a piece of `source`. Raises SourceGoneError, UploadLocked,
        TemporaryError."""
        if is_object(source):
            return await self._copies.read_range(byte_range(source, piece))
        tail = await self._tasks.run(self._read_tail(source.id))
        if len(tail) != source.length:
            raise SourceGoneError
        return tail[piece.start : piece.start + piece.size]

    async def _look_at(self, upload_id: UploadId) -> int:
        async with self._turns:
            try:
                upload = await self._recovering.inspect(upload_id)
            except errors.UploadNotFound as error:
                raise errors.UnusablePartial from error
            return _usable(upload)

    async def _take(self, upload_id: UploadId) -> Upload:
        async with self._turns:
            try:
                held = await self._recovering.acquire(upload_id)
            except errors.UploadNotFound as error:
                raise errors.UnusablePartial from error
            try:
                return await self._admit(held)
            finally:
                await self._let_go(held)

    async def _admit(self, held: Held) -> Upload:
        _usable(held.upload)
        if held.upload.awaits_completion:
            return await self._complete(held)
        expires_at_s = int(time.time() + self._lifetime_s)
        await self._records.commit(held, Changes(expires_at_s=expires_at_s), release=True)
        return held.upload

    async def _shorten(self, upload_id: UploadId, expires_at_s: int) -> None:
        async with self._turns:
            try:
                held = await self._records.acquire(upload_id)
                try:
                    if held.upload.expires_at_s > expires_at_s:
                        changes = Changes(expires_at_s=expires_at_s)
                        await self._records.commit(held, changes, release=True)
                finally:
                    await self._let_go(held)
            except errors.UploadError as error:
                logger.info("upload %s: expires as it would have: %s", upload_id, error.code)

    async def _read_tail(self, upload_id: UploadId) -> bytes:
        async with self._turns:
            try:
                held = await self._recovering.acquire(upload_id)
            except errors.UploadNotFound as error:
                raise SourceGoneError from error
            try:
                if held.upload.parked is None:
                    return b"".join(await self._records.read_tail(held))
                return await self._objects.read_tail(upload_id, held.upload.parked) or b""
            finally:
                await self._let_go(held)

    async def _let_go(self, held: Held) -> None:
        if not held.released:
            await self._records.release(held)


def is_object(upload: Upload) -> bool:
    """Whether a whole partial upload is an object, or still its tail."""
    return upload.state is UploadState.COMPLETE


def _usable(upload: Upload) -> int:
    """The length of an upload that a final one can be made of; else why it cannot."""
    if not upload.is_partial or upload.state is UploadState.TERMINATING:
        raise errors.UnusablePartial
    if upload.length is None or not upload.is_whole:
        raise errors.UnfinishedPartial
    return upload.length


def as_source(upload: Upload) -> Source:
    """What the plan has to know of a whole partial upload."""
    assert upload.length is not None
    return Source(length=upload.length, is_object=is_object(upload))


def byte_range(upload: Upload, piece: Piece) -> ByteRange:
    """Where S3 has a piece of a partial upload that is an object."""
    assert upload.length is not None
    return ByteRange(key=upload.key, start=piece.start, size=piece.size, length=upload.length)


async def _all(work: Iterable[Awaitable[T]]) -> list[T]:
    """The results in order. The first failure is raised when all are through: none of them may
    still hold something then."""
    ended = await asyncio.gather(*work, return_exceptions=True)
    for result in ended:
        if isinstance(result, BaseException):
            raise result
    return [result for result in ended if not isinstance(result, BaseException)]
