"""An upload as its record knows it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from tusd_s3.model.concat import FINAL, PARTIAL
from tusd_s3.model.layout import PartLayout
from tusd_s3.model.upload_id import UploadId, new_upload_id, parse_upload_id

__all__ = ["Upload", "UploadId", "UploadState", "new_upload_id", "parse_upload_id"]


class UploadState(StrEnum):
    """Where an upload is in its life."""

    OPEN = "open"
    """Takes bytes; or has them all and waits for its object to be completed."""
    COMPLETE = "complete"
    """The object exists under its key."""
    TERMINATING = "terminating"
    """DELETE has begun; for everybody but another DELETE the upload is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """One upload's record: what is durable, and nothing else.

    The offset is derived, never stored: bytes in the contiguous parts plus the tail.

    length: declared total in bytes, or None while deferred.
    metadata: the `Upload-Metadata` header exactly as the client sent it.
    expires_at_s: Unix time in whole seconds after which an unfinished upload is gone.
    parts: parts 1..`parts` are stored and recorded.
    tail_bytes: length of the tail, which begins where those parts end.
    multipart_id: S3's id of the multipart upload once one was started.
    is_starting: whether a multipart upload was about to be started. If no id follows, there may
        be one in S3 that nobody knows.
    recovery_stored: whether the recovery object is known to be in S3.
    is_staged: whether its multipart upload may hold parts of a body that was not found to agree
        with its checksum. Such parts are never adopted; see `engine.vouching`.
    parked: name of the S3 object that holds the tail while Redis does not; None for a tail in
        Redis, or none.
    concat: the `Upload-Concat` header of its creation as it was sent, empty for none.
    join: how a final upload is put together (`planner.join.JoinPlan.dump`), empty until its parts
        are laid out. Its parts are those of that plan, not of `layout`.
    is_doubtful: whether Redis restarted or fell back to a copy since this record was last held
        against S3: it may be older than what was acknowledged.
    """

    id: UploadId
    key: str
    length: int | None
    metadata: str
    expires_at_s: int
    layout: PartLayout
    parts: int = 0
    tail_bytes: int = 0
    multipart_id: str | None = None
    is_starting: bool = False
    recovery_stored: bool = False
    is_staged: bool = False
    state: UploadState = UploadState.OPEN
    parked: str | None = None
    concat: str = ""
    join: str = ""
    is_doubtful: bool = False

    @property
    def is_partial(self) -> bool:
        """Whether it exists to become a piece of a final upload (tus concatenation)."""
        return self.concat == PARTIAL

    @property
    def is_final(self) -> bool:
        """Whether it is made of partial uploads (tus concatenation)."""
        return self.concat.startswith(FINAL)

    @property
    def parts_bytes(self) -> int:
        """Bytes in the stored parts; the last part of an upload may be short."""
        full = self.layout.start_of(self.parts + 1)
        return full if self.length is None else min(full, self.length)

    @property
    def offset(self) -> int:
        """How many bytes are durable: where the next PATCH must begin (tus core). A final upload
        has none until it has all."""
        if self.state is UploadState.COMPLETE:
            if self.length is not None:
                return self.length
        elif self.is_final:
            return 0
        return self.parts_bytes + self.tail_bytes

    @property
    def has_recovery(self) -> bool:
        """Whether there may be a recovery object, known to be stored or just being so."""
        return self.recovery_stored or self.multipart_id is not None

    @property
    def is_whole(self) -> bool:
        """Whether every byte has arrived. The object may still have to be completed."""
        if self.is_final and self.state is not UploadState.COMPLETE:
            return False
        return self.length is not None and self.offset == self.length

    @property
    def awaits_completion(self) -> bool:
        """Whether only the completion of the object is left to do.

        A partial upload short of a part gets no object: its bytes go into the final one straight
        from the tail."""
        if self.is_partial and self.multipart_id is None:
            return False
        return self.state is UploadState.OPEN and self.is_whole

    @property
    def awaits_assembly(self) -> bool:
        """Whether it is a final upload that still has to be put together."""
        return self.is_final and self.state is UploadState.OPEN
