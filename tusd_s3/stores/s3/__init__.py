"""Objects, multipart uploads and recovery objects in one S3 bucket."""

from tusd_s3.stores.s3.bucket import ListedObject, ensure_bucket, newest_objects
from tusd_s3.stores.s3.client import S3Clients, S3Options, check_bucket, open_s3
from tusd_s3.stores.s3.copies import S3Copies
from tusd_s3.stores.s3.objects import S3Objects
from tusd_s3.stores.s3.reading import S3Reads

__all__ = [
    "ListedObject",
    "S3Clients",
    "S3Copies",
    "S3Objects",
    "S3Options",
    "S3Reads",
    "check_bucket",
    "ensure_bucket",
    "newest_objects",
    "open_s3",
]
