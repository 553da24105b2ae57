"""ASGI applications on real sockets, in a thread of the test's own process: for what a host
application does around ours, and for settings that are not worth a process of their own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import pytest
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tests.support.server import StoreSettings, free_port
from tests.support.waiting import eventually
from tusd_s3 import Settings, create_app
from tusd_s3.app import UploadsApp
from tusd_s3.serving.reads import MeasuredReads


@contextmanager
def served(
    app: ASGIApp,
    http: type[asyncio.BaseProtocol] = HttpToolsProtocol,
    *,
    proxy_headers: bool = True,
) -> Iterator[int]:
    """`app` on a real socket, in a thread; its port.

    http, proxy_headers: as a host application has them unless it cares.
    """
    port = free_port()
    config = uvicorn.Config(
        app,
        port=port,
        log_config=None,
        ws="none",
        lifespan="on",
        http=cast("type[asyncio.Protocol]", http),
        proxy_headers=proxy_headers,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        eventually(lambda: server.started, what="the host application serves")
        yield port
    finally:
        server.should_exit = True
        thread.join(20)
    assert not thread.is_alive()


def uploads_over(stores: StoreSettings, **settings: str | bool) -> UploadsApp:
    """Our application over `stores`, with further settings by their field names. It reads the
    credentials when it starts: see `credentials`."""
    options = {name.replace("-", "_"): value for name, value in stores.options().items()}
    # Clean-up would change what is stored in the middle of tests that compare it.
    quiet = {"cleanup_interval": "1h"}
    return create_app(Settings.model_validate(options | quiet | settings))


@contextmanager
def served_alone(stores: StoreSettings, **settings: str | bool) -> Iterator[int]:
    """Our application over `stores` as its own command would serve it; its port."""
    app = uploads_over(stores, **settings)
    with credentials(stores), served(app, MeasuredReads, proxy_headers=False) as port:
        yield port


@contextmanager
def credentials(stores: StoreSettings) -> Iterator[None]:
    """The S3 credentials where the SDK looks for them, for the time of the block."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in stores.environment().items():
            patch.setenv(name, value)
        yield
