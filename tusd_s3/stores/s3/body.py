"""A request body for the SDK that hands out chunks as they came.

The SDK copies `bytes` bodies at least once more and hashes what it can reach. An object with an
async `read` and `__aiter__` passes through botocore and aiohttp untouched: no join, no copy.
A retry of the SDK rewinds through `seek(0)`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence

from tusd_s3 import limits
from tusd_s3.model.chunk import Chunk

_PROGRESS_BYTES = limits.MIB
"""Progress is reported once per so many bytes: often enough for a watchdog, rarely enough to cost
nothing."""


class ChunkedBody:
    """`chunks` as a body; `on_progress` is called now and then while they are being taken."""

    def __init__(self, chunks: Sequence[Chunk], on_progress: Callable[[], None]) -> None:
        self._chunks = chunks
        self._on_progress = on_progress

    async def __aiter__(self) -> AsyncIterator[Chunk]:
        pending = 0
        for chunk in self._chunks:
            yield chunk
            pending += len(chunk)
            if pending >= _PROGRESS_BYTES:
                pending = 0
                self._on_progress()
        self._on_progress()

    async def read(self, size: int = -1) -> bytes:
        """Exists because botocore accepts as a body only what has it; nobody calls it."""
        raise NotImplementedError(f"iterate instead of read({size})")

    def seek(self, position: int) -> None:
        """Rewind for a retry."""
        if position != 0:
            raise ValueError("a body rewinds to its start only")
        self._on_progress()
