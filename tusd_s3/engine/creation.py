"""An upload as a POST describes it, before anything of it is stored."""

from __future__ import annotations

import logging
import time
from dataclasses import replace

from tusd_s3.engine.options import EngineOptions
from tusd_s3.model.objects import object_attributes, partial_key, render_key
from tusd_s3.model.upload import Upload, new_upload_id
from tusd_s3.protocol.headers import parse_metadata
from tusd_s3.protocol.message import CreateRequest

logger = logging.getLogger("tusd_s3.engine")


def new_upload(request: CreateRequest, options: EngineOptions) -> Upload:
    """The upload that `request` asks for, with an id of its own. Raises UploadTooLarge."""
    upload_id, metadata = new_upload_id(), parse_metadata(request.metadata)
    if left_out := object_attributes(metadata).left_out:
        logger.warning("upload %s: too much for its object: %s", upload_id, ", ".join(left_out))
    key = render_key(
        options.key_template, prefix=options.key_prefix, upload_id=upload_id, metadata=metadata
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
