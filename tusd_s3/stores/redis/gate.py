"""A bound on the bytes of tails that are on their way to Redis at once.

Hundreds of uploads may have to give up their memory in the same moment, each over a connection
that holds what the network does not take at once; in a cluster, a tail is joined and packed on its
way and so in memory three times. The way out of a shortage must not be paved with memory.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class ByteGate:
    """Lets `limit` bytes through at once, or a single tail that is longer; first come, first
    served."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._inside = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def passing(self, size: int) -> AsyncIterator[None]:
        """`size` bytes pass for the time of the block; none at all wait for nobody."""
        if size == 0:
            yield
            return
        await self._enter(size)
        try:
            yield
        finally:
            self._leave(size)

    async def _enter(self, size: int) -> None:
        if not self._waiting and self._fits(size):
            self._inside += size
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append((size, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._admit()  # a shorter one may have waited behind it
            else:
                self._leave(size)
            raise

    def _leave(self, size: int) -> None:
        self._inside -= size
        self._admit()

    def _admit(self) -> None:
        while self._waiting and (self._waiting[0][1].done() or self._fits(self._waiting[0][0])):
            size, turn = self._waiting.popleft()
            if not turn.done():
                self._inside += size
                turn.set_result(None)

    def _fits(self, size: int) -> bool:
        return self._inside == 0 or self._inside + size <= self._limit
