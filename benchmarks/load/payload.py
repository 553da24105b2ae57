"""Bodies that cost nothing to send, and whose every byte has its place.

The content of an upload is one random block repeated without end, begun at a *phase* of the
upload's own. The block's length is a prime, so a part that is stored at another place, or in
another upload, changes the digest of the whole.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from functools import cache
from typing import Final

PERIOD_BYTES: Final = 4_194_319
"""The first prime above 4 MiB: no size of parts or requests is a multiple of it."""

_PHASE_STEP: Final = 65_537
_SEED: Final = 20_130_517


@cache
def _twice() -> memoryview:
    """The block two times in a row, so that a period from any phase is one piece of memory."""
    block = random.Random(_SEED).randbytes(PERIOD_BYTES)
    return memoryview(block + block)


def phase_of(index: int) -> int:
    """The phase of the upload with this number in its workload."""
    return index * _PHASE_STEP % PERIOD_BYTES


def piece(phase: int, start: int, size: int) -> memoryview:
    """Up to one period of the content, from byte `start` on."""
    begin = (phase + start) % PERIOD_BYTES
    return _twice()[begin : begin + min(size, PERIOD_BYTES)]


def pieces(phase: int, start: int, end: int) -> Iterator[memoryview]:
    """Bytes [start, end) of the content, without copying any."""
    while start < end:
        found = piece(phase, start, end - start)
        yield found
        start += len(found)


@cache
def sha256_of(phase: int, size: int) -> str:
    """The digest of the first `size` bytes, in hexadecimal."""
    digest = hashlib.sha256()
    for found in pieces(phase, 0, size):
        digest.update(found)
    return digest.hexdigest()
