"""What each of these looks needs: stores, a server over them, and a load, gone afterwards."""

from __future__ import annotations

import shutil
import signal
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

from benchmarks.load.job import Job, Outcome
from benchmarks.processes import LoadProcess, ServerUnderTest
from benchmarks.servers import ServerKind
from benchmarks.stores import Stores
from tusd_s3.limits import GIB, MIB

PART_BYTES: Final = 8 * MIB
"""As the table has it unless told otherwise."""

_DEADLINE_S: Final = 300.0
_SPARE_BYTES: Final = 2 * GIB


class FailedError(Exception):
    """The load, or what it needs, failed; the message is for the user."""


@contextmanager
def stage(stored_bytes: int, scratch: Path | None) -> Iterator[tuple[Stores, Path]]:
    """Stores, with room for so much, and a directory. Raises: FailedError, DevStackError."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    place = Path(tempfile.mkdtemp(prefix="tusd-s3-bench-", dir=scratch))
    try:
        needed = stored_bytes + _SPARE_BYTES
        if shutil.disk_usage(place).free < needed:
            raise FailedError(f"{needed / GIB:.0f} GiB of disk are needed")
        with Stores.started(place / "stores") as stores:
            yield stores, place
    finally:
        shutil.rmtree(place, ignore_errors=True)


@contextmanager
def served(
    kind: ServerKind,
    stores: Stores,
    place: Path,
    *,
    workers: int = 1,
    s3_endpoint: str | None = None,
) -> Iterator[ServerUnderTest]:
    """A server of this kind, over a bucket of its own; or over another S3."""
    addresses = stores.addresses
    if s3_endpoint is not None:
        addresses = replace(addresses, s3_endpoint=s3_endpoint)
    with (
        stores.bucket() as bucket,
        ServerUnderTest(
            kind,
            place / f"server-{workers}",
            place,
            addresses,
            bucket,
            workers=workers,
            part_bytes=PART_BYTES,
        ) as server,
    ):
        yield server


@contextmanager
def load(kind: ServerKind, port: int, script: str, numbers: Mapping[str, int]) -> Iterator[Load]:
    """A load that is ready to begin. Raises: FailedError."""
    job = Job(
        script=script,
        port=port,
        base_path=kind.base_path,
        deadline_s=_DEADLINE_S,
        numbers=numbers,
    )
    with LoadProcess(job) as process:
        if (failed := process.prepare()) is not None:
            raise FailedError(failed.error)
        yield Load(process)


class Load:
    """A load that waits for its word."""

    def __init__(self, process: LoadProcess) -> None:
        self._process = process

    def run(self) -> Outcome:
        """All of it. Raises: FailedError, if anything was answered as it should not be."""
        outcome = self._process.run()
        if outcome.error is not None:
            raise FailedError(outcome.error)
        return outcome


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    # A second Ctrl-C must not cut short what ends the stores.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt
