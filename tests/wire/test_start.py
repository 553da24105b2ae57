"""What keeps the server from working is one sentence, before anything is served."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
import redis

from tests.support.server import StoreSettings, free_port
from tusd_s3 import Settings
from tusd_s3.app import StartupError, create_app
from tusd_s3.devstack.stores import LocalRedis

_NO_OTHER_CREDENTIALS = {"HOME": os.devnull, "AWS_EC2_METADATA_DISABLED": "true"}


@pytest.fixture(scope="module")
def forgetful_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalRedis]:
    """A Redis that evicts."""
    with LocalRedis(tmp_path_factory.mktemp("redis")) as server:
        with redis.Redis.from_url(server.url) as client:
            client.config_set("maxmemory-policy", "allkeys-lru")
        yield server


def serve(stores: StoreSettings, **options: str) -> subprocess.CompletedProcess[str]:
    """Run the command until it gives up."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "TUSD_"))}
    flags = stores.options() | options
    return subprocess.run(
        [
            *(sys.executable, "-m", "tusd_s3", "serve", "--port", str(free_port())),
            *(part for name, value in flags.items() for part in (f"--{name}", value)),
        ],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        env=environment | _NO_OTHER_CREDENTIALS | stores.environment(),
    )


def sentence(done: subprocess.CompletedProcess[str]) -> str:
    """The one line on stderr that is the command's own; the log may precede it."""
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    [line] = [line for line in done.stderr.splitlines() if line.startswith("tusd-s3: ")]
    return line


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda s: replace(s, bucket="no-such-bucket"), "'no-such-bucket' cannot be used"),
        (lambda s: replace(s, s3_secret_key="wrong"), "credentials do not allow it"),
        (lambda s: replace(s, s3_endpoint=f"http://127.0.0.1:{free_port()}"), "S3 does not answer"),
        (lambda s: replace(s, redis_url=f"redis://127.0.0.1:{free_port()}/0"), "check --redis-url"),
    ],
    ids=["no bucket", "wrong key", "no S3", "no Redis"],
)
def test_a_store_that_cannot_be_used_is_named(
    stores: StoreSettings, change: Callable[[StoreSettings], StoreSettings], says: str
) -> None:
    assert says in sentence(serve(change(stores), **{"s3-timeout": "2s"}))


def test_missing_credentials_are_named(stores: StoreSettings) -> None:
    without = replace(stores, s3_access_key="", s3_secret_key="")
    assert "No AWS credentials were found" in sentence(serve(without))


def test_a_redis_that_evicts_is_refused(stores: StoreSettings, forgetful_redis: LocalRedis) -> None:
    said = sentence(serve(replace(stores, redis_url=forgetful_redis.url)))
    assert "allkeys-lru" in said
    assert "noeviction" in said


async def test_a_mounted_application_refuses_to_start_too(
    stores: StoreSettings, forgetful_redis: LocalRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in stores.environment().items():
        monkeypatch.setenv(name, value)
    options = {name.replace("-", "_"): value for name, value in stores.options().items()}
    app = create_app(Settings.model_validate(options | {"redis_url": forgetful_redis.url}))
    with pytest.raises(StartupError, match="noeviction"):
        async with app.lifespan():
            pass
