"""What the engine needs of the world, as Protocols, one per capability.

Guarantees written here bind every implementation; the engine relies on nothing else. All methods
raise only errors of `tusd_s3.errors`: an adapter translates its vendor's at the place it met them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Protocol

from tusd_s3.budget import Account
from tusd_s3.model.chunk import Chunk
from tusd_s3.model.layout import PartLayout
from tusd_s3.model.metadata import ObjectAttributes
from tusd_s3.model.upload import Upload, UploadId, UploadState


class BodyEnd(Enum):
    """How a request body ended."""

    COMPLETE = auto()
    DISCONNECTED = auto()


class BodySource(Protocol):
    """A request body as the transport yields it."""

    account: Account
    """What was read of the body is charged here; whoever takes a chunk releases it."""

    async def read(self) -> Chunk | BodyEnd:
        """The next chunk (never empty), or how the body ended (then again and again).

        Waits for room in the memory budget first. Cancelling a call loses no byte: the next call
        yields what the cancelled one would have.
        """
        ...

    def trim(self) -> None:
        """Give back what is charged for bytes that have not come: the body makes a pause."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Reception:
    """A body that is being received. offset: tells where the upload's next byte goes, whether or
    not those before it are durable yet."""

    upload_id: UploadId
    offset: Callable[[], int]


class ReceptionObserver(Protocol):
    """Is told what is being received. Both return at once and never raise."""

    def began(self, reception: Reception) -> None:
        """The body begins."""
        ...

    def ended(self, reception: Reception) -> None:
        """It has ended, and what will become of it is recorded."""
        ...


class StopReason(Enum):
    """Why a holder must let an upload go before its body ended. In order of urgency."""

    RELEASE_REQUESTED = auto()
    SHUTDOWN = auto()
    SILENCE = auto()
    MEMORY = auto()
    LEASE_LOST = auto()


@dataclass(slots=True, eq=False)
class Held:
    """An upload together with the lease on it.

    The implementation renews the lease until `release`, `commit(release=True)` or `forget`. It
    calls `on_stop` (at most once per reason, from the event loop's thread) when a newcomer wants
    the upload (RELEASE_REQUESTED) or the lease is lost (LEASE_LOST), and `on_secure` when the lease
    can no longer be relied on (False: it could not be renewed, and may run out) and when it can be
    again (True). What came before the holder listened waits in `pending`.

    token: names this acquisition among all others; the fence.
    step: the last commit that is known to have been made.
    upload: the record as of the last successful call.
    released: whether the lease was given up or lost; nothing is left to release then.
    is_secure: see `on_secure`. Nothing may be sent to S3 while it is off.
    """

    upload: Upload
    token: str
    step: int = 0
    released: bool = False
    is_secure: bool = True
    pending: list[StopReason] = field(default_factory=list)
    on_stop: Callable[[StopReason], None] | None = None
    on_secure: Callable[[bool], None] | None = None
    _steps: int = 0

    def next_step(self) -> int:
        """A number for another commit; never one that was tried before, made or not."""
        self._steps += 1
        return self._steps

    def stop(self, reason: StopReason) -> None:
        """Tell the holder, now or as soon as it listens."""
        if self.on_stop is not None:
            self.on_stop(reason)
        else:
            self.pending.append(reason)

    def secure(self, is_secure: bool) -> None:
        """Tell the holder whether the lease can be relied on."""
        if is_secure is not self.is_secure:
            self.is_secure = is_secure
            if self.on_secure is not None:
                self.on_secure(is_secure)

    def listen(
        self, on_stop: Callable[[StopReason], None], on_secure: Callable[[bool], None]
    ) -> None:
        """From now on call these; deliver what came before."""
        self.on_stop, self.on_secure = on_stop, on_secure
        if not self.is_secure:
            on_secure(False)
        for reason in self.pending:
            on_stop(reason)
        self.pending.clear()


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """One atomic step of an upload's record.

    etags: of the parts that follow those recorded, in order, without a gap. When there are any,
        the old tail's bytes lie within them and the tail starts anew.
    tail: chunks to append to the tail (to the new, empty one if there are etags).
    parked: the tail lies in S3 under this name and leaves Redis.
    unparked: the tail is back: `tail` has all its bytes (or none, if S3 lost them).
    verified: the record agrees with S3 as of now.
    others: new values of the fields of that name, None for no change.
    """

    etags: Sequence[str] = ()
    tail: Sequence[Chunk] = ()
    length: int | None = None
    layout: PartLayout | None = None
    multipart_id: str | None = None
    is_starting: bool | None = None
    recovery_stored: bool | None = None
    is_staged: bool | None = None
    state: UploadState | None = None
    expires_at_s: int | None = None
    parked: str | None = None
    unparked: bool = False
    join: str | None = None
    verified: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered:
    """What S3 alone knows of an upload.

    upload: as its record would be; complete if the object exists, else with the parts that are
        stored in a row from the first one (of a staged upload, only those vouched for), and the
        parked tail behind them. Its expiry is what
        the recovery object says, which is not written again with every part.
    etags: of those parts.
    changed_at_s: Unix time of the newest part, or of the object; 0 if there is none.
    """

    upload: Upload
    etags: Sequence[str]
    changed_at_s: float

    def alive_until_s(self, lifetime_s: float) -> float:
        """Unix time when the upload expires, as far as S3 knows. One rule for those who would
        rebuild the upload and those who would remove it, so that they never race."""
        # In whole seconds, like the record's: an upload must not come back right after its end.
        return max(self.upload.expires_at_s, int(self.changed_at_s + lifetime_s))


