"""What a client said about an upload, parsed, and what of it an S3 object can carry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Metadata = Mapping[str, bytes]
"""Keys of `Upload-Metadata` in the client's order, to decoded values (any bytes, may be empty)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectAttributes:
    """What S3 is told when an object is created (it cannot be changed later).

    content_type: a valid media type, or None to leave it to the store's default.
    content_disposition: a complete header value in ASCII, or None.
    user_metadata: keys and values in printable ASCII, within S3's 2 KiB.
    left_out: metadata keys that did not fit; they stay in the record.
    """

    content_type: str | None = None
    content_disposition: str | None = None
    user_metadata: dict[str, str] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()
