"""The id that names an upload."""

from __future__ import annotations

import re
import secrets
from typing import NewType

from tusd_s3 import limits

UploadId = NewType("UploadId", str)
"""128 random bits as 22 characters of base64url. Knowing one is the right to the upload."""

_UPLOAD_ID = re.compile(rf"[A-Za-z0-9_-]{{{limits.UPLOAD_ID_CHARS}}}")


def new_upload_id() -> UploadId:
    """A fresh id from the system's random source."""
    return UploadId(secrets.token_urlsafe(limits.UPLOAD_ID_BYTES))


def parse_upload_id(text: str) -> UploadId | None:
    """`text` as an id if it has the form of one, else None. Says nothing about existence."""
    return UploadId(text) if _UPLOAD_ID.fullmatch(text) else None
