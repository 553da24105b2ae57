"""`tusd-s3 dev`, as somebody who tries it starts it: all that is known of it is what it prints."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import tusd_s3
from tests.support.server import StoreSettings, free_port
from tests.support.stores import Bucket
from tests.support.waiting import eventually

_START_WITHIN_S = 60.0
_STOP_WITHIN_S = 40.0
_LOG_TAIL_CHARS = 6_000
_BANNER = re.compile(
    r"S3\s+(?P<s3_endpoint>\S+)\s+bucket: (?P<bucket>\S+)\s+"
    r"access key: (?P<s3_access_key>\S+)\s+secret key: (?P<s3_secret_key>\S+)\s+"
    r"Redis\s+(?P<redis_url>\S+)"
)


@dataclass(frozen=True, slots=True)
class DevServer:
    """One that runs."""

    port: int
    bucket: Bucket


@contextmanager
def dev_server(folder: Path) -> Iterator[DevServer]:
    """Run one that keeps everything in `folder`."""
    port, log = free_port(), folder / "dev.log"
    command = [sys.executable, "-m", "tusd_s3", "dev", "--port", f"{port}"]
    with log.open("ab") as output:
        process = subprocess.Popen(
            [*command, "--data-dir", str(folder / "data")],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=_environment(),
            start_new_session=True,
        )
    try:
        bucket = Bucket.open(_wait_for_stores(process, log))
        yield DevServer(port, bucket)
        bucket.close()
        process.send_signal(signal.SIGTERM)
        assert process.wait(_STOP_WITHIN_S) == 0, _tail(log)
        assert "Traceback" not in log.read_text(), _tail(log)
    finally:
        # A whole group: its stores too, if it could not stop them.
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(_STOP_WITHIN_S)


def _wait_for_stores(process: subprocess.Popen[bytes], log: Path) -> StoreSettings:
    def printed() -> re.Match[str] | None:
        if process.poll() is not None:
            raise RuntimeError(f"ended with status {process.returncode}\n{_tail(log)}")
        return _BANNER.search(log.read_text())

    found = eventually(printed, within_s=_START_WITHIN_S, what="it says where its stores are")
    assert found is not None
    return StoreSettings(**found.groupdict(), s3_region="us-east-1")


def _environment() -> dict[str, str]:
    # Settings of whoever runs the tests must not reach it.
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "TUSD_"))}
    root = str(Path(tusd_s3.__file__).resolve().parents[1])
    return kept | {"PYTHONPATH": root, "PYTHONUNBUFFERED": "1"}


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-_LOG_TAIL_CHARS:]
