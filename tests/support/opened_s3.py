"""What puts objects into an S3 of a test's own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tusd_s3.stores.s3 import S3Objects, S3Options, open_s3

TIMEOUT_S = 1.0


def options_for(endpoint: str, timeout_s: float = TIMEOUT_S) -> S3Options:
    return S3Options("bucket", "us-east-1", endpoint, timeout_s=timeout_s, force_path_style=True)


@asynccontextmanager
async def opened(options: S3Options) -> AsyncIterator[S3Objects]:
    async with open_s3(options) as clients:
        yield S3Objects(clients, options)
