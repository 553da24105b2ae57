"""Every fixed bound, with its unit in the name and its reason beside it.

Bounds that an operator may choose live in `config`; those here follow from S3, Redis, HTTP or
the protocol. The assertions at the end are part of the text: a change that breaks an assumption
fails at import.
"""

from __future__ import annotations

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB
GIB: Final = 1024 * MIB
TIB: Final = 1024 * GIB

# --- S3 (Amazon S3 user guide, "Multipart upload limits") ---------------------------------------

S3_PART_SIZE_MIN_BYTES: Final = 5 * MIB
"""No part but the last may be smaller; enforced only at CompleteMultipartUpload."""

S3_PART_SIZE_MAX_BYTES: Final = 5 * GIB
"""The largest part, and the largest single PutObject."""

S3_PARTS_MAX: Final = 10_000
"""Part numbers run 1..10,000."""

S3_KEY_MAX_BYTES: Final = 1024
"""Object keys, in UTF-8."""

S3_USER_METADATA_MAX_BYTES: Final = 2 * KIB
"""Sum of the bytes of all user metadata keys and values of an object."""

COPY_SIZE_BYTES: Final = 256 * MIB
"""The longest UploadPartCopy where there are part numbers enough for it: a second or two of S3's
time, so that many run side by side and none meets a timeout. S3 takes 5 GiB."""

# --- Parts and tails ----------------------------------------------------------------------------

PART_SIZE_MAX_BYTES: Final = 128 * MIB
"""The largest part this server plans. A part is held in memory while it is sent, and what is
short of a part waits in one Redis string (at most 512 MB): the bound keeps both workable. With
10,000 parts it allows uploads of 1.2 TiB."""

DEFERRED_PARTS_PER_SIZE: Final = 1000
"""With a deferred length the part size doubles after every so many parts, up to
`PART_SIZE_MAX_BYTES`: small uploads get small parts, and large ones still fit 10,000."""

REDIS_STRING_MAX_BYTES: Final = 512 * 1000 * 1000
"""proto-max-bulk-len's default: no string, hence no tail, may be longer."""

# --- Requests -----------------------------------------------------------------------------------

INTEGER_DIGITS_MAX: Final = 18
"""Digits in Upload-Length and Upload-Offset. 10^18 - 1 bytes is far beyond any S3 object and
still fits a signed 64-bit integer, which is what clients, Redis and Lua can hold."""

METADATA_MAX_BYTES: Final = 8 * KIB
"""Upload-Metadata as sent. Common proxies allow 8 KiB for a header line."""

METADATA_PAIRS_MAX: Final = 64
"""Key-value pairs in Upload-Metadata; Uppy sends every field of a form as one."""

METADATA_KEY_MAX_BYTES: Final = 256
"""One key of Upload-Metadata."""

HEADER_MAX_BYTES: Final = 1 * KIB
"""Any other protocol header."""

CONCAT_MAX_BYTES: Final = 8 * KIB
"""Upload-Concat as sent. HEAD gives it back, and common proxies allow 8 KiB for a header line."""

CONCAT_PARTIALS_MAX: Final = 256
"""Partial uploads of one final one. With a path of a few letters before each id, that is what the
header holds; each is held and read on its own when the final is made."""

IDEMPOTENCY_KEY_MIN_BYTES: Final = 16
"""A shorter Idempotency-Key may be chosen twice, or guessed; a UUID has 36."""

IDEMPOTENCY_KEY_MAX_BYTES: Final = 255
"""A longer one serves nobody."""

UPLOAD_ID_BYTES: Final = 16
"""Random bytes in an upload id: 128 bits, so that knowing an id is the right to the upload."""

UPLOAD_ID_CHARS: Final = 22
"""An id as written: base64url of `UPLOAD_ID_BYTES` without padding."""

# --- Keys from file names -----------------------------------------------------------------------

FILENAME_MAX_BYTES: Final = 255
"""A file name from metadata, as part of a key or a Content-Disposition; what file systems allow."""

MEDIA_TYPE_MAX_BYTES: Final = 255
"""A Content-Type from metadata. RFC 6838 bounds type and subtype by 127 bytes each."""

KEY_PREFIX_MAX_BYTES: Final = 512
"""The configured prefix of all keys."""

KEY_TEMPLATE_MAX_BYTES: Final = 256
"""The configured template of a key, before its fields are filled in."""

assert S3_PART_SIZE_MIN_BYTES <= PART_SIZE_MAX_BYTES <= S3_PART_SIZE_MAX_BYTES
assert PART_SIZE_MAX_BYTES <= REDIS_STRING_MAX_BYTES, "a tail may hold a whole part"
assert 2 * S3_PART_SIZE_MIN_BYTES <= COPY_SIZE_BYTES <= S3_PART_SIZE_MAX_BYTES
assert CONCAT_PARTIALS_MAX * (UPLOAD_ID_CHARS + 1) <= CONCAT_MAX_BYTES
assert 10**INTEGER_DIGITS_MAX < 2**63
assert PART_SIZE_MAX_BYTES * S3_PARTS_MAX < 10**INTEGER_DIGITS_MAX
assert UPLOAD_ID_CHARS == -(-UPLOAD_ID_BYTES * 8 // 6)
assert KEY_PREFIX_MAX_BYTES + KEY_TEMPLATE_MAX_BYTES + UPLOAD_ID_CHARS + 64 <= S3_KEY_MAX_BYTES, (
    "whatever was configured, a key has room for the id and a usable piece of the file name"
)
