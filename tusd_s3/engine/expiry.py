"""When what an upload left behind in S3 may go. Rules only: what they ask about is looked up
elsewhere.

Redis drops records, parts and tails at their expiry by itself. What then stays is in S3: the
multipart upload, the recovery object, a parked tail. They may go when nobody can come back for
them, and only if they are ours:

- *an expired upload*: there is no record, and as far as S3 knows it has expired. A lost record is
  not rebuilt from the same moment on (`Recovered.alive_until_s`, for both); the removal waits a
  while longer, so that it never overtakes a rebuilding that was still allowed.
- *a parked tail*: neither a record nor a recovery object names it.
- *an orphaned multipart upload*: one that was started, but whose id was lost before it could be
  recorded. Its key has the form of ours, and neither record nor recovery object names it. The form
  of a key is no proof, somebody else's may look like it. So its upload must be known here as well
  (128 random bits are not guessed), or the operator gave this server a prefix of its own.
"""

from __future__ import annotations

from typing import Final

from tusd_s3.ports import Recovered
from tusd_s3.ports_cleanup import ListedMultipart, Listing

CLOCKS_APART_MAX_S: Final = 900.0
"""S3 refuses requests of machines whose clocks are further off than 15 minutes
(RequestTimeTooSkewed), so those of two servers, or of a server and S3, differ by less."""

_MARGIN_PER_LIFETIME: Final = 0.1
"""With a short lifetime, a margin of 15 minutes would be a lifetime of its own."""


def is_past(end_s: float, lifetime_s: float, now_s: float) -> bool:
    """Whether a moment (Unix time) is over by everybody's clock. lifetime_s: of uploads."""
    return end_s + min(CLOCKS_APART_MAX_S, lifetime_s * _MARGIN_PER_LIFETIME) < now_s


def is_old(changed_at_s: float, lifetime_s: float, now_s: float) -> bool:
    """Whether what S3 says was written then (Unix time) has outlived an upload."""
    return is_past(changed_at_s + lifetime_s, lifetime_s, now_s)


def is_expired(recovered: Recovered, lifetime_s: float, now_s: float) -> bool:
    """Whether an upload without a record can no longer be brought back."""
    return is_past(recovered.alive_until_s(lifetime_s), lifetime_s, now_s)


def may_be_orphan(
    multipart: ListedMultipart, listing: Listing | None, lifetime_s: float, now_s: float
) -> bool:
    """Whether a multipart upload under a key of our form is worth a look at its recovery object.

    listing: the record of the upload in its key. While there is one, half a lifetime is enough:
    with nobody holding the upload, nobody is about to record the id. After a whole one the record,
    which is what proves the multipart upload ours, may be gone.
    """
    if listing is None:
        return is_old(multipart.started_at_s, lifetime_s, now_s)
    if listing.is_held or listing.upload is None:
        return False
    if listing.upload.multipart_id == multipart.multipart_id:
        return False
    return is_past(multipart.started_at_s + lifetime_s / 2, lifetime_s, now_s)


def is_orphan(
    multipart: ListedMultipart,
    listing: Listing | None,
    recovered: Recovered | None,
    *,
    own_prefix: bool,
) -> bool:
    """Whether one that `may_be_orphan` is. own_prefix: all keys below the prefix are ours."""
    if recovered is not None and recovered.upload.multipart_id == multipart.multipart_id:
        return False
    return listing is not None or recovered is not None or own_prefix


def can_do_without_tail(listing: Listing | None, tail: str) -> bool:
    """Whether an upload's record leaves its parked tail of this name to be removed."""
    if listing is None:
        return True
    if listing.is_held or listing.upload is None:
        return False
    return listing.upload.parked != tail
