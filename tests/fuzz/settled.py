"""What every parser owes for whatever it is given: a value or a documented error, soon."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from tusd_s3.errors import RequestError
from tusd_s3.protocol.tus1 import render_error

CPU_MAX_S = 0.25
"""Far more than any parser takes for 64 KiB, and far less than one that backtracks. Measured as
time on the CPU, so that a busy machine fails nothing."""

_SENTENCE_MAX_CHARS = 200
_ERROR_BODY = re.compile(rb"[a-z_]+: [ -~]+\n")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Settled(Generic[T]):
    """What came of a call: exactly one of the two is set, unless the value itself is None."""

    value: T | None = None
    error: RequestError | None = None


def settled(call: Callable[[], T], *kinds: type[RequestError]) -> Settled[T]:
    """The outcome of `call`, which may raise `kinds` and nothing else."""
    start_s = time.thread_time()
    try:
        found = Settled(call())
    except kinds as error:
        found = Settled(error=error)
    assert time.thread_time() - start_s < CPU_MAX_S, "it took too long"
    if found.error is not None:
        check_error(found.error)
    return found


def check_error(error: RequestError) -> None:
    """An error is a 4xx with one short line of printable ASCII, and can be sent."""
    assert 400 <= error.status < 500
    assert len(error.text) <= _SENTENCE_MAX_CHARS, "what was sent seems to be repeated"
    response = render_error(error)
    assert response.status == error.status
    assert _ERROR_BODY.fullmatch(response.body), response.body
