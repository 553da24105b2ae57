"""What `Upload-Concat` says of an upload: that it is a piece, or what it is made of.

The header's value is kept as it came, because HEAD gives it back. The uploads that a final one
names are found in it again whenever they are needed; `protocol.concat` has seen to it that they
can be.
"""

from __future__ import annotations

from typing import Final

from tusd_s3.model.upload_id import UploadId, parse_upload_id

PARTIAL: Final = "partial"
FINAL: Final = "final;"


def source_id(url: str) -> UploadId | None:
    """The id of the upload at a URL, absolute or relative, of whatever host: the last segment of
    its path, taken literally, so that nothing encoded means another path. None if it is no id."""
    path = url.partition("#")[0].partition("?")[0]
    return parse_upload_id(path.rpartition("/")[2])


def source_urls(concat: str) -> list[str]:
    """The URLs that a final upload's `concat` names, in order; empty for any other."""
    return concat.removeprefix(FINAL).split() if concat.startswith(FINAL) else []


def source_ids(concat: str) -> list[UploadId]:
    """The uploads that a final upload is made of, in order; the same one may occur again.

    Raises ValueError for a `concat` that was not checked before it was stored."""
    ids = [source_id(url) for url in source_urls(concat)]
    if None in ids:
        raise ValueError("a final upload names what is no upload")
    return [upload_id for upload_id in ids if upload_id is not None]
