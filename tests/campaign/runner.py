"""Runs examples until the time is over."""

from __future__ import annotations

import itertools
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import hypothesis
from hypothesis.stateful import run_state_machine_as_test

from tests.campaign.arena import Arena
from tests.campaign.machine import Machine, Terms
from tests.campaign.report import Report, Step, say

_EXAMPLES_PER_SEED = 10
"""Few, so that a failure is near its seed; more than one, because hypothesis begins with the
dullest example there is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A campaign. options: of the servers. report_folder: where failures are written to."""

    minutes: float
    seed: int
    faults: frozenset[str]
    report_folder: Path
    keep_going: bool = False
    steps: int = 25
    sweep_within_s: float | None = None
    strays_within_s: float | None = None
    different_bytes: bool = True
    options: Mapping[str, str] = field(default_factory=dict)


def run(plan: Plan) -> Report:
    """The campaign; its report. A failure ends it unless it is to keep going."""
    report = Report(plan.report_folder)
    terms = _terms(plan)
    say(f"seed {plan.seed}, faults: {', '.join(sorted(plan.faults)) or 'none'}")
    with _arena(plan) as arena:
        machine = _machine(arena, report, terms)
        try:
            for seed in itertools.count(plan.seed):
                if time.monotonic() > terms.ends_at or (report.failures and not plan.keep_going):
                    break
                report.seed = seed
                _run_seed(machine, seed, plan.steps)
        except KeyboardInterrupt:
            say("interrupted")
    return report


def replay(plan: Plan, steps: list[Step], times: int) -> Report:
    """Take the steps of one example again, several times: what processes do varies."""
    report = Report(plan.report_folder)
    with _arena(plan) as arena:
        machine = _machine(arena, report, _terms(plan))
        for _ in range(times):
            example = machine()
            try:
                for name, arguments in steps:
                    getattr(example, name)(**arguments)
            except AssertionError:
                pass  # it is in the report
            with suppress(AssertionError):
                example.teardown()
            say(f"{report.counted('examples')} of {times}: {len(report.failures)} failed")
    return report


def _terms(plan: Plan) -> Terms:
    return Terms(
        faults=plan.faults,
        ends_at=time.monotonic() + plan.minutes * 60,
        sweep_within_s=plan.sweep_within_s,
        strays_within_s=plan.strays_within_s,
        different_bytes=plan.different_bytes,
    )


@contextmanager
def _arena(plan: Plan) -> Iterator[Arena]:
    """An arena in a directory that is gone afterwards."""
    with (
        tempfile.TemporaryDirectory(prefix="tusd-s3-campaign-") as folder,
        Arena.opened(Path(folder), plan.options) as arena,
    ):
        yield arena


def _machine(arena: Arena, report: Report, terms: Terms) -> type[Machine]:
    return type("Campaign", (Machine,), {"arena": arena, "report": report, "terms": terms})


def _run_seed(machine: type[Machine], seed: int, steps: int) -> None:
    seeded = type("Seeded", (machine,), {})  # the seed is kept on the class
    settings = hypothesis.settings(
        max_examples=_EXAMPLES_PER_SEED,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
        verbosity=hypothesis.Verbosity.quiet,
        report_multiple_bugs=False,
    )
    with suppress(AssertionError, hypothesis.errors.Flaky, RuntimeError):
        run_state_machine_as_test(hypothesis.seed(seed)(seeded), settings=settings)
