"""Runs examples until the time is over."""

from __future__ import annotations

import itertools
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import hypothesis
from hypothesis.stateful import run_state_machine_as_test

from tests.campaign.arena import Arena
from tests.campaign.lifetime import seconds_of
from tests.campaign.machine import Machine
from tests.campaign.report import Report, Step, say
from tests.campaign.terms import Terms

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
    """The campaign; its report. A failure ends it unless it is to keep going; that the campaign
    cannot do its own work ends it always."""
    report = Report(plan.report_folder)
    terms = _terms(plan)
    say(f"seed {plan.seed}, faults: {', '.join(sorted(plan.faults)) or 'none'}")
    try:
        with _arena(plan) as arena:
            machine = _machine(arena, report, terms)
            for seed in itertools.count(plan.seed):
                if time.monotonic() > terms.ends_at or (report.failures and not plan.keep_going):
                    break
                report.seed = seed
                if not _run_seed(machine, report, plan.steps):
                    break
    except KeyboardInterrupt:
        say("interrupted")
    except Exception as error:  # whatever it is, what was done until then is told
        report.broke(error)
    return report


def replay(plan: Plan, steps: list[Step], times: int) -> Report:
    """Take the steps of one example again, several times: what processes do varies."""
    report = Report(plan.report_folder)
    try:
        with _arena(plan) as arena:
            machine = _machine(arena, report, _terms(plan))
            for _ in range(times):
                _replay_once(machine, report, steps)
                say(f"{report.counted('examples')} of {times}: {len(report.failures)} failed")
                if report.breakdowns:
                    break
    except KeyboardInterrupt:
        say("interrupted")
    except Exception as error:  # as above
        report.broke(error)
    return report


def _replay_once(machine: type[Machine], report: Report, steps: list[Step]) -> None:
    example = machine()
    with _recorded(report):
        for name, arguments in steps:
            getattr(example, name)(**arguments)
    with _recorded(report):
        example.teardown()


@contextmanager
def _recorded(report: Report) -> Iterator[None]:
    """What is raised within must have found its way into the report where it happened; if not, it
    is the campaign's own."""
    before = report.incidents
    try:
        yield
    except Exception as error:  # of whatever kind: unrecorded, it would end the run without a word
        if report.incidents == before:
            report.broke(error)


def _terms(plan: Plan) -> Terms:
    return Terms(
        faults=plan.faults,
        ends_at=time.monotonic() + plan.minutes * 60,
        sweep_within_s=plan.sweep_within_s,
        strays_within_s=plan.strays_within_s,
        lifetime_s=seconds_of(plan.options.get("upload-lifetime")),
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


def _run_seed(machine: type[Machine], report: Report, steps: int) -> bool:
    """One batch; whether another makes sense."""
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
    with _recorded(report):
        run_state_machine_as_test(hypothesis.seed(report.seed)(seeded), settings=settings)
    return not report.breakdowns
