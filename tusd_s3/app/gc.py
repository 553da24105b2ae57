"""The clean-up once, on demand: what the janitor of a running server does over time."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable
from typing import Final

from tusd_s3 import errors
from tusd_s3.app.lifecycle import Assembly, assembled, check_stores, janitor_options
from tusd_s3.budget import MemoryBudget
from tusd_s3.config import Settings
from tusd_s3.engine.chores import Chore, Crew, Journal, Outcome
from tusd_s3.engine.janitor import JanitorOptions
from tusd_s3.engine.sweep import no_rest
from tusd_s3.pace import Pace

JOURNAL_SHOWN_MAX: Final = 20
"""Lines about what failed; the last one tells how many more there are."""


async def collect_garbage(
    settings: Settings, tell: Callable[[str], None], *, dry_run: bool
) -> bool:
    """Do all of the clean-up that is due, telling a line for each thing; whether nothing failed.

    With `dry_run` nothing is changed, and the lines tell what would be done. Servers may run
    beside it. Raises StartupError when the stores cannot be used.
    """
    await check_stores(settings)
    budget = MemoryBudget(settings.memory_budget, settings.s3_part_size)
    async with assembled(settings, budget, Pace()) as parts:
        run = _Run(parts, janitor_options(settings), tell, dry_run=dry_run)
        await run.do_everything()
        verb = "to do" if dry_run else "done"
        tell(f"{run.done} {verb}, {run.failed} failed")
        return run.failed == 0


class _Run:
    def __init__(
        self,
        parts: Assembly,
        options: JanitorOptions,
        tell: Callable[[str], None],
        *,
        dry_run: bool,
    ) -> None:
        self._housekeeping = parts.housekeeping
        self._options = options.sweep
        self._tell = tell
        self._records, self._leftovers = parts.sweeps(options.sweep, no_rest)
        self._journal = Journal(parts.housekeeping, options.interval_s)
        self._crew = Crew(
            self._journal, self._account, at_once=options.at_once, dry_run=dry_run, patient=False
        )
        self.done = 0
        self.failed = 0

    async def do_everything(self) -> None:
        try:
            await self._journal.load()
            excess_bytes = self._options.excess_bytes(await self._housekeeping.memory())
        except errors.StateUnavailable as error:
            self._failed("look at Redis", error.code)
            return
        self._tell_journal()
        await self._do("look through the records", self._records.chores())
        if excess_bytes:
            tails = self._records.idlest_tails(excess_bytes)
            await self._do("look for idle tails", tails)
        await self._do("list recovery objects", self._leftovers.stored())
        await self._do("list multipart uploads", self._leftovers.multiparts())

    async def _do(self, what: str, chores: AsyncGenerator[Chore, None]) -> None:
        try:
            await self._crew.do_all(chores)
        except errors.UploadError as error:
            self._failed(what, error.code)

    def _account(self, outcome: Outcome) -> None:
        self.done += outcome.code is None
        self.failed += outcome.code is not None
        self._tell(str(outcome))

    def _failed(self, what: str, code: str) -> None:
        self.failed += 1
        self._tell(f"{what}: failed: {code}")

    def _tell_journal(self) -> None:
        """What could not be done so far, by whomever it was tried."""
        entries = sorted(self._journal.entries.items(), key=lambda entry: entry[1].at_s)
        for name, failure in entries[:JOURNAL_SHOWN_MAX]:
            ago_s = time.time() - failure.at_s
            times = f"{failure.attempts} times so far, {ago_s:.0f} s ago"
            self._tell(f"failed {times}: {name}: {failure.code}")
        if len(entries) > JOURNAL_SHOWN_MAX:
            self._tell(f"failed before: {len(entries) - JOURNAL_SHOWN_MAX} more")
