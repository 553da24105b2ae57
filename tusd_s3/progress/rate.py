"""How fast an offset moves."""

from __future__ import annotations

from collections import deque
from typing import Final

WINDOW_S: Final = 5.0
"""Of this time the rate is the mean: parts that S3 takes one after the other do not make it jump,
and an upload that has stopped shows it."""

SPAN_MIN_S: Final = 0.5
"""Less says more about one read of a socket than about the upload."""

SAMPLES_MAX: Final = 64
"""Kept of one upload: more than come in a window."""


class Rate:
    """The mean over the last few seconds. It knows no clock: all times (seconds) are given to it,
    and never go back."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int]] = deque(maxlen=SAMPLES_MAX)

    def note(self, at_s: float, offset: int) -> None:
        """The offset (bytes) at a time. One that went back begins a new count: bytes that are sent
        again are no loss of speed."""
        if self._samples and offset < self._samples[-1][1]:
            self._samples.clear()
        self._samples.append((at_s, offset))
        # One sample that is older than the window stays: the window begins there.
        while len(self._samples) > 1 and self._samples[1][0] <= at_s - WINDOW_S:
            self._samples.popleft()

    @property
    def bytes_per_s(self) -> int:
        """0 before enough was seen."""
        if not self._samples:
            return 0
        (since_s, first), (until_s, last) = self._samples[0], self._samples[-1]
        span_s = until_s - since_s
        return round((last - first) / span_s) if span_s >= SPAN_MIN_S else 0
