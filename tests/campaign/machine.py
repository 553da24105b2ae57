"""The state machine: what clients do, and what goes wrong meanwhile.

No choice depends on what the servers answered, so that a run can be made again from its seed or
from the list of its steps. A rule that does not fit the moment does the nearest thing that does.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from tests.campaign.arena import Arena
from tests.campaign.choices import (
    SIZES,
    SLOTS,
    amounts,
    losses,
    pauses_ms,
    servers,
    slots,
    troubles,
)
from tests.campaign.client import Sending
from tests.campaign.judge import Judge
from tests.campaign.ledger import Violation
from tests.campaign.mischief import Mischief
from tests.campaign.play import Play
from tests.campaign.report import Report, Step
from tests.campaign.stepping import Judged, step
from tests.campaign.terms import Terms


class Machine(RuleBasedStateMachine):
    """One example. `arena`, `report` and `terms` are set by whoever runs it."""

    arena: ClassVar[Arena]
    report: ClassVar[Report]
    terms: ClassVar[Terms]

    def __init__(self) -> None:
        super().__init__()
        for worker in self.arena.workers:
            worker.begin_life()
        self.steps: list[Step] = []
        self.journal: list[str] = []
        self.failed = False
        self._started_s = time.monotonic()
        self._play = Play(self.arena, self.report, self.note, lifetime_s=self.terms.lifetime_s)
        self._mischief = Mischief(
            self.arena, self.report, self.terms.faults, self._play.lose, self.note
        )

    @property
    def is_over(self) -> bool:
        """Whether the campaign has no time left, or this example has failed."""
        return self.failed or (not self.steps and time.monotonic() > self.terms.ends_at)

    def note(self, line: str) -> None:
        """For the journal."""
        self.journal.append(f"{time.monotonic() - self._started_s:7.2f}  {line}")

    def judged(self) -> Judged:
        """What is raised within is a failure, and is recorded with the steps that led to it."""
        return Judged(self)

    def look_around(self) -> None:
        """The servers are well, apart from what was done to them."""
        for worker in self.arena.workers:
            if (complaint := worker.complaint()) is not None:
                raise Violation(complaint)

    # --- what clients do ----------------------------------------------------------------------

    @rule(
        slot=slots,
        size=st.sampled_from(SIZES),
        deferred=st.booleans(),
        body=st.sampled_from(["none", "none", "rest", "half", "100 KiB", "7 MiB"]),
        end=st.sampled_from(["answer", "answer", "answer", "reset", "fin"]),
        who=servers,
        trouble=st.none() | troubles,
    )
    @step
    def create(
        self,
        slot: int,
        size: int,
        deferred: bool,
        body: str,
        end: str,
        who: int,
        trouble: str | None,
    ) -> None:
        """POST, with and without a body, unless the slot holds an upload on its way."""
        self._trouble(trouble)
        if (present := self._play.present(slot)) is not None and present.is_open:
            self._play.head(present, who)
        else:
            self._play.create(slot, size, body, who, deferred=deferred, end=end)

    @rule(
        slot=slots,
        amount=amounts,
        who=servers,
        chunked=st.booleans(),
        pause_ms=pauses_ms,
        declares=st.booleans(),
        trouble=st.none() | troubles,
    )
    @step
    def patch(
        self,
        slot: int,
        amount: str,
        who: int,
        chunked: bool,
        pause_ms: int,
        declares: bool,
        trouble: str | None,
    ) -> None:
        """A PATCH that is sent to its end."""
        subject = self._play.subject(slot)
        self._trouble(trouble)
        size = self._play.amount(subject, amount)
        how = Sending(None if chunked else size, size, pause_s=pause_ms / 1000)
        self._play.patch(subject, how, who, declares=declares)

    @rule(
        slot=slots,
        amount=amounts,
        who=servers,
        chunked=st.booleans(),
        agrees=st.booleans(),
        end=st.sampled_from(["answer", "answer", "reset", "fin"]),
        trouble=st.none() | troubles,
    )
    @step
    def patch_checked(
        self,
        slot: int,
        amount: str,
        who: int,
        chunked: bool,
        agrees: bool,
        end: str,
        trouble: str | None,
    ) -> None:
        """A PATCH with a checksum, of what it brings or of something else, or cut short."""
        subject = self._play.subject(slot)
        self._trouble(trouble)
        size = self._play.amount(subject, amount)
        sent = size if end == "answer" else size * 9 // 10
        how = Sending(None if chunked else size, sent, end=end)
        self._play.patch_checked(subject, how, who, agrees=agrees)

    @rule(
        slot=slots,
        amount=amounts,
        sent=st.sampled_from([0.0, 0.3, 0.9, 1.0]),
        who=servers,
        chunked=st.booleans(),
        end=st.sampled_from(["reset", "fin", "close", "silence"]),
        meanwhile=st.sampled_from(["nothing", "nothing", "head", "delete"]),
        declares=st.booleans(),
    )
    @step
    def patch_cut(
        self,
        slot: int,
        amount: str,
        sent: float,
        who: int,
        chunked: bool,
        end: str,
        meanwhile: str,
        declares: bool,
    ) -> None:
        """A PATCH that is cut, falls silent, or is disturbed before it has ended."""
        play, subject = self._play, self._play.subject(slot)
        size = play.amount(subject, amount)
        how = Sending(None if chunked else size + 1, int(size * sent), end=end)
        acts: dict[str, Callable[[], object]] = {
            "nothing": lambda: None,
            "head": lambda: play.head_once(subject, 1 - who),
            "delete": lambda: play.delete(subject, 1 - who),
        }
        play.patch(subject, how, who, declares=declares, meanwhile=acts[meanwhile])

    @rule(
        slot=slots,
        who=servers,
        amount=amounts,
        attempts=st.integers(1, 3),
        trouble=st.none() | troubles,
        another=st.none() | troubles,
    )
    @step
    def go_on(
        self,
        slot: int,
        who: int,
        amount: str,
        attempts: int,
        trouble: str | None,
        another: str | None,
    ) -> None:
        """What most clients do most of the time: send the rest, and go on when that broke."""
        subject = self._play.subject(slot)
        self._trouble(trouble)
        self._trouble(another)
        size = self._play.amount(subject, amount)
        self._play.patch(subject, Sending(size, size), who, declares=False)
        for _ in range(attempts):
            if subject.is_open:
                rest = self._play.amount(subject, "rest")
                self._play.patch(subject, Sending(rest, rest), 1 - who, declares=True)

    @rule(
        amount=amounts,
        who=servers,
        pause_ms=pauses_ms,
        end=st.sampled_from(["answer", "answer", "answer", "fin", "reset"]),
        trouble=st.none() | troubles,
    )
    @step
    def all_together(
        self, amount: str, who: int, pause_ms: int, end: str, trouble: str | None
    ) -> None:
        """A PATCH of every upload at once."""
        self._play.fill_slots()
        self._trouble(trouble)
        self._play.all_together(amount, who, pause_s=pause_ms / 1000, end=end)

    @rule(slot=slots, who=servers)
    @step
    def head(self, slot: int, who: int) -> None:
        """HEAD."""
        self._play.head(self._play.subject(slot), who)

    @rule(slot=slots, who=servers, beyond=st.booleans(), size=st.sampled_from([0, 1, 5000]))
    @step
    def patch_at_a_wrong_offset(self, slot: int, who: int, beyond: bool, size: int) -> None:
        """Refused, and nothing is changed by it."""
        self._play.patch_wrongly(self._play.subject(slot), who, size, beyond=beyond)

    @rule(slot=slots, who=servers, trouble=st.none() | troubles, pick=st.integers(0, 3))
    @step
    def delete(self, slot: int, who: int, trouble: str | None, pick: int) -> None:
        """DELETE, one time in four: uploads should live for a while."""
        subject = self._play.subject(slot)
        self._trouble(trouble)
        if pick:
            self._play.head(subject, who)
        else:
            self._play.delete(subject, who)

    @rule(
        slot=slots,
        amount=amounts,
        first=servers,
        second=servers,
        variant=st.integers(0, 1),
        lag_ms=st.sampled_from([0, 0, 5, 30, 200]),
        trouble=st.none() | troubles,
    )
    @step
    def race(
        self,
        slot: int,
        amount: str,
        first: int,
        second: int,
        variant: int,
        lag_ms: int,
        trouble: str | None,
    ) -> None:
        """Two writers at one offset, perhaps with different bytes; at most one of them writes."""
        subject = self._play.subject(slot)
        self._trouble(trouble)
        other = variant if self.terms.different_bytes else 0
        self._play.race(subject, amount, (first, second), other, lag_s=lag_ms / 1000)

    # --- what goes wrong ----------------------------------------------------------------------

    @rule(seconds=st.sampled_from([0.1, 0.6, 2.5]))
    @step
    def rest(self, seconds: float) -> None:
        """Nothing happens for a while: leases run out, silent bodies end."""
        time.sleep(seconds)

    @rule(
        slot=slots,
        everything=st.booleans(),
        who=servers,
        asks=st.booleans(),
        trouble=st.none() | troubles,
    )
    @step
    def let_expire(
        self, slot: int, everything: bool, who: int, asks: bool, trouble: str | None
    ) -> None:
        """Nothing is received for a lifetime, of one upload or of all; a HEAD if they have none."""
        subjects = [self._play.subject(slot)]
        if everything:
            self._play.fill_slots()
            subjects = [self._play.subject(number) for number in range(SLOTS)]
        self._trouble(trouble)
        self._play.let_expire(subjects, who, asks=asks)

    @rule(trouble=troubles, another=troubles)
    @step
    def troubles_ahead(self, trouble: str, another: str) -> None:
        """Things that go wrong now, or in the next steps."""
        self._trouble(trouble)
        self._trouble(another)

    @rule(loss=losses)
    @step
    def lose_data(self, loss: str) -> None:
        """Redis loses everything, or falls back to an older copy."""
        self._mischief.plan(loss)

    @rule()
    @step
    def mend(self) -> None:
        """All is well again, for now."""
        self.arena.mend()

    # --- the end ------------------------------------------------------------------------------

    def teardown(self) -> None:
        """Mend everything, judge every upload, and remove what is left."""
        if not self.steps:
            return
        try:
            if not self.failed:
                with self.judged():
                    self._end()
        finally:
            self.report.count("examples")
            self._mischief.disarm()
            with self.judged():
                try:
                    self.arena.mend()
                finally:
                    self.arena.wipe()

    def _end(self) -> None:
        self._mischief.disarm()
        self.arena.mend()
        self.note("the end: all is mended")
        self._play.let_some_expire()
        judge = Judge(
            self.arena,
            self._play.client,
            self.report,
            self.note,
            sweep_within_s=self.terms.sweep_within_s,
            strays_within_s=self.terms.strays_within_s,
            lifetime_s=self.terms.lifetime_s,
        )
        # A creation nobody has the address of may become an object when its example is over.
        self.arena.lost_creations.extend(self._play.lost_creations)
        judge.judge(self._play.subjects, list(self.arena.lost_creations))
        self.look_around()

    def _trouble(self, trouble: str | None) -> None:
        if trouble is not None:
            self._mischief.plan(trouble)
