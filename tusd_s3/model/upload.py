"""An upload as its record knows it, and the id that names it."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from enum import StrEnum
from typing import NewType

from tusd_s3 import limits
from tusd_s3.model.layout import PartLayout

UploadId = NewType("UploadId", str)
"""128 random bits as 22 characters of base64url. Knowing one is the right to the upload."""

_UPLOAD_ID = re.compile(rf"[A-Za-z0-9_-]{{{limits.UPLOAD_ID_CHARS}}}")


def new_upload_id() -> UploadId:
    """A fresh id from the system's random source."""
    return UploadId(secrets.token_urlsafe(limits.UPLOAD_ID_BYTES))


def parse_upload_id(text: str) -> UploadId | None:
    """`text` as an id if it has the form of one, else None. Says nothing about existence."""
    return UploadId(text) if _UPLOAD_ID.fullmatch(text) else None


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
    is_doubtful: bool = False

    @property
    def parts_bytes(self) -> int:
        """Bytes in the stored parts; the last part of an upload may be short."""
        full = self.layout.start_of(self.parts + 1)
        return full if self.length is None else min(full, self.length)

    @property
    def offset(self) -> int:
        """How many bytes are durable: where the next PATCH must begin (tus core)."""
        if self.state is UploadState.COMPLETE and self.length is not None:
            return self.length
        return self.parts_bytes + self.tail_bytes

    @property
    def has_recovery(self) -> bool:
        """Whether there may be a recovery object, known to be stored or just being so."""
        return self.recovery_stored or self.multipart_id is not None

    @property
    def is_whole(self) -> bool:
        """Whether every byte has arrived. The object may still have to be completed."""
        return self.length is not None and self.offset == self.length

    @property
    def awaits_completion(self) -> bool:
        """Whether only the completion of the object is left to do."""
        return self.state is UploadState.OPEN and self.is_whole
