"""`tusd-s3 dev`: an S3, a Redis and the upload server with its page, until Ctrl-C."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from uvicorn import Config, Server
from uvicorn.config import STARTUP_FAILURE

from tusd_s3.config import load_settings
from tusd_s3.devstack.addresses import origin_for_others
from tusd_s3.devstack.banner import banner
from tusd_s3.devstack.dev_app import dev_app
from tusd_s3.devstack.errors import DevStackError
from tusd_s3.devstack.stores import LocalStores, StoreAddresses
from tusd_s3.logs import configure_logging
from tusd_s3.serving import ListenError, listen, origin_of, server_config

BUCKET = "uploads"
BASE_PATH = "/files/"

_CANNOT_RUN = 2


def run_dev(
    *,
    port: int,
    data_dir: Path | str,
    host: str = "127.0.0.1",
    log_level: str = "info",
    log_format: str = "text",
    **settings: object,
) -> int:
    """Run the whole stack until SIGINT or SIGTERM; the exit status.

    `settings` are further ones by field name. What keeps it from running is one sentence on
    stderr and status 2; nothing is left running then.

    Raises:
        ConfigError: a setting is wrong.
    """
    configure_logging(log_level, log_format)
    stores = LocalStores(Path(data_dir))
    own: dict[str, object] = {"host": host, "port": port, "log_level": log_level}
    own |= {"log_format": log_format, **settings}
    status = 0
    try:
        with _until_told_to_stop(), listen(host, port) as listener, stores as addresses:
            status = _serve(own, addresses, listener)
    except (DevStackError, ListenError) as error:
        sys.stderr.write(f"tusd-s3: {error}\n")
        return _CANNOT_RUN
    return status


def _serve(own: dict[str, object], stores: StoreAddresses, listener: socket.socket) -> int:
    use_local_credentials(stores)
    settings = load_settings(
        {
            **own,
            "s3_bucket": BUCKET,
            "s3_endpoint": stores.s3_endpoint,
            "s3_region": stores.s3_region,
            "redis_url": stores.redis_url,
            "base_path": BASE_PATH,
        }
    )
    shared = origin_for_others(settings.host, settings.port)
    text = banner(origin_of(listener), settings.base_path, settings.s3_bucket, stores, shared)
    server = _AnnouncingServer(server_config(settings, dev_app(settings), factory=False), text)
    server.run(sockets=[listener])
    return 0 if server.started else STARTUP_FAILURE


def use_local_credentials(stores: StoreAddresses) -> None:
    """Make the S3 SDK of this process use the local S3's credentials, and nothing of the user's."""
    for name in ("AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN", "AWS_PROFILE", "AWS_DEFAULT_PROFILE"):
        os.environ.pop(name, None)
    os.environ["AWS_ACCESS_KEY_ID"] = stores.s3_access_key
    os.environ["AWS_SECRET_ACCESS_KEY"] = stores.s3_secret_key
    os.environ["AWS_CONFIG_FILE"] = os.devnull


class _AnnouncingServer(Server):
    """Says where it is as soon as it takes requests."""

    def __init__(self, config: Config, text: str) -> None:
        super().__init__(config)
        self._text = text

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.started:
            sys.stdout.write(self._text)
            sys.stdout.flush()


class _ToldToStop(BaseException):
    """SIGINT or SIGTERM came; not an Exception, so that nothing on the way swallows it."""


@contextmanager
def _until_told_to_stop() -> Iterator[None]:
    """End the block, after its clean-up, when a signal asks for it.

    uvicorn handles the signals itself while it serves, and hands them on to us when it is done.
    """
    before = {
        number: signal.signal(number, _stop_once) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    except _ToldToStop:
        return
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _stop_once(_number: int, _frame: FrameType | None) -> None:
    # The clean-up that follows is bounded; an impatient second Ctrl-C must not cut it short.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise _ToldToStop
