"""A server whose every call is counted: to S3, to Redis, and of functions.

A workload is run several times, and of each figure the least counts. What a clock begins, such as
the renewal of all leases every quarter of their time, does not come in every round; and what the
first round does once only is in none of those that count.
"""

from __future__ import annotations

import functools
import operator
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Self
from urllib.parse import urlsplit

from tests.costs.workloads import BASE_PATH, Requests, Workload
from tests.support.counted_server import CallCounts, Calls
from tests.support.proxy import Proxy
from tests.support.raw import RawConnection
from tests.support.redis_proxy import RedisProxy
from tests.support.s3_proxy import S3Proxy
from tests.support.server import ServerProcess, StoreSettings

_QUIET: Final = {
    "lease-ttl": "60s",
    "checkpoint-interval": "1h",
    "cleanup-interval": "1h",
    "log-level": "info",
}
"""As little as possible that a clock begins; what is left comes every 15 seconds."""

ROUNDS: Final = 3
_ANSWER_WITHIN_S: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a round of a workload took altogether.

    s3: calls by kind. redis: commands by name. round_trips: to Redis. calls: of functions, by name.
    """

    s3: Counter[str]
    redis: Counter[str]
    round_trips: int
    calls: Calls

    @classmethod
    def least(cls, rounds: Sequence[Cost]) -> Cost:
        """Of each figure the least."""
        return Cost(
            s3=functools.reduce(operator.and_, (one.s3 for one in rounds)),
            redis=functools.reduce(operator.and_, (one.redis for one in rounds)),
            round_trips=min(one.round_trips for one in rounds),
            calls=min((one.calls for one in rounds), key=Counter.total),
        )


@dataclass(frozen=True, slots=True)
class Meter:
    """The server, and what counts."""

    server: ServerProcess
    s3: S3Proxy
    redis: RedisProxy
    counts: CallCounts

    @classmethod
    @contextmanager
    def over(cls, stores: StoreSettings, folder: Path) -> Iterator[Self]:
        """Start the server over these stores. Its log goes into the folder."""
        with ExitStack() as stack:
            s3 = S3Proxy(_address(stores.s3_endpoint))
            redis = RedisProxy(_address(stores.redis_url))
            for proxy in (s3, redis):
                stack.enter_context(_running(proxy))
            counts = CallCounts()
            server = ServerProcess(
                replace(stores, s3_endpoint=s3.endpoint, redis_url=redis.url),
                folder / "server.log",
                _QUIET,
                BASE_PATH,
                module=counts.module,
            )
            yield cls(stack.enter_context(server), s3, redis, counts)

    def rounds_of(self, workload: Workload, count: int = ROUNDS) -> list[Cost]:
        """The cost of each of so many rounds."""
        address = ("127.0.0.1", self.server.port)
        with RawConnection(address, _ANSWER_WITHIN_S) as connection:
            requests = Requests(connection)
            workload.run(requests, workload.prepare(requests))
            return [self._one_round(workload, requests) for _ in range(count)]

    def _one_round(self, workload: Workload, requests: Requests) -> Cost:
        path = workload.prepare(requests)
        before = self.counts.now()
        with self.s3.counting() as s3_calls, self.redis.counting() as trips:
            workload.run(requests, path)
            calls = self.counts.now() - before
        return Cost(
            s3=Counter({kind.value: count for kind, count in s3_calls.items()}),
            redis=Counter(name for trip in trips for name in trip.names),
            round_trips=len(trips),
            calls=calls,
        )


@contextmanager
def _running(proxy: Proxy) -> Iterator[None]:
    proxy.start()
    try:
        yield
    finally:
        proxy.stop()


def _address(url: str) -> tuple[str, int]:
    split = urlsplit(url)
    assert split.hostname is not None
    assert split.port is not None
    return split.hostname, split.port
