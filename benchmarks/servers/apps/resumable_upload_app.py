"""resumable-upload with its S3 storage, behind its own ASGI adapter. Runs in the peers'
environment."""

from __future__ import annotations

import os

import boto3
from resumable_upload import TusServer
from resumable_upload.asgi import TusASGIApp
from resumable_upload.storage.s3_storage import S3Storage

_client = boto3.client(
    "s3",
    endpoint_url=os.environ["BENCH_S3_ENDPOINT"],
    region_name=os.environ["BENCH_S3_REGION"],
)
_storage = S3Storage(
    bucket=os.environ["BENCH_BUCKET"],
    s3_client=_client,
    part_size=int(os.environ["BENCH_PART_BYTES"]),
)
app = TusASGIApp(TusServer(storage=_storage, base_path="/files", enable_downloads=True))
