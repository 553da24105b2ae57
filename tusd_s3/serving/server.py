"""The socket to listen on, and uvicorn's settings."""

from __future__ import annotations

import asyncio
import math
import socket
from collections.abc import Callable
from typing import Final, cast

from uvicorn import Config

from tusd_s3.config import Settings
from tusd_s3.logs import logging_config
from tusd_s3.serving.reads import MeasuredReads

KEEP_ALIVE_S: Final = 75
"""How long an idle connection stays open: longer than the 60 s after which common proxies drop
theirs. Where the server closes first, a proxy's next request meets a closed connection: a 502."""


WORKER_SILENCE_MAX_S: Final = 20
"""How long one of several workers may say nothing before it is replaced. uvicorn's 5 s are less
than a worker needs to come up on a busy machine: it would be replaced for ever. But a worker that
dies while it is asked is noticed no sooner."""


class ListenError(Exception):
    """The server cannot listen where it was told to; the message is one sentence."""


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Of a name with both kinds, such as localhost, the IPv4 address.

    Made before anything is started, so that a port in use is a sentence. Raises ListenError.
    """
    bare = host.removeprefix("[").removesuffix("]")
    try:
        found = socket.getaddrinfo(bare, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = min(found, key=lambda it: it[0] != socket.AF_INET)
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            # A socket that listens on all addresses of the port is noticed here, not by bind.
            listener.listen()
        except OSError:
            listener.close()
            raise
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ListenError(
            f"Cannot listen on host {host!r}, port {port} (--host, --port): {reason}."
        ) from None
    return listener


def origin_of(listener: socket.socket) -> str:
    """How a client on this machine reaches the listener, as a URL without a path."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - not bound here
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def server_config(settings: Settings, app: Callable[..., object], *, factory: bool) -> Config:
    """uvicorn's settings. `app`: the application, or with `factory` what makes it in a worker."""
    return Config(
        app,
        factory=factory,
        workers=settings.workers,
        loop="auto",  # uvloop where there is one
        http=cast("type[asyncio.Protocol]", MeasuredReads),  # as good as one, says asyncio
        ws="none",
        lifespan="on",
        log_config=logging_config(settings.log_level, settings.log_format),
        access_log=settings.log_level == "debug",
        # Which proxy is believed is decided in tusd_s3.middleware.forwarded.
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_worker_healthcheck=WORKER_SILENCE_MAX_S,
        timeout_graceful_shutdown=math.ceil(settings.shutdown_timeout),
    )
