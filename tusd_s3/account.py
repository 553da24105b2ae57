"""What one body holds of the memory budget."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from tusd_s3 import limits

if TYPE_CHECKING:
    from tusd_s3.budget import MemoryBudget

READ_MAX_BYTES: Final = 256 * limits.KIB
"""Most that is read of a connection at once: few reads for a fast client, and the grain in which
room is given away. A body of which so much is charged at once comes fast."""


class Account:
    """The bytes that one body holds. Use from the event loop's thread; `close` it.

    claim_bytes: the room that is kept for it.
    on_yield: called when its bytes are needed: make them durable, `release` them and say
        `yielded`. None while nothing can be done about them.
    """

    def __init__(self, budget: MemoryBudget, turn: int, *, is_body: bool) -> None:
        self._budget = budget
        self._is_body = is_body
        self._held = 0
        self._moving = 0
        self._departing = 0
        self.turn = turn
        self._missing = 0
        self._is_fast = False
        self.claim_bytes = 0
        self.fed_at_s = 0.0
        self.waiter: asyncio.Future[None] | None = None
        self.on_yield: Callable[[], None] | None = None
        self.is_asked = False
        self._closed = False

    @property
    def held_bytes(self) -> int:
        """Bytes charged."""
        return self._held

    @property
    def resting_bytes(self) -> int:
        """Bytes charged that are not on their way to S3, and not waiting to be."""
        return self._held - self._moving - self._departing

    @property
    def is_waiting(self) -> bool:
        """Whether it waits for room."""
        return self.waiter is not None

    def charge(self, size: int) -> None:
        """`size` bytes were read. Never waits: they are in memory."""
        if not self._closed:
            self._held += size
            self._missing = max(0, self._missing - size)
            self._is_fast = size >= READ_MAX_BYTES
            self.claim()
            self._budget.take(size, self)
            self.fed_at_s = time.monotonic()

    def release(self, size: int) -> None:
        """`size` bytes are held no longer."""
        size = min(size, self._held)
        self._held -= size
        self._budget.give_back(size, self)

    async def send(self, size: int) -> None:
        """Return when `size` bytes, those of a full part, may be on their way to S3: they are from
        then on, and free themselves. A new part begins."""
        self.expect(0)
        self._departing += size
        try:
            await self._budget.on_its_way.enter(size)
        finally:
            self._departing -= size
        self._moving += size
        self.turn = self._budget.next_turn()

    def sent(self, size: int, *, is_stored: bool) -> None:
        """That is over. Those that were not stored stay charged."""
        size = min(size, self._moving)  # nothing any more once it was cleared
        self._moving -= size
        self._budget.on_its_way.leave(size)
        if is_stored:
            self.release(size)

    def yielded(self) -> None:
        """What `on_yield` asked for is done, as far as it can be."""
        if self.is_asked:
            self.is_asked = False
            self._budget.asked_count -= 1
            self._budget.advance()

    async def room(self) -> None:
        """Return when there is room for one more read."""
        if not self._budget.has_room(self):
            await self._budget.wait_for_room(self)

    def expect(self, missing: int) -> None:
        """So many bytes are to come until the present part, or the body, is whole."""
        self._missing = missing
        self.waive()

    def claim(self) -> None:
        """Have room kept for what is missing, if it comes fast."""
        self._set_claim(self._missing if self._is_fast else 0)

    def waive(self) -> None:
        """Have no room kept."""
        self._set_claim(0)

    def _set_claim(self, size: int) -> None:
        if size != self.claim_bytes:
            self._budget.keep_room(self, size)
            self.claim_bytes = size

    def clear(self) -> None:
        """Nothing is held any more."""
        if not (self._held or self._moving or self.claim_bytes):
            self._missing = 0  # as it is for most: nothing changes for anybody else
            return
        self.expect(0)
        self.sent(self._moving, is_stored=False)
        self.release(self._held)

    def close(self) -> None:
        """`clear`, for good."""
        if self._is_body and not self._closed:
            self._budget.body_count -= 1
        self._closed = True
        self.clear()
        self.yielded()
