"""Waiting for something to become true, with a deadline and never by guessing how long it takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_POLL_S = 0.01

_REST_SHARE = 4
_REST_MAX_S = 0.2
"""After a probe that takes long there is a rest of so many times as long: it asks the stores, and
what is waited for needs them and the processor, too."""


def eventually(
    probe: Callable[[], T | None],
    *,
    within_s: float = 10.0,
    what: str = "",
    every_s: float = _POLL_S,
) -> T:
    """Ask `probe` until its answer is true and return that answer; fail after `within_s`.

    An AssertionError or OSError raised by the probe counts as "not yet".
    """
    deadline = time.monotonic() + within_s
    last: object = None
    while True:
        asked_at = time.monotonic()
        try:
            answer = probe()
        except (AssertionError, OSError) as error:
            last = error
        else:
            if answer:
                return answer
            last = answer
        now = time.monotonic()
        if now >= deadline:
            raise AssertionError(f"not true within {within_s} s: {what or probe} (last: {last!r})")
        time.sleep(max(every_s, min(_REST_SHARE * (now - asked_at), _REST_MAX_S)))


class Stopwatch:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    @property
    def elapsed_s(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._start
