"""No request costs more than it did: calls to S3 and Redis, and functions called, are counted.

What may be different, and by how much, is in `baselines.py`. Where a change is meant,
`python -m tests.costs --record` takes what is found now for the new baseline.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from tests.costs.baselines import (
    RECORD,
    Baseline,
    load,
    most_called,
    why_functions_cannot_be_compared,
)
from tests.costs.meter import Cost, Meter
from tests.costs.workloads import WORKLOADS
from tests.support.server import StoreSettings

KNOWN = load()
SHOWN_FUNCTIONS = 25
MEANT = f"If that is meant: {RECORD}"

CostOf = Callable[[str], Cost]


@pytest.fixture(scope="module")
def cost_of(stores: StoreSettings, module_path: Path) -> Iterator[CostOf]:
    """What a workload costs; measured once."""
    with Meter.over(stores, module_path) as meter:
        yield cache(lambda name: Cost.least(meter.rounds_of(WORKLOADS[name])))


@pytest.mark.parametrize("name", WORKLOADS)
def test_the_stores_are_called_as_often_as_before(cost_of: CostOf, name: str) -> None:
    found = Baseline.of(cost_of(name), WORKLOADS[name].operations)
    complaints = list(KNOWN[name].complaints_of_stores(found))
    assert not complaints, "\n".join([*complaints, MEANT])


@pytest.mark.parametrize("name", WORKLOADS)
def test_functions_are_called_about_as_often_as_before(cost_of: CostOf, name: str) -> None:
    if reason := why_functions_cannot_be_compared(KNOWN[name]):
        pytest.skip(reason)
    cost, operations = cost_of(name), WORKLOADS[name].operations
    complaints = list(KNOWN[name].complaints_of_calls(Baseline.of(cost, operations)))
    functions = most_called(cost.calls, operations, SHOWN_FUNCTIONS)
    assert not complaints, "\n".join([*complaints, MEANT, "Called most:", *functions])


# --- the rules, without a server ------------------------------------------------------------------

BASELINE = Baseline({"PutObject": 2}, {"EVALSHA": 6}, 6, {"3.11": 1000})


@pytest.mark.parametrize(
    ("calls", "fine"), [(799, False), (800, True), (1000, True), (1200, True), (1201, False)]
)
def test_a_fifth_more_or_less_is_fine_and_no_call_beyond(calls: int, fine: bool) -> None:
    found = replace(BASELINE, calls={"3.11": calls})
    assert (not list(BASELINE.complaints_of_calls(found, "3.11"))) is fine


@pytest.mark.parametrize(
    ("found", "complaint"),
    [
        (BASELINE, ""),
        (replace(BASELINE, s3={"PutObject": 3}), "PutObject to S3: 3; the baseline has 2."),
        (replace(BASELINE, s3={}), "PutObject to S3: 0; the baseline has 2."),
        (replace(BASELINE, redis={"EVALSHA": 6, "GET": 1}), "GET to Redis: 1; the baseline has 0."),
        (replace(BASELINE, round_trips=7), "Round trips to Redis: 7; the baseline has 6."),
    ],
)
def test_any_other_number_of_calls_to_the_stores_is_told(found: Baseline, complaint: str) -> None:
    assert "".join(BASELINE.complaints_of_stores(found)) == complaint


def test_of_several_rounds_the_least_of_each_figure_counts() -> None:
    """What a clock begins comes in one of them."""
    quiet = Cost(
        s3=Counter({"PutObject": 1}),
        redis=Counter({"EVALSHA": 2}),
        round_trips=2,
        calls=Counter({"f": 9}),
    )
    disturbed = Cost(
        s3=Counter({"PutObject": 1, "GetObject": 1}),
        redis=Counter({"EVALSHA": 3}),
        round_trips=3,
        calls=Counter({"f": 9, "g": 1}),
    )
    assert Cost.least([disturbed, quiet]) == quiet
