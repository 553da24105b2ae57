"""Downloads below a host application, whose layers may keep bytes for as long as they like."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tests.support.bodies import PART_BYTES, body_of
from tests.support.hosting import credentials, served, uploads_over
from tests.support.server import StoreSettings
from tests.support.tus import RawClient
from tusd_s3.serving.reads import MeasuredReads

BODY = body_of(PART_BYTES + 12_345)


async def behind(request: Request, call_next: RequestResponseEndpoint) -> Response:
    """A layer that takes a response's bytes into a queue of its own."""
    return await call_next(request)


@pytest.fixture(scope="module", params=[HttpToolsProtocol, MeasuredReads])
def client(stores: StoreSettings, request: pytest.FixtureRequest) -> Iterator[RawClient]:
    """Of a host that mounts the application behind a layer of its own, on each kind of server."""
    app = uploads_over(stores)

    @asynccontextmanager
    async def lifespan(_: object) -> AsyncIterator[None]:
        async with app.lifespan():
            yield

    host = Starlette(
        routes=[Mount("/media", app)],
        lifespan=lifespan,
        middleware=[Middleware(BaseHTTPMiddleware, dispatch=behind)],
    )
    with credentials(stores), served(host, request.param) as port:
        yield RawClient(("127.0.0.1", port), "/media/files/")


def test_whole_and_in_part(client: RawClient) -> None:
    path = client.new_upload(len(BODY))
    client.upload_from(path, BODY)
    whole = client.request("GET", path)
    assert (whole.status, whole.body == BODY) == (200, True)
    part = client.request("GET", path, {"Range": "bytes=1000000-"})
    assert (part.status, part.body == BODY[1_000_000:]) == (206, True)


def test_who_leaves_ends_the_download(client: RawClient) -> None:
    path = client.new_upload(len(BODY))
    client.upload_from(path, BODY)
    for _ in range(3):
        with client.connect() as connection:
            connection.send_head("GET", path)
            assert connection.read_some()
            connection.reset()
    assert client.request("GET", path).body == BODY
