"""Bytes to upload: any two ranges differ, so that a hole, a repeat or a mix cannot go unseen."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from functools import lru_cache

KIB = 1024
MIB = 1024 * KIB
PART_BYTES = 5 * MIB
"""The part size the test servers run with: the smallest S3 allows."""


@lru_cache(maxsize=32)
def body_of(size_bytes: int, seed: int = 0) -> bytes:
    """`size_bytes` pseudo-random bytes; of one seed, every shorter body begins every longer one."""
    # The generator makes words of four bytes; a share of a word would be other bytes.
    whole_words = size_bytes + -size_bytes % 4
    return random.Random(seed).randbytes(whole_words)[:size_bytes]


def pieces(body: bytes, sizes: Sequence[int]) -> Iterator[tuple[int, bytes]]:
    """`body` cut into pieces of `sizes`, over and over, each with its offset."""
    offset, turn = 0, 0
    while offset < len(body):
        piece = body[offset : offset + sizes[turn % len(sizes)]]
        yield offset, piece
        offset += len(piece)
        turn += 1
