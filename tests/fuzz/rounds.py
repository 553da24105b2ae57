"""Hypothesis as a source of a counted number of inputs from a seed."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TypeVar

import hypothesis
from hypothesis import strategies as st

T = TypeVar("T")

ROUND = 500
"""Examples of one seed. Hypothesis remembers what it made within a run, which costs more and more;
and a failure is near its seed."""


def fuzz(
    inputs: st.SearchStrategy[T], check: Callable[[T], None], *, seed: int, examples: int
) -> int:
    """Check at least `examples` inputs, of `seed` and those after it; how many it were.

    The first that fails is made as small as it gets and raised with a note that shows it.
    """
    done = 0

    def counted(given: T) -> None:
        nonlocal done
        done += 1
        check(given)

    step = 0
    while done < examples:
        before = done
        _run(inputs, counted, seed=seed + step, examples=min(ROUND, examples - done))
        step += 1
        if done == before:
            raise RuntimeError("hypothesis makes no inputs any more")
    return done


def _run(
    inputs: st.SearchStrategy[T], check: Callable[[T], None], *, seed: int, examples: int
) -> None:
    settings = hypothesis.settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[hypothesis.Phase.generate, hypothesis.Phase.shrink],
        suppress_health_check=list(hypothesis.HealthCheck),
        report_multiple_bugs=False,
        print_blob=False,
    )
    with warnings.catch_warnings():
        # Hypothesis tells of a derived choice that is slow on a busy machine; no matter here.
        warnings.simplefilter("ignore", hypothesis.errors.HypothesisWarning)
        hypothesis.seed(seed)(settings(hypothesis.given(inputs)(check)))()
