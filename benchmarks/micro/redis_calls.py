"""What one script in Redis costs this process in CPU, by each way of calling it.

    python -m benchmarks.micro.redis_calls [--at-once 1 4 8] [--calls 8000] [--rounds 40]

The other side is a real Redis with one record, which each call reads as a HEAD does. The ways take
turns in short rounds, so that a busy machine treats them alike; of each, the least of its rounds
counts. Also counted: calls of functions for one call, which no load changes.

ways: `redis-py` takes a connection out of its pool for each call; `line` is `stores/redis/lines.py`
as the server uses it; `protocol` is the least that a line could cost: a protocol of our own below
hiredis, without deadlines, repeats, or a thought for what an answer means.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import pstats
import sys
import tempfile
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, cast

import hiredis
import redis.asyncio as redis
import uvloop

from tusd_s3 import limits
from tusd_s3.devstack.stores import LocalRedis
from tusd_s3.model.layout import PartLayout
from tusd_s3.model.upload import Upload, new_upload_id
from tusd_s3.stores.redis import RedisOptions, open_redis, serialize
from tusd_s3.stores.redis.client import Client, call_script
from tusd_s3.stores.redis.keys import Keys
from tusd_s3.stores.redis.scripts import CREATE, INSPECT

PROFILED_CALLS = 400

Way = Callable[[], Awaitable[object]]


class Bare(asyncio.Protocol):
    """Writes once in a turn of the event loop; answers find their calls by their order."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._unsent: list[bytes] = []
        self._sent: deque[asyncio.Future[Any]] = deque()
        self._nothing = object()
        self._reader = hiredis.Reader(notEnoughData=self._nothing)

    def call(self, *words: Any) -> asyncio.Future[Any]:  # noqa: ANN401 - whatever hiredis packs
        if not self._unsent:
            self._loop.call_soon(self._write)
        self._unsent.append(hiredis.pack_command(words))
        answer: asyncio.Future[Any] = self._loop.create_future()
        self._sent.append(answer)
        return answer

    def _write(self) -> None:
        self._transport.write(b"".join(self._unsent))
        self._unsent.clear()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        pass

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        while (answer := self._reader.gets()) is not self._nothing:
            self._sent.popleft().set_result(answer)


async def stored_record(client: Client, keys: Keys) -> Upload:
    upload = Upload(
        id=new_upload_id(),
        key="uploads/0123456789abcdef",
        length=10**9,
        metadata="filename d29ybGRfZG9taW5hdGlvbl9wbGFuLnBkZg==",
        layout=PartLayout(limits.S3_PART_SIZE_MIN_BYTES),
        expires_at_s=int(time.time()) + 3600,
    )
    args: list[str | int] = [upload.expires_at_s * 1000, "", 1000, 0, *serialize.dump(upload)]
    await call_script(client, CREATE, keys.all_of(upload.id), *args)
    return upload


async def measure(port: int, at_once: Sequence[int], calls: int, rounds: int) -> None:
    options = RedisOptions(url=f"redis://127.0.0.1:{port}/0", prefix="bench:", timeout_s=5.0)
    async with open_redis(options) as client:
        keys = Keys(options.prefix)
        upload = await stored_record(client, keys)
        arguments: Any = (4, *keys.all_of(upload.id), upload.id, "worker", "bench:", 5000)
        await call_script(client, INSPECT, arguments[1:5], *arguments[5:])
        pooled = redis.Redis(connection_pool=cast(Any, client).connection_pool)
        loop = asyncio.get_running_loop()
        transport, bare = await loop.create_connection(Bare, "127.0.0.1", port)
        ways: dict[str, Way] = {
            "redis-py": lambda: pooled.evalsha(INSPECT.sha, *arguments),
            "protocol": lambda: bare.call("EVALSHA", INSPECT.sha, *arguments),
            "line": lambda: client.evalsha(INSPECT.sha, *arguments),
        }
        for callers in at_once:
            least = dict.fromkeys(ways, float("inf"))
            for _ in range(rounds):
                for name, way in ways.items():
                    least[name] = min(least[name], await cpu_of(way, callers, calls // rounds))
            for name, way in ways.items():
                report(callers, name, least[name], await functions_of(way, callers))
        transport.close()


async def repeat(way: Way, times: int) -> None:
    for _ in range(times):
        await way()


async def cpu_of(way: Way, callers: int, calls: int) -> float:
    """Seconds for one call."""
    each = max(1, calls // callers)
    await asyncio.gather(*(repeat(way, 1) for _ in range(callers)))  # all connections are there
    began = time.process_time()
    await asyncio.gather(*(repeat(way, each) for _ in range(callers)))
    return (time.process_time() - began) / (each * callers)


async def functions_of(way: Way, callers: int) -> float:
    profile = cProfile.Profile()
    profile.enable()
    await asyncio.gather(*(repeat(way, PROFILED_CALLS // callers) for _ in range(callers)))
    profile.disable()
    stats: Any = pstats.Stats(profile)
    return float(stats.total_calls) / PROFILED_CALLS


def report(callers: int, name: str, cpu_s: float, functions: float) -> None:
    micros = 1e6 * cpu_s
    sys.stdout.write(
        f"{callers:3} at once  {name:8} {micros:8.0f} us CPU  {functions:6.0f} function calls\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--at-once", type=int, nargs="+", default=[1, 4, 8])
    parser.add_argument("--calls", type=int, default=8000)
    parser.add_argument("--rounds", type=int, default=40)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        server = LocalRedis(Path(folder))
        server.start()
        try:
            uvloop.run(measure(server.port, given.at_once, given.calls, given.rounds))
        finally:
            server.stop()


if __name__ == "__main__":
    main()
