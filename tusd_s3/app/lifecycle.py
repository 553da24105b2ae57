"""The composition root: from settings to a running engine, and in good order back to nothing."""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from types import FrameType
from typing import Final

from tusd_s3.budget import MemoryBudget
from tusd_s3.config import Settings
from tusd_s3.downloads import DownloadOptions, Downloads
from tusd_s3.engine import EngineOptions, Uploads
from tusd_s3.engine.janitor import Janitor, JanitorOptions
from tusd_s3.engine.leftovers import LeftoverSweep
from tusd_s3.engine.sweep import Between, RecordSweep, SweepOptions
from tusd_s3.pace import Pace
from tusd_s3.planner.choose import LayoutPolicy
from tusd_s3.ports import Objects
from tusd_s3.ports_cleanup import Housekeeping, Leftovers
from tusd_s3.progress import Reporter, Watching
from tusd_s3.stores.redis import RedisOptions, RedisRecords, check_redis, open_redis
from tusd_s3.stores.redis.housekeeping import RedisHousekeeping
from tusd_s3.stores.redis.leases import LeaseOptions
from tusd_s3.stores.redis.progress import RedisProgress
from tusd_s3.stores.s3 import S3Copies, S3Objects, S3Options, S3Reads, check_bucket, open_s3
from tusd_s3.stores.s3.sweep import S3Leftovers

logger = logging.getLogger("tusd_s3.app")


_CLEANUPS_AT_ONCE_MAX: Final = 8
"""Pieces of the clean-up done at the same time: enough to move 2,000 tails within a minute, few
enough that no upload notices."""


_COPIES_AT_ONCE_MAX: Final = 16
"""Parts that S3 copies at the same time for final uploads: at a hundred MiB a second for each, a
terabyte in ten minutes. Each occupies a connection that others may need."""


class StartupError(Exception):
    """The server cannot work as configured; the message is one sentence for the operator."""


async def check_stores(settings: Settings) -> None:
    """Raise StartupError unless the bucket and Redis answer and Redis keeps what it is given."""
    async with open_redis(redis_options(settings)) as redis, open_s3(s3_options(settings)) as s3:
        problems = await asyncio.gather(
            check_redis(redis), check_bucket(s3.sdk, settings.s3_bucket)
        )
    for problem in problems:
        if problem is not None:
            raise StartupError(problem)


@dataclass(frozen=True, slots=True)
class Assembly:
    """A working engine and what it works on."""

    uploads: Uploads
    records: RedisRecords
    watching: Watching
    objects: Objects
    housekeeping: Housekeeping
    leftovers: Leftovers

    def sweeps(self, options: SweepOptions, between: Between) -> tuple[RecordSweep, LeftoverSweep]:
        """What finds things to clean up, in Redis and in S3."""
        records = RecordSweep(self.housekeeping, self.uploads, options, between)
        leftovers = LeftoverSweep(self.housekeeping, self.leftovers, self.objects, options, between)
        return records, leftovers


@dataclass(frozen=True, slots=True)
class Running:
    """What answers requests. downloads: None where they are off."""

    uploads: Uploads
    watching: Watching
    downloads: Downloads | None

    def begin_drain(self) -> None:
        """End all bodies and streams soon; what came of the bodies is recorded."""
        self.watching.begin_drain()
        self.uploads.begin_drain()


@asynccontextmanager
async def running(settings: Settings, budget: MemoryBudget, pace: Pace) -> AsyncIterator[Running]:
    """A working engine for the time of the block, cleaning up in the background; at the block's
    end all that arrived is recorded."""
    async with (
        assembled(settings, budget, pace) as parts,
        handing_out(settings, parts.records, budget) as downloads,
    ):
        janitor = Janitor(parts.housekeeping, parts.sweeps, janitor_options(settings))
        cleaning = asyncio.create_task(janitor.work_forever(), name="tusd-s3 janitor")
        try:
            yield Running(parts.uploads, parts.watching, downloads)
        finally:
            cleaning.cancel()
            await asyncio.gather(cleaning, return_exceptions=True)


@asynccontextmanager
async def assembled(
    settings: Settings, budget: MemoryBudget, pace: Pace
) -> AsyncIterator[Assembly]:
    """A working engine for the time of the block; at its end all that arrived is recorded."""
    async with (
        open_redis(redis_options(settings)) as redis,
        open_redis(redis_options(settings)) as bulk,
        open_s3(s3_options(settings), pace) as s3,
    ):
        leases = LeaseOptions(
            ttl_s=settings.lease_ttl,
            wait_s=settings.lease_wait,
            outage_s=settings.redis_outage_wait,
        )
        records = RedisRecords(redis, bulk, settings.redis_key_prefix, leases, budget.blocks)
        async with records.running():
            objects = S3Objects(s3, s3_options(settings))
            copies = S3Copies(s3.sdk, s3_options(settings), objects.calling)
            sights = RedisProgress(redis, settings.redis_key_prefix, records.channel)
            reporter = Reporter(sights)
            uploads = Uploads(records, objects, copies, engine_options(settings), budget, reporter)
            watching = Watching(sights, uploads.bring_back)
            sights.listen(reporter.watched, watching.reported)
            try:
                yield Assembly(
                    uploads,
                    records,
                    watching,
                    objects,
                    RedisHousekeeping(redis, settings.redis_key_prefix),
                    S3Leftovers(s3.sdk, s3_options(settings)),
                )
            finally:
                await watching.aclose()
                await reporter.aclose()
                await _drain(uploads, settings.shutdown_timeout)


