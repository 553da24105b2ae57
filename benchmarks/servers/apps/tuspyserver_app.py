"""tuspyserver with its S3 storage, as its documentation shows. Runs in the peers' environment."""

from __future__ import annotations

import os

import boto3
from fastapi import FastAPI
from tuspyserver import create_tus_router
from tuspyserver.storage.s3 import S3Storage

_client = boto3.client(
    "s3",
    endpoint_url=os.environ["BENCH_S3_ENDPOINT"],
    region_name=os.environ["BENCH_S3_REGION"],
)
_storage = S3Storage(
    bucket=os.environ["BENCH_BUCKET"],
    client=_client,
    prefix="",
    part_size=int(os.environ["BENCH_PART_BYTES"]),
)
app = FastAPI()
app.include_router(
    create_tus_router(
        prefix="files", files_dir=os.environ["BENCH_DATA_DIR"] + "/files", storage=_storage
    )
)
