"""What the clean-up needs of the world besides `ports`, whose rules hold here too."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from tusd_s3.model.upload import Upload, UploadId


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """An upload's record, read in passing: nobody was disturbed, and all may have changed since.

    upload: None if there is a record that cannot be read (another form): hands off.
    is_held: whether somebody had the lease.
    """

    upload_id: UploadId
    upload: Upload | None
    is_held: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Memory of Redis in bytes. most_bytes: where it begins to refuse writes, None for nowhere."""

    used_bytes: int
    most_bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A piece of the clean-up that failed `attempts` times in a row, last `at_s` (Unix time).

    code: of the last error (`errors.UploadError.code`).
    """

    attempts: int
    code: str
    at_s: float


class Housekeeping(Protocol):
    """Redis as the clean-up sees it. All methods may raise StateUnavailable."""

    async def lead(self, ttl_s: float) -> bool:
        """Take the janitor's lease for `ttl_s`, or renew it; whether it is ours now.

        It only keeps two from doing the same work: nothing may depend on there being one.
        """
        ...

    async def resign(self) -> None:
        """Give the janitor's lease up, if it is ours."""
        ...

    def scan(self) -> AsyncIterator[Sequence[Listing]]:
        """Every record there is from the beginning to the end of the scan, at least once, in
        batches of bounded size. Records that come or go meanwhile may be among them.

        Those of finished uploads are left out, save partial ones: only these need anything yet."""
        ...

    async def look_up(self, upload_ids: Collection[UploadId]) -> Mapping[UploadId, Listing]:
        """Those of the uploads that have a record."""
        ...

    async def memory(self) -> Memory:
        """How much memory is in use."""
        ...

    async def failures(self) -> Mapping[str, Failure]:
        """The journal of what failed, by name. Of bounded size; old entries go by themselves."""
        ...

    async def note_failure(self, name: str, failure: Failure) -> None:
        """Write or replace an entry of the journal."""
        ...

    async def forget_failures(self, names: Collection[str]) -> None:
        """Remove entries of the journal. Those that are not there are fine."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredLeftover:
    """A recovery object, or a parked tail, as S3 lists it.

    tail: name of the tail, None for a recovery object. modified_at_s: Unix time.
    """

    upload_id: UploadId
    tail: str | None
    size_bytes: int
    modified_at_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedMultipart:
    """An unfinished multipart upload, of whomever, as S3 lists it. started_at_s: Unix time."""

    key: str
    multipart_id: str
    started_at_s: float


class Leftovers(Protocol):
    """What may be left in S3 of uploads that Redis no longer knows; listed in pages of bounded
    size. Both may raise StorageUnavailable or StorageRefused."""

    def stored(self) -> AsyncIterator[Sequence[StoredLeftover]]:
        """All recovery objects and parked tails. Objects of other names are left out."""
        ...

    def multiparts(self) -> AsyncIterator[Sequence[ListedMultipart]]:
        """Unfinished multipart uploads below the object prefix: not all of them with every store
        (MinIO lists those of an exact key only), so nothing may rest on this list alone."""
