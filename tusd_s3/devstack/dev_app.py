"""The application of `tusd-s3 dev`: the upload server, its page, and a bucket made when missing."""

from __future__ import annotations

import heapq
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.routing import Mount

from tusd_s3.app import serve_app
from tusd_s3.app.lifecycle import s3_options
from tusd_s3.config import Settings
from tusd_s3.devstack.page import FINISHED_MAX, FinishedObject, page_routes
from tusd_s3.stores.s3 import open_s3

if TYPE_CHECKING:
    from types_aiobotocore_s3.client import S3Client

_LISTED_MAX = 10_000
"""Objects looked at for the newest ones; S3 lists by key, and the page asks every few seconds."""


def dev_app(settings: Settings) -> Starlette:
    """The upload server below `settings.base_path`, and the page at `/`."""
    uploads = serve_app(settings)
    clients: list[S3Client] = []

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with open_s3(s3_options(settings)) as client:
            await _create_bucket(client, settings.s3_bucket)
            clients.append(client)
            async with uploads.lifespan():
                yield

    async def list_finished() -> list[FinishedObject]:
        return await _newest_objects(clients[0], settings)

    routes = page_routes(list_finished, settings.base_path.lstrip("/"))
    return Starlette(routes=[*routes, Mount("/", uploads)], lifespan=lifespan)


async def _create_bucket(client: S3Client, bucket: str) -> None:
    taken = client.exceptions
    try:
        await client.create_bucket(Bucket=bucket)
    except (taken.BucketAlreadyOwnedByYou, taken.BucketAlreadyExists):
        return  # from an earlier start with the same data


async def _newest_objects(client: S3Client, settings: Settings) -> list[FinishedObject]:
    prefix = settings.s3_object_prefix
    pages = client.get_paginator("list_objects_v2").paginate(
        Bucket=settings.s3_bucket, Prefix=prefix, PaginationConfig={"MaxItems": _LISTED_MAX}
    )
    found = [
        FinishedObject(item["Key"], item["Size"], item["LastModified"])
        async for page in pages
        for item in page.get("Contents", [])
        # Ours, about uploads that are not finished.
        if not item["Key"].startswith(f"{prefix}.tus/")
    ]
    return heapq.nlargest(FINISHED_MAX, found, key=lambda item: item.modified)
