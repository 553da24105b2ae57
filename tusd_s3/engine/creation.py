"""An upload as a POST describes it, before anything of it is stored."""

from __future__ import annotations

import time
from dataclasses import replace

from tusd_s3.engine.options import EngineOptions
from tusd_s3.model.objects import partial_key, render_key
from tusd_s3.model.upload import Upload, new_upload_id
from tusd_s3.protocol.headers import parse_metadata
from tusd_s3.protocol.message import CreateRequest


def new_upload(request: CreateRequest, options: EngineOptions) -> Upload:
    """The upload that `request` asks for, with an id of its own. Raises UploadTooLarge."""
    upload_id = new_upload_id()
    key = render_key(
        options.key_template,
        prefix=options.key_prefix,
        upload_id=upload_id,
        metadata=parse_metadata(request.metadata),
    )
    upload = Upload(
        id=upload_id,
        key=key,
        length=request.length,
        metadata=request.metadata,
        expires_at_s=int(time.time() + options.lifetime_s),
        layout=options.policy.layout_for(request.length),
        concat=request.concat,
    )
    if upload.is_partial:
        # Its object is nobody's but ours, and goes when its time is over.
        return replace(upload, key=partial_key(options.key_prefix, upload_id))
    return upload