class UploadRecords(Protocol):
    """Records, tails and leases: one store, because each step must cover all three atomically.

    After `commit` returned, its changes survive the death of this process. A commit that raised
    may or may not have been applied; repeating it is safe. A holder that was fenced (somebody else
    acquired the upload after it, or Redis fell back to a copy from before its last commit) changes
    nothing, ever, and gets LeaseLost. A short absence of Redis is waited out.
    All methods may raise StateUnavailable.
    """

    async def create(self, upload: Upload) -> None:
        """Store a new record that nobody holds."""
        ...

    async def create_held(self, upload: Upload) -> Held:
        """Store a new record and take its lease, in one step."""
        ...

    async def claim(
        self, name: str, upload: Upload, *, instead_of: UploadId | None = None
    ) -> UploadId:
        """Let `name` mean this upload until it expires, unless it means another one by now (than
        `instead_of`); the id of the upload that it means."""
        ...

    async def named(self, name: str) -> UploadId | None:
        """The upload that `name` means since it was claimed; None if it means none."""
        ...

    async def restore(self, upload: Upload, etags: Sequence[str]) -> None:
        """Store a record again that was lost, unless there is one by now."""
        ...

    async def rebuild(self, held: Held, upload: Upload, etags: Sequence[str]) -> None:
        """Replace the whole record of a held upload, parts included; its lease stays."""
        ...

    async def acquire(self, upload_id: UploadId, *, disturb: bool = True) -> Held:
        """Take the lease and read the record in one step.

        A live holder is asked to let go and waited for. Raises UploadNotFound; UploadLocked when
        the holder did not let go in time. With `disturb` off a live holder is left alone:
        UploadLocked at once.
        """
        ...

    async def inspect(self, upload_id: UploadId) -> Upload:
        """Read the record, after a live holder let go. Raises as `acquire` does; takes no lease.

        A final upload's holder is left alone: nothing that it has in hand changes the offset."""
        ...

    async def peek(self, upload_id: UploadId) -> Upload | None:
        """The record as it is now, whoever holds it; None if there is none."""
        ...

    async def commit(self, held: Held, changes: Changes, *, release: bool = False) -> None:
        """Apply `changes`, update `held.upload`, and with `release` give up the lease as well."""
        ...

    async def read_tail(self, held: Held) -> Sequence[Chunk]:
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
        self,
        key: str,
        chunks: Sequence[Chunk],
        size: int,
        attributes: ObjectAttributes,
        *,
        replacing: str | None = None,
    ) -> None:
        """Store `size` bytes (the sum of `chunks`) as one object under a key that is free.

        replacing: ETag of the object that may be there and be replaced.
        Raises ObjectExists when there is another object; on stores that know no conditions it is
        replaced instead."""
        ...

    async def create_multipart(self, key: str, attributes: ObjectAttributes) -> str:
        """Start a multipart upload; its id."""
        ...

    async def upload_part(
        self, key: str, multipart_id: str, number: int, chunks: Sequence[Chunk], size: int
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

    async def abort_unknown(self, key: str) -> None:
        """Drop every multipart upload of exactly this key, which must be nobody else's."""
        ...

    async def delete_object(self, key: str) -> None:
        """Remove the object. An object that is not there is fine."""
        ...

    async def put_recovery(self, upload: Upload, vouched: Sequence[str] | None) -> None:
        """Store what is needed to rebuild the record of an upload with parts.

        vouched: ETags of the only parts that may be adopted then; None for any."""
        ...

    async def recover(self, upload_id: UploadId, known: Upload | None = None) -> Recovered | None:
        """The upload as S3 knows it; None if nothing is left of what the recovery object speaks of.

        known: the upload as its record has it, if there is one; it stands in where there is no
            recovery object, or where that speaks of a multipart upload that is gone.
        """
        ...

    async def put_tail(
        self, upload_id: UploadId, name: str, chunks: Sequence[Chunk], size: int
    ) -> None:
        """Store a tail of `size` bytes under a name that was never used before."""
        ...

    async def has_tail(self, upload_id: UploadId, name: str, size: int) -> bool:
        """Whether a tail of `size` bytes is stored under the name."""
        ...

    async def read_tail(self, upload_id: UploadId, name: str) -> bytes | None:
        """A tail stored by `put_tail`; None if it is not there."""
        ...

    async def delete_tail(self, upload_id: UploadId, name: str) -> None:
        """Remove a stored tail. One that is not there is fine."""
        ...

    async def delete_recovery(self, upload_id: UploadId) -> None:
        """Remove the recovery object. One that is not there is fine."""
        ...
