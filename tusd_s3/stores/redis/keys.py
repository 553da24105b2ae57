"""Names of everything in Redis.

With the prefix `p` and an upload's id in braces (the braces make Redis Cluster keep all keys of an
upload in one slot, so that scripts and MULTI work there):

    p{id}            hash    the record
    p{id}:parts      hash    part number -> ETag
    p{id}:lease      string  token of the holder, with a TTL
    p{id}:waiting    set     workers that wait for the lease, with a TTL
    p{id}:tail:T:B   string  the tail: T is the token of its writer, B its first offset
    p creation:N     string  id of the upload that the creation named N made, with a TTL
    p worker:W       channel messages for worker W

The tail's key is the fence. A holder that was overtaken still believes in its token; the newcomer
moved the tail to its own when it took the lease. Whatever the old holder writes lands under a name
that no record points to, and its commit, finding itself fenced, deletes it. Tokens are unique for
ever, which a number counted in Redis would not be: a Redis that falls back to an older copy counts
the same numbers again, for other holders.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tusd_s3.model.upload import UploadId

_PARTS: Final = ":parts"
_LEASE: Final = ":lease"
_WAITING: Final = ":waiting"


@dataclass(frozen=True, slots=True)
class Keys:
    """Key names below one prefix."""

    prefix: str

    def record(self, upload_id: UploadId) -> str:
        """The record; also what all other names of the upload begin with."""
        return f"{self.prefix}{{{upload_id}}}"

    def parts(self, upload_id: UploadId) -> str:
        """ETags of the stored parts."""
        return self.record(upload_id) + _PARTS

    def lease(self, upload_id: UploadId) -> str:
        """The lease."""
        return self.record(upload_id) + _LEASE

    def tail(self, upload_id: UploadId, token: str, base: int) -> str:
        """The tail written by the holder of `token` that begins at offset `base` (bytes)."""
        return f"{self.record(upload_id)}:tail:{token}:{base}"

    def creation(self, name: str) -> str:
        """Which upload a creation has made, for its retries."""
        return f"{self.prefix}creation:{name}"

    def channel(self, worker: str) -> str:
        """Pub/sub channel of one worker."""
        return f"{self.prefix}worker:{worker}"

    def all_of(self, upload_id: UploadId) -> list[str]:
        """Record, parts, lease, waiting: the KEYS of every script, in this order."""
        record = self.record(upload_id)
        return [record, record + _PARTS, record + _LEASE, record + _WAITING]
