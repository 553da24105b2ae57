"""A real S3 and a real Redis on this machine, for development and for tests.

    with LocalStores(Path(".tusd-s3")) as addresses:
        ...

They listen on the loopback interface only, keep their data in the directory across starts, and
never outlive the process that started them (see `guard`). `LocalS3` and `LocalRedis` are usable
alone; tests of faults kill, pause and restart one of the two.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from tusd_s3.devstack.local_redis import LocalRedis
from tusd_s3.devstack.local_s3 import LocalS3
from tusd_s3.devstack.lock import DataDirLock

__all__ = ["LocalRedis", "LocalS3", "LocalStores", "StoreAddresses"]


@dataclass(frozen=True, slots=True)
class StoreAddresses:
    """Where the stores are, and what opens them."""

    s3_endpoint: str
    s3_access_key: str
    s3_secret_key: str = field(repr=False)
    s3_region: str
    redis_url: str


class LocalStores:
    """Both servers, with everything they keep below `data_dir`, which one process may use."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir.absolute()
        self.s3 = LocalS3(self.data_dir / "s3")
        self.redis = LocalRedis(self.data_dir / "redis")
        self._lock = DataDirLock(self.data_dir)

    def start(self) -> StoreAddresses:
        """Start both and return when both take requests.

        Raises:
            DevStackError: one does not start, or the directory is in use; nothing is left running.
        """
        held = self._lock.take()
        try:
            self.redis.start(held_fds=(held,))
            self.s3.start(held_fds=(held,))
        except BaseException:
            self.stop()
            raise
        return self.addresses

    @property
    def addresses(self) -> StoreAddresses:
        """Where they are, once started."""
        return StoreAddresses(
            s3_endpoint=self.s3.endpoint,
            s3_access_key=self.s3.access_key,
            s3_secret_key=self.s3.secret_key,
            s3_region=self.s3.region,
            redis_url=self.redis.url,
        )

    def stop(self) -> None:
        """Stop both, SIGTERM first, SIGKILL after a bound; harmless when they do not run."""
        try:
            self.s3.stop()
        finally:
            try:
                self.redis.stop()
            finally:
                self._lock.release()

    def __enter__(self) -> StoreAddresses:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
