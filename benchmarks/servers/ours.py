"""This server, as its operator starts it."""

from __future__ import annotations

from pathlib import Path

from benchmarks.servers.kind import (
    Launch,
    ServerKind,
    last_segment,
    python_path,
    this_python,
)
from tusd_s3 import __version__


def _command(launch: Launch) -> list[str]:
    options = {
        "s3-bucket": launch.bucket,
        "s3-endpoint": launch.stores.s3_endpoint,
        "s3-region": launch.stores.s3_region,
        "s3-part-size": f"{launch.part_bytes}",
        "redis-url": launch.stores.redis_url,
        "host": "127.0.0.1",
        "port": f"{launch.port}",
        "workers": f"{launch.workers}",
    }
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    return [this_python(), "-m", "tusd_s3", "serve", *words]


def _environment(launch: Launch) -> dict[str, str]:
    return launch.credentials() | python_path()


def _version(_: Path) -> str:
    return __version__


OURS = ServerKind(
    name="tusd-s3",
    title="tusd-s3",
    note="This server: state in Redis, data in S3, nothing on local disk.",
    base_path="/files/",
    command=_command,
    environment=_environment,
    version=_version,
    key_of=last_segment,
    workers=True,
)
