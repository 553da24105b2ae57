"""What S3 is told of an upload's object, when that is begun."""

from __future__ import annotations

import logging

from tusd_s3.model.metadata import ObjectAttributes
from tusd_s3.model.objects import object_attributes
from tusd_s3.model.upload import Upload
from tusd_s3.protocol.headers import parse_metadata

logger = logging.getLogger("tusd_s3.engine")


def attributes_of(upload: Upload) -> ObjectAttributes:
    """Made of the upload's metadata. What does not fit is logged, and stays in the record."""
    attributes = object_attributes(parse_metadata(upload.metadata))
    if left_out := attributes.left_out:
        logger.warning("upload %s: too much for its object: %s", upload.id, ", ".join(left_out))
    return attributes
