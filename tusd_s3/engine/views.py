"""An upload as those outside may see it, where that is not as its record has it."""

from __future__ import annotations

from dataclasses import replace

from tusd_s3 import errors
from tusd_s3.model.upload import Upload, UploadState


def never_whole(upload: Upload) -> Upload:
    """`upload` as a client may see it while its object does not exist: short of its last bytes, so
    that the client does not take it for complete but asks for the offset."""
    if not upload.awaits_completion:
        return upload
    if upload.tail_bytes:
        return replace(upload, tail_bytes=0)
    return replace(upload, parts=upload.parts - 1)


def existing(upload: Upload) -> Upload:
    """`upload`, unless its removal has begun. Raises UploadNotFound."""
    if upload.state is UploadState.TERMINATING:
        raise errors.UploadNotFound
    return upload
