"""The stores of a run: a real S3 and a real Redis, a bucket for each measurement, and what S3 was
asked.

S3 calls are counted by SeaweedFS itself, which exports them by bucket and method. Nothing stands
between a server and the store, so counting costs nothing.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, Final, Self

import botocore.config
import botocore.exceptions
import botocore.session
import redis

from benchmarks.load import payload
from benchmarks.load.job import Finished
from tusd_s3.devstack.free_ports import LOOPBACK
from tusd_s3.devstack.stores import LocalRedis, LocalS3, StoreAddresses

_METRICS_TIMEOUT_S: Final = 10.0
_COUNTED: Final = re.compile(
    r'^SeaweedFS_s3_request_total\{bucket="([^"]*)",code="\d+",type="([A-Z]+)"\} (\S+)$',
    re.MULTILINE,
)
_READ_BYTES: Final = 1024 * 1024
_LAST: Final = 19
"""The lowest priority (nice)."""
_HASHED_MAX: Final = 32
"""Objects of a measurement whose content is compared; of all others the size is."""


class WrongObjectError(Exception):
    """What a server acknowledged is not what is in S3."""


class MeteredS3(LocalS3):
    """A local S3 that tells how often it was asked."""

    port_count = LocalS3.port_count + 1

    def calls(self, bucket: str) -> dict[str, int]:
        """Calls on a bucket since the start, by method (lists are `LIST`, HEAD is `GET`)."""
        connection = HTTPConnection(LOOPBACK, self._ports[-1], timeout=_METRICS_TIMEOUT_S)
        try:
            connection.request("GET", "/metrics")
            text = connection.getresponse().read().decode()
        finally:
            connection.close()
        found: dict[str, int] = {}
        for name, method, count in _COUNTED.findall(text):
            if name == bucket:
                found[method] = found.get(method, 0) + int(float(count))
        return found

    def _command(self, ports: list[int]) -> list[str]:
        metered = [f"-metricsIp={LOOPBACK}", f"-metricsPort={ports[-1]}"]
        return [*super()._command(ports[:-1]), *metered]

    def _is_ready(self, ports: list[int]) -> bool:
        return super()._is_ready(ports[:-1])


@dataclass(frozen=True, slots=True)
class Stores:
    """Both stores, running."""

    s3: MeteredS3
    redis: LocalRedis
    _client: Any
    _numbers: Iterator[int]

    @classmethod
    @contextmanager
    def started(cls, data_dir: Path) -> Iterator[Self]:
        """Start them with everything they keep below `data_dir`, and stop them at the end."""
        with ExitStack() as stack:
            local_redis = stack.enter_context(LocalRedis(data_dir / "redis"))
            s3 = stack.enter_context(MeteredS3(data_dir / "s3"))
            _give_way(s3.pid)
            client = _client_of(s3)
            stack.callback(client.close)
            yield cls(s3, local_redis, client, itertools.count(1))

    @property
    def addresses(self) -> StoreAddresses:
        """For the servers."""
        return StoreAddresses(
            s3_endpoint=self.s3.endpoint,
            s3_access_key=self.s3.access_key,
            s3_secret_key=self.s3.secret_key,
            s3_region=self.s3.region,
            redis_url=self.redis.url,
        )

    @contextmanager
    def bucket(self) -> Iterator[str]:
        """A new bucket, and an empty Redis. At the end both are emptied, so that the disk use of a
        run is that of its largest measurement."""
        name = f"bench-{next(self._numbers):04d}"
        self._client.create_bucket(Bucket=name)
        try:
            yield name
        finally:
            # SeaweedFS drops a bucket with all that is in it, files and all.
            self._client.delete_bucket(Bucket=name)
            with redis.Redis.from_url(self.redis.url) as client:
                client.flushall()
                with suppress(redis.ResponseError):  # it is at it already
                    client.bgrewriteaof()

    def check(
        self, bucket: str, finished: Sequence[Finished], key_of: Callable[[str], str]
    ) -> None:
        """Compare the sizes of all these objects with what was sent, and the content of up to 32.

        Raises: WrongObjectError.
        """
        sizes = self._sizes(bucket)
        for one in finished:
            key = key_of(one.path)
            if sizes.get(key) != one.size_bytes:
                raise WrongObjectError(f"object of {sizes.get(key)} bytes, not {one.size_bytes}")
        step = max(1, -(-len(finished) // _HASHED_MAX))
        for one in finished[::step]:
            if self._sha256(bucket, key_of(one.path)) != payload.sha256_of(
                one.phase, one.size_bytes
            ):
                raise WrongObjectError("an object with other bytes than were sent")

    def _sizes(self, bucket: str) -> dict[str, int]:
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        return {item["Key"]: item["Size"] for page in pages for item in page.get("Contents", ())}

    def _sha256(self, bucket: str, key: str) -> str:
        digest = hashlib.sha256()
        with self._client.get_object(Bucket=bucket, Key=key)["Body"] as stream:
            while chunk := stream.read(_READ_BYTES):
                digest.update(chunk)
        return digest.hexdigest()


def _give_way(pid: int) -> None:
    """Let the store have a processor when nobody else wants it, as if it ran on a machine of its
    own. Otherwise half of the time that a client waits is that of a server which waits for one."""
    with suppress(OSError):  # a kernel that knows no groups goes by the priorities alone
        Path(f"/proc/{pid}/autogroup").write_text(f"{_LAST}")  # see sched(7)
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.setpriority(os.PRIO_PROCESS, int(thread.name), _LAST)


def _client_of(s3: LocalS3) -> Any:  # noqa: ANN401 - botocore makes its clients at run time
    return botocore.session.Session().create_client(
        "s3",
        endpoint_url=s3.endpoint,
        region_name=s3.region,
        aws_access_key_id=s3.access_key,
        aws_secret_access_key=s3.secret_key,
        config=botocore.config.Config(s3={"addressing_style": "path"}),
    )


STORE_ERRORS: Final = (
    botocore.exceptions.BotoCoreError,
    botocore.exceptions.ClientError,
    redis.RedisError,
    HTTPException,
    OSError,
)
"""What is raised here where a store fails."""