@asynccontextmanager
async def handing_out(
    settings: Settings, records: RedisRecords, budget: MemoryBudget
) -> AsyncIterator[Downloads | None]:
    """What serves downloads for the time of the block; None where they are off."""
    if settings.downloads == "off":
        yield None
        return
    # Connections of their own: an hour of a slow reader must not take one from uploads.
    options = replace(s3_options(settings), connections_max=settings.downloads_max)
    async with AsyncExitStack() as stack:
        s3 = public = await stack.enter_async_context(open_s3(options))
        if settings.downloads_endpoint is not None:
            elsewhere = replace(options, endpoint=settings.downloads_endpoint)
            public = await stack.enter_async_context(open_s3(elsewhere))
        reads = S3Reads(s3, options, public=public)
        try:
            yield Downloads(records, reads, download_options(settings), budget)
        finally:
            await reads.close()


async def _drain(uploads: Uploads, timeout_s: float) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            await uploads.drain()
    except TimeoutError:
        logger.error("some uploads could not be recorded within %g s", timeout_s)


@contextmanager
def draining_on_signals(begin_drain: Callable[[], None]) -> Iterator[None]:
    """Call `begin_drain` as soon as the process is told to stop.

    The server itself would first wait for requests to end, and a PATCH may take hours. Whatever
    handled the signals before still does, afterwards.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may handle signals
        return
    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def handle(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(begin_drain)
        previous = before[signal.Signals(number)]
        if callable(previous):
            previous(number, frame)

    for number in before:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


def redis_options(settings: Settings) -> RedisOptions:
    """What the Redis adapter needs of the settings."""
    return RedisOptions(
        url=settings.redis_url,
        prefix=settings.redis_key_prefix,
        timeout_s=settings.redis_timeout,
    )


def s3_options(settings: Settings) -> S3Options:
    """What the S3 adapter needs of the settings."""
    path_style = settings.s3_force_path_style
    return S3Options(
        bucket=settings.s3_bucket,
        region=settings.s3_region,
        endpoint=settings.s3_endpoint,
        prefix=settings.s3_object_prefix,
        connections_max=settings.s3_connections,
        timeout_s=settings.s3_timeout,
        conditional_writes=settings.s3_conditional_writes,
        force_path_style=settings.s3_endpoint is not None if path_style is None else path_style,
    )


def engine_options(settings: Settings) -> EngineOptions:
    """What the engine needs of the settings."""
    return EngineOptions(
        policy=LayoutPolicy(
            part_size_bytes=settings.s3_part_size,
            parts_max=settings.s3_parts_max,
            equal_parts=settings.s3_equal_parts,
            part_max_bytes=settings.part_max_bytes,
        ),
        key_template=settings.s3_object_key,
        key_prefix=settings.s3_object_prefix,
        max_upload_bytes=settings.max_upload_bytes,
        lifetime_s=settings.upload_lifetime,
        concurrent_parts=settings.s3_concurrent_part_uploads,
        body_silence_max_s=settings.network_timeout,
        checkpoint_interval_s=settings.checkpoint_interval,
        completion_wait_s=settings.lease_wait,
        concatenation_wait_s=settings.concatenation_wait,
        copies_at_once=max(1, min(_COPIES_AT_ONCE_MAX, settings.s3_connections // 4)),
    )


def download_options(settings: Settings) -> DownloadOptions:
    """What downloads need of the settings."""
    return DownloadOptions(
        open_max=settings.downloads_max,
        key_template=settings.s3_object_key,
        key_prefix=settings.s3_object_prefix,
        link_life_s=int(settings.downloads_link_life),
    )


def janitor_options(settings: Settings) -> JanitorOptions:
    """What the clean-up needs of the settings."""
    return JanitorOptions(
        interval_s=settings.cleanup_interval,
        # A share of the connections that leaves the others to the uploads.
        at_once=max(1, min(_CLEANUPS_AT_ONCE_MAX, settings.s3_connections // 8)),
        sweep=SweepOptions(
            lifetime_s=settings.upload_lifetime,
            key_template=settings.s3_object_key,
            key_prefix=settings.s3_object_prefix,
            tail_idle_s=settings.tail_idle,
            memory_bound_bytes=settings.redis_memory_bound,
            interval_s=settings.cleanup_interval,
        ),
    )
