"""What the engine needs of the world, as Protocols, one per capability.

Guarantees written here bind every implementation; the engine relies on nothing else. All methods
raise only errors of `tusd_s3.errors`: an adapter translates its vendor's at the place it met them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Protocol

from tusd_s3.model.layout import PartLayout
from tusd_s3.model.metadata import ObjectAttributes
from tusd_s3.model.upload import Upload, UploadId, UploadState


class BodyEnd(Enum):
    """How a request body ended."""

    COMPLETE = auto()
    DISCONNECTED = auto()


class BodySource(Protocol):
    """A request body as the transport yields it."""

    async def read(self) -> bytes | BodyEnd:
        """The next chunk (never empty), or how the body ended (then again and again).

        Cancelling a call loses no byte: the next call yields what the cancelled one would have.
        """
        ...


class StopReason(Enum):
    """Why a holder must let an upload go before its body ended. In order of urgency."""

    RELEASE_REQUESTED = auto()
    SHUTDOWN = auto()
    SILENCE = auto()
    LEASE_LOST = auto()


@dataclass(slots=True, eq=False)
class Held:
    """An upload together with the lease on it.

    The implementation renews the lease until `release`, `commit(release=True)` or `forget`, and
    calls `on_stop` (at most once per reason, from the event loop's thread) when a newcomer wants
    the upload (RELEASE_REQUESTED) or the lease may have expired (LEASE_LOST). A reason that came
    before the holder listened waits in `pending`.

    fence: fencing token, grows with every acquisition of this upload.
    token: names this acquisition among all others.
    upload: the record as of the last successful call.
    released: whether the lease was given up or lost; nothing is left to release then.
    """

    upload: Upload
    fence: int
    token: str
    released: bool = False
    pending: list[StopReason] = field(default_factory=list)
    on_stop: Callable[[StopReason], None] | None = None

    def stop(self, reason: StopReason) -> None:
        """Tell the holder, now or as soon as it listens."""
        if self.on_stop is not None:
            self.on_stop(reason)
        else:
            self.pending.append(reason)

    def listen(self, on_stop: Callable[[StopReason], None]) -> None:
        """From now on call `on_stop`; deliver what came before."""
        self.on_stop = on_stop
        for reason in self.pending:
            on_stop(reason)
        self.pending.clear()


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """One atomic step of an upload's record.

    etags: of the parts that follow those recorded, in order, without a gap. When there are any,
        the old tail's bytes lie within them and the tail starts anew.
    tail: chunks to append to the tail (to the new, empty one if there are etags).
    others: new values of the fields of that name, None for no change.
    """

    etags: Sequence[str] = ()
    tail: Sequence[bytes] = ()
    length: int | None = None
    layout: PartLayout | None = None
    multipart_id: str | None = None
    recovery_stored: bool | None = None
    state: UploadState | None = None
    expires_at_s: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered:
    """What S3 alone knows of an upload.

    upload: as its record would be; complete if the object exists, else with the parts that are
        stored in a row from the first one.
    etags: of those parts.
    changed_at_s: Unix time of the last sign of life.
    """

    upload: Upload
    etags: Sequence[str]
    changed_at_s: float


class UploadRecords(Protocol):
    """Records, tails and leases: one store, because each step must cover all three atomically.

    After `commit` returned, its changes survive the death of this process. A commit that raised
    may or may not have been applied; repeating it is safe. A holder that was fenced (somebody else
    acquired the upload after it) changes nothing, ever, and gets LeaseLost.
    All methods may raise StateUnavailable.
    """

    async def create(self, upload: Upload) -> None:
        """Store a new record that nobody holds."""
        ...

    async def create_held(self, upload: Upload) -> Held:
        """Store a new record and take its lease, in one step."""
        ...

    async def restore(self, upload: Upload, etags: Sequence[str]) -> None:
        """Store a record again that was lost, unless there is one by now."""
        ...

    async def acquire(self, upload_id: UploadId) -> Held:
        """Take the lease and read the record in one step.

        A live holder is asked to let go and waited for. Raises UploadNotFound; UploadLocked when
        the holder did not let go in time.
        """
        ...

    async def inspect(self, upload_id: UploadId) -> Upload:
        """Read the record, after a live holder let go. Raises as `acquire` does; takes no lease."""
        ...

    async def commit(self, held: Held, changes: Changes, *, release: bool = False) -> None:
        """Apply `changes`, update `held.upload`, and with `release` give up the lease as well."""
        ...

    async def read_tail(self, held: Held) -> bytes:
        """The `held.upload.tail_bytes` bytes of the tail."""
        ...

    async def etags(self, held: Held) -> list[str]:
        """ETags of parts 1..`held.upload.parts`, as recorded."""
        ...

    async def release(self, held: Held) -> None:
        """Give up the lease and change nothing else. Never raises: a lease also ends by itself."""
        ...

    async def forget(self, held: Held) -> None:
        """Remove everything of the upload: record, tail, part list, lease."""
        ...


class Objects(Protocol):
    """S3: objects, multipart uploads and recovery objects of one bucket.

    Every call is bounded in time and retried a bounded number of times. All methods may raise
    StorageUnavailable, or StorageRefused when a retry would not help.
    """

    async def put_object(
        self, key: str, chunks: Sequence[bytes], size: int, attributes: ObjectAttributes
    ) -> None:
        """Store `size` bytes (the sum of `chunks`) as one object, replacing what was there."""
        ...

    async def create_multipart(self, key: str, attributes: ObjectAttributes) -> str:
        """Start a multipart upload; its id."""
        ...

    async def upload_part(
        self, key: str, multipart_id: str, number: int, chunks: Sequence[bytes], size: int
    ) -> str:
        """Store one part; its ETag. Safe to repeat for the same bytes.

        Raises UploadNotFound when S3 no longer knows the multipart upload."""
        ...

    async def complete_multipart(
        self, key: str, multipart_id: str, etags: Sequence[str], length: int
    ) -> None:
        """Turn parts 1..len(etags) into the object of `length` bytes. Idempotent: when S3 no
        longer knows the multipart upload, the object under the key is compared with what was
        asked for. Raises UploadNotFound when the multipart upload is gone and the object is not
        ours."""
        ...

    async def abort_multipart(self, key: str, multipart_id: str) -> None:
        """Drop the multipart upload and its parts, until S3 lists none. Unknown ones are fine."""
        ...

    async def delete_object(self, key: str) -> None:
        """Remove the object. An object that is not there is fine."""
        ...

    async def put_recovery(self, upload: Upload) -> None:
        """Store what is needed to rebuild the record of an upload with parts."""
        ...

    async def recover(self, upload_id: UploadId) -> Recovered | None:
        """The upload as S3 knows it; None if there is no recovery object, or nothing is left of
        what it speaks of."""
        ...

    async def delete_recovery(self, upload_id: UploadId) -> None:
        """Remove the recovery object. One that is not there is fine."""
        ...
