"""One stack per data directory."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from tusd_s3.devstack.errors import DevStackError

# When a stack is killed, its guards hold the lock until its servers are gone.
_DEAD_HOLDER_WAIT_S = 15.0
_DEAD_HOLDER_POLL_S = 0.05


class DataDirLock:
    """An flock'ed file in the data directory, which the system lets go of when we die."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._descriptor: int | None = None

    def take(self) -> int:
        """Take it; the file descriptor that holds it.

        Raises:
            DevStackError: a living process uses the directory.
        """
        self._data_dir.mkdir(parents=True, exist_ok=True)
        path = self._data_dir / "lock"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._lock(descriptor)
            os.truncate(descriptor, 0)
            os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        return descriptor

    def release(self) -> None:
        """Let go; harmless when not held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _lock(self, descriptor: int) -> None:
        deadline = time.monotonic() + _DEAD_HOLDER_WAIT_S
        while True:
            try:
                return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
                if _is_alive(holder) or time.monotonic() > deadline:
                    raise DevStackError(
                        f"{self._data_dir} is in use by another `tusd-s3 dev` (process {holder})."
                    ) from None
                time.sleep(_DEAD_HOLDER_POLL_S)


def _is_alive(holder: str) -> bool:
    if not holder.isdecimal():
        return False
    try:
        os.kill(int(holder), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
