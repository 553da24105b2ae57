"""What the harness has to know of a server, whatever it is written in."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import tusd_s3
from tusd_s3.devstack.stores import StoreAddresses

REPOSITORY: Final = Path(tusd_s3.__file__).resolve().parents[1]
HERE: Final = Path(__file__).resolve().parent

_NOT_PASSED_ON: Final = ("AWS_", "TUSD_", "S3_", "WEED_", "PYTHON", "NODE_")


class NotHereError(Exception):
    """A server cannot be had on this machine; the message is a few words for the table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """One start of a server.

    port: of the loopback interface. part_bytes: of the parts it sends to S3, where that can be set.
    data_dir: for what it puts on disk. home: where it was installed.
    """

    port: int
    workers: int
    part_bytes: int
    bucket: str
    stores: StoreAddresses
    data_dir: Path
    home: Path

    def credentials(self) -> dict[str, str]:
        """The SDKs' standard variables."""
        return {
            "AWS_ACCESS_KEY_ID": self.stores.s3_access_key,
            "AWS_SECRET_ACCESS_KEY": self.stores.s3_secret_key,
            "AWS_REGION": self.stores.s3_region,
            "AWS_DEFAULT_REGION": self.stores.s3_region,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def settings(self) -> dict[str, str]:
        """What the small server programs of ours read (`servers/apps`, `servers/node`)."""
        return {
            "BENCH_PORT": f"{self.port}",
            "BENCH_BUCKET": self.bucket,
            "BENCH_PART_BYTES": f"{self.part_bytes}",
            "BENCH_S3_ENDPOINT": self.stores.s3_endpoint,
            "BENCH_S3_REGION": self.stores.s3_region,
            "BENCH_DATA_DIR": str(self.data_dir),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerKind:
    """The adapter of one server.

    name: on the command line. title: in tables. note: what a reader of the tables must know.
    base_path: where uploads are created.
    command: the command line; the process is stopped by SIGTERM.
    environment: variables beside the inherited ones.
    install: puts it into the directory given, within a bound of time; raises NotHereError.
    recipe: all that the installation depends on; it is done anew when this changes.
    version: of what is installed there.
    key_of: the object's key, from the upload's path; None where nothing is stored in S3.
    workers: whether it can be told to run several processes.
    """

    name: str
    title: str
    note: str
    base_path: str
    command: Callable[[Launch], list[str]]
    environment: Callable[[Launch], Mapping[str, str]]
    version: Callable[[Path], str]
    install: Callable[[Path], None] | None = None
    recipe: Callable[[], str] = lambda: ""
    key_of: Callable[[str], str] | None
    workers: bool = False


def last_segment(path: str) -> str:
    """The id at the end of an upload's path, which most servers use as the key."""
    return path.rsplit("/", 1)[1]


def inherited_environment() -> dict[str, str]:
    """Ours, without what would configure a server behind our back."""
    return {k: v for k, v in os.environ.items() if not k.startswith(_NOT_PASSED_ON)}


def python_path() -> dict[str, str]:
    """What a child Python needs to import `tusd_s3` and `benchmarks` from this checkout."""
    return {"PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": "1"}


def uvicorn_command(python: str, app: str, launch: Launch) -> list[str]:
    """An application under uvicorn as our own server runs: compiled loop and parser, no access
    log."""
    return [
        *(python, "-m", "uvicorn", app, "--host", "127.0.0.1", "--port", f"{launch.port}"),
        *("--loop", "uvloop", "--http", "httptools", "--ws", "none", "--no-access-log"),
        *("--workers", f"{launch.workers}"),
    ]


def this_python() -> str:
    """The interpreter that runs the harness; in a virtual environment, that one's."""
    return sys.executable
