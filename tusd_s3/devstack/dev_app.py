"""The application of `tusd-s3 dev`: the upload server, its page, and a bucket made when missing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.routing import Mount

from tusd_s3.app import serve_app
from tusd_s3.app.lifecycle import s3_options
from tusd_s3.config import Settings
from tusd_s3.devstack.addresses import origin_for_others
from tusd_s3.devstack.page import FINISHED_MAX, page_routes
from tusd_s3.stores.s3 import ListedObject, ensure_bucket, newest_objects, open_s3

if TYPE_CHECKING:
    from types_aiobotocore_s3.client import S3Client


def dev_app(settings: Settings) -> Starlette:
    """The upload server below `settings.base_path`, and the page at `/`."""
    uploads = serve_app(settings)
    clients: list[S3Client] = []

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[dict[str, object]]:
        async with open_s3(s3_options(settings)) as s3:
            await ensure_bucket(s3.sdk, settings.s3_bucket)
            clients.append(s3.sdk)
            async with uploads.lifespan() as state:
                yield state

    async def list_finished() -> list[ListedObject]:
        bucket, prefix = settings.s3_bucket, settings.s3_object_prefix
        return await newest_objects(clients[0], bucket, prefix, FINISHED_MAX)

    shared = origin_for_others(settings.host, settings.port)
    routes = page_routes(list_finished, settings.base_path.lstrip("/"), shared)
    return Starlette(routes=[*routes, Mount("/", uploads)], lifespan=lifespan)
