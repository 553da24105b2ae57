"""Cleans up in the background, in one worker of all at a time.

Every worker has a janitor. Each asks now and then for a lease in Redis, and the one that has it
works. The lease only saves work: every piece of the clean-up is safe while another does the same,
so a janitor that was frozen past its lease does no harm.

What goes wrong is logged and tried again; nothing ends a janitor but the end of its worker.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from tusd_s3 import errors
from tusd_s3.engine.chores import Chore, Crew, Duty, Journal, Outcome
from tusd_s3.engine.leftovers import LeftoverSweep
from tusd_s3.engine.sweep import Between, RecordSweep, SweepOptions
from tusd_s3.ports_cleanup import Housekeeping

logger = logging.getLogger("tusd_s3.cleanup")

LISTING_INTERVAL_MAX_S: Final = 600.0
"""What is in S3 is listed at least this often. A thousand entries come with a call: 100,000
unfinished uploads are listed for 15,000 calls a day, 7 cents at Amazon's price of a LIST."""

_LISTINGS_PER_LIFETIME: Final = 4
"""Orphaned multipart uploads are proven ours by a record, in the second half of its life."""

MEMORY_INTERVAL_S: Final = 2.0
"""Between looks at Redis' memory while it has a bound. At 100 MiB of tails a second, the quarter
that the default bound leaves of a gigabyte is full after 2.5."""

_LEASE_TURNS: Final = 3
"""The lease outlives so many turns: two may be late before another janitor takes over."""

_LEASE_MIN_S: Final = 5.0
"""Turns a second apart are late more easily."""

_REST: Final = 4.0
"""Times a batch's duration to rest after it: the clean-up takes at most a fifth of a worker."""

_REST_MAX_S: Final = 1.0
"""A batch that took long waited for S3 or Redis, which needs no rest."""

_RESIGN_MAX_S: Final = 1.0
"""A worker that stops has better things to wait for."""

Sweeps = Callable[[SweepOptions, Between], tuple[RecordSweep, LeftoverSweep]]
"""Makes what finds things to clean up, in Redis and in S3."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JanitorOptions:
    """interval_s: between sweeps over the records. at_once: chores done at the same time."""

    interval_s: float
    at_once: int
    sweep: SweepOptions

    @property
    def listing_interval_s(self) -> float:
        """Between listings of what is in S3."""
        often_enough_s = self.sweep.lifetime_s / _LISTINGS_PER_LIFETIME
        return max(self.interval_s, min(often_enough_s, LISTING_INTERVAL_MAX_S))


class _OvertakenError(Exception):
    """Another janitor has the lease now."""


class Janitor:
    """See the module. Runs `work_forever` in a task that is cancelled before the engine drains."""

    def __init__(self, housekeeping: Housekeeping, sweeps: Sweeps, options: JanitorOptions) -> None:
        self._housekeeping = housekeeping
        self._options = options
        self._records, self._leftovers = sweeps(options.sweep, self._between_batches)
        self._journal = Journal(housekeeping, options.interval_s)
        self._crew = Crew(self._journal, _log, at_once=options.at_once)
        self._leads = False
        self._has_bound = options.sweep.memory_bound_bytes is not None
        self._sweep_due_s = self._listing_due_s = self._relief_due_s = 0.0
        self._relief_pause_s = MEMORY_INTERVAL_S

    async def work_forever(self) -> None:
        """Clean up whenever the lease is ours, until cancelled."""
        try:
            # Workers that were started together need not all ask at the same moment.
            await asyncio.sleep(self._pause_s * random.uniform(0.5, 1.0))  # noqa: S311 - no secret
            while True:
                await self._guarded(self._turn())
                await asyncio.sleep(self._pause_s)
        finally:
            await self._resign()

    @property
    def _pause_s(self) -> float:
        interval_s = self._options.interval_s
        return min(interval_s, MEMORY_INTERVAL_S) if self._has_bound else interval_s

    async def _turn(self) -> None:
        if not await self._lead():
            return
        now_s = time.monotonic()
        await self._guarded(self._relieve())
        if now_s >= self._sweep_due_s:
            self._sweep_due_s = now_s + self._options.interval_s
            await self._journal.load()
            await self._do(self._records.chores())
        if now_s >= self._listing_due_s:
            self._listing_due_s = now_s + self._options.listing_interval_s
            await self._do(self._leftovers.stored())
            await self._do(self._leftovers.multiparts())

    async def _do(self, chores: AsyncGenerator[Chore, None]) -> None:
        if self._leads:
            await self._guarded(self._crew.do_all(chores))

    async def _relieve(self) -> None:
        """Move tails to S3 while Redis uses more memory than it should."""
        memory, options = await self._housekeeping.memory(), self._options
        self._has_bound = options.sweep.bound_bytes(memory) is not None
        excess_bytes = options.sweep.excess_bytes(memory)
        if not excess_bytes:
            self._relief_pause_s, self._relief_due_s = MEMORY_INTERVAL_S, 0.0
        elif time.monotonic() >= self._relief_due_s:
            moved = await self._crew.do_all(self._records.idlest_tails(excess_bytes))
            logger.warning(
                "Redis uses %d bytes, which is too much: %d idle tails were moved to S3",
                memory.used_bytes,
                moved,
            )
            self._rest_from_relief(in_vain=not moved)

    def _rest_from_relief(self, *, in_vain: bool) -> None:
        """With nothing to move, looking through all records again at once would not help."""
        longest_s = max(self._options.interval_s, MEMORY_INTERVAL_S)
        pause_s = min(2 * self._relief_pause_s, longest_s) if in_vain else MEMORY_INTERVAL_S
        self._relief_pause_s = pause_s
        self._relief_due_s = time.monotonic() + pause_s if in_vain else 0.0

    # --- the lease ------------------------------------------------------------------------------

    async def _lead(self) -> bool:
        leads = await self._housekeeping.lead(max(_LEASE_TURNS * self._pause_s, _LEASE_MIN_S))
        if leads and not self._leads:
            logger.info("this worker does the clean-up from now on")
        self._leads = leads
        return leads

    async def _between_batches(self, busy_s: float) -> None:
        await asyncio.sleep(min(busy_s * _REST, _REST_MAX_S))
        if not await self._lead():
            raise _OvertakenError

    async def _resign(self) -> None:
        if not self._leads:
            return
        try:
            async with asyncio.timeout(_RESIGN_MAX_S):
                await self._housekeeping.resign()
        except (TimeoutError, errors.StateUnavailable):
            logger.debug("the janitor's lease is left to its TTL")

    async def _guarded(self, work: Awaitable[object]) -> None:
        """Await `work`; what it raises is for the log, and there will be another time."""
        try:
            await work
        except _OvertakenError:
            logger.info("another worker does the clean-up now")
        except errors.UploadError as error:
            logger.warning("the clean-up has to wait: %s", error.code)
        except Exception:
            logger.exception("the clean-up failed")


def _log(outcome: Outcome) -> None:
    if outcome.code is not None:
        return  # failures are in the log already
    # Tails that move are daily business; the others should not have been there.
    level = logging.DEBUG if outcome.duty is Duty.PARKING else logging.INFO
    logger.log(level, "%s: done", outcome)
