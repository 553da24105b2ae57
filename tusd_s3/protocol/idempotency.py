"""`Idempotency-Key`: a POST that is sent again because its answer was lost makes no second upload.

The header is that of the IETF's draft "The Idempotency-Key HTTP Header Field"; its value is taken
as it comes, quotes included. What names a creation is not the key alone but a digest of all that
the request says: with the same key and another length, other metadata or other credentials it is
another upload. That keeps a key that somebody else chose too from opening their upload.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

from tusd_s3 import limits
from tusd_s3.errors import InvalidHeader
from tusd_s3.protocol.fields import Fields

_FIELD: Final = "Idempotency-Key"
_KEY = re.compile(r"[!-~]+")
_SAID: Final = (
    *("Upload-Length", "Upload-Defer-Length", "Upload-Metadata", "Upload-Concat"),
    "Authorization",
)


def creation_name(fields: Fields) -> str | None:
    """What names this creation among its retries (hexadecimal SHA-256), None without a key.

    Raises InvalidHeader for a key that is too short to be unguessable, too long, or not printable
    ASCII.
    """
    key = fields.get(_FIELD)
    if key is None:
        return None
    low, high = limits.IDEMPOTENCY_KEY_MIN_BYTES, limits.IDEMPOTENCY_KEY_MAX_BYTES
    if not (low <= len(key) <= high and _KEY.fullmatch(key)):
        raise InvalidHeader(_FIELD, f"expected {low} to {high} printable ASCII characters")
    digest = hashlib.sha256()
    for text in (key, *(fields.get_list(name) or "" for name in _SAID)):
        raw = text.encode("latin-1")
        digest.update(b"%d:%b" % (len(raw), raw))  # lengths keep the pieces apart
    return digest.hexdigest()
