"""A bound on what goes somewhere at once: bytes, or calls."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Gate:
    """Has at most `limit` inside, or a single one who has more; first come, first served.

    limit, and the size of those who come: in bytes; or in calls, of which each has the size 1.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._inside = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def inside(self) -> int:
        """What has entered and not left."""
        return self._inside

    @asynccontextmanager
    async def passing(self, size: int) -> AsyncIterator[None]:
        """`size` is inside for the time of the block."""
        await self.enter(size)
        try:
            yield
        finally:
            self.leave(size)

    def enter_now(self, size: int) -> bool:
        """Have `size` inside, if nobody need be waited for; nothing at all waits for nobody."""
        is_open = size == 0 or (not self._waiting and self._fits(size))
        if is_open:
            self._inside += size
        return is_open

    async def enter(self, size: int) -> None:
        """Return when `size` is inside."""
        if self.enter_now(size):
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append((size, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._admit()  # a shorter one may have waited behind it
            else:
                self.leave(size)
            raise

    def leave(self, size: int) -> None:
        """`size` is inside no longer."""
        self._inside -= size
        if self._waiting:
            self._admit()

    def _admit(self) -> None:
        while self._waiting and (self._waiting[0][1].done() or self._fits(self._waiting[0][0])):
            size, turn = self._waiting.popleft()
            if not turn.done():
                self._inside += size
                turn.set_result(None)

    def _fits(self, size: int) -> bool:
        return self._inside == 0 or self._inside + size <= self._limit
