"""The recovery object: what it takes to rebuild the record of an upload with parts.

It lies at `<prefix>.tus/<id>.json` from the start of the multipart upload until the upload is
complete or terminated. If Redis loses everything, it and ListParts say what is durable.
"""

from __future__ import annotations

import json

from tusd_s3.model.upload import Upload, UploadId

DIRECTORY = ".tus/"
"""Below the object prefix; no upload's key may begin with it."""


def recovery_key(prefix: str, upload_id: UploadId) -> str:
    """Key of the recovery object."""
    return f"{prefix}{DIRECTORY}{upload_id}.json"


def dump_recovery(upload: Upload) -> bytes:
    """JSON with everything of the record that S3 does not know."""
    return json.dumps(
        {
            "v": 1,
            "id": upload.id,
            "key": upload.key,
            "multipart_id": upload.multipart_id,
            "layout": upload.layout.dump(),
            "length": upload.length,
            "metadata": upload.metadata,
            "expires_at_s": upload.expires_at_s,
        }
    ).encode()
