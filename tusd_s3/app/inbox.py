"""A request body on its way from our own HTTP server to the application.

ASGI would have it copied into one buffer and out of it again. Here the pieces go on as they came
off the socket, and the connection is read only while somebody waits for more.

What comes is packed into blocks, one after the other, of a size that fits how much comes at once;
tiny pieces are bytes of their own. A block is charged as a whole when it is begun, and what is left
of it is given back when the body makes a pause or ends. A body that comes faster than it is read is
read straight into its block: nothing is copied then but by the kernel.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from tusd_s3 import limits
from tusd_s3.blocks import SMALL_BLOCK_BYTES, Blocks
from tusd_s3.budget import READ_MAX_BYTES, MemoryBudget
from tusd_s3.model.chunk import Chunk
from tusd_s3.ports import BodyEnd

INBOX_KEY: Final = "tusd_s3.inbox"
"""Scope key under which our own HTTP server leaves the body of a request."""

BUDGET_KEY: Final = "tusd_s3.budget"
"""Key of the lifespan state under which that server finds what bodies are charged to."""

PACE_KEY: Final = "tusd_s3.pace"
"""The same for what says when much may be read."""

TINY_BYTES: Final = 4 * limits.KIB
"""For a piece below this no block is begun, and what is left of one is not worth another read."""

_NO_ROOM: Final = memoryview(b"")


class Inbox:
    """The body of one request.

    budget: what comes in is charged there, and kept in blocks of it.
    resume: called when more is wanted, so that the connection is read.
    """

    def __init__(self, budget: MemoryBudget, resume: Callable[[], None]) -> None:
        self.account = budget.open()
        self._budget = budget
        self._resume = resume
        self._chunks: deque[Chunk] = deque()
        self._room = _NO_ROOM
        self._is_fast = False
        self._end: BodyEnd | None = None
        self._closed = False
        self._waiter: asyncio.Future[None] | None = None

    @property
    def is_wanted(self) -> bool:
        """Whether somebody waits for more."""
        return self._waiter is not None and not self._waiter.done()

    @property
    def is_fast(self) -> bool:
        """Whether more comes at once than is read at once."""
        return self._is_fast

    @property
    def has_some(self) -> bool:
        """Whether `read` would answer at once."""
        return bool(self._chunks) or self._end is not None

    @property
    def room_bytes(self) -> int:
        """How much more is charged already: what is left of the block that was begun."""
        return len(self._room)

    def push(self, data: Chunk) -> None:
        """The next bytes, at most one read of them. They are copied: the caller may use the memory
        again."""
        if self._closed:
            return
        self._is_fast = len(data) >= READ_MAX_BYTES
        self._chunks.append(self._kept(data))
        self._wake()

    def buffer(self, most: int) -> memoryview | None:
        """Where the next bytes may be read to, `most` of them; how many they were, `filled` must
        be told. None where `push` is the better way: nobody waits, little comes, or there is no
        room for a block."""
        if not self._is_fast or not self.is_wanted:
            return None
        if not self._room and not self._begin(self._budget.blocks_for_fast(most)):
            return None
        return self._room[:most]

    def filled(self, size: int) -> None:
        """So many bytes were read into `buffer`, which was not shorter."""
        self._is_fast = size >= min(SMALL_BLOCK_BYTES, len(self._room))
        self._chunks.append(self._taken(size))
        self._wake()

    def end(self, end: BodyEnd) -> None:
        """Nothing more comes. The first end counts."""
        if self._end is None:
            self._end = end
            self.trim()
            self._wake()

    def close(self) -> None:
        """Nobody reads any more: what was not read is dropped."""
        self._closed = True
        self._chunks.clear()
        self._room = _NO_ROOM
        self.account.close()

    def trim(self) -> None:
        """Give back what was charged for bytes that have not come."""
        room, self._room = len(self._room), _NO_ROOM
        if room:
            self.account.release(room)

    async def read(self) -> Chunk | BodyEnd:
        """The next chunk, or how the body ended. Cancelling a call loses no byte."""
        while not self._chunks:
            if self._end is not None:
                return self._end
            self._waiter = asyncio.get_running_loop().create_future()
            self._resume()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return self._chunks.popleft()

    def _kept(self, data: Chunk) -> Chunk:
        size = len(data)
        if size > len(self._room) and not self._begin_block(size):
            self.account.charge(size)
            return bytes(data)
        self._room[:size] = data
        return self._taken(size)

    def _taken(self, size: int) -> memoryview:
        """The first bytes of the room, which hold something now."""
        taken, self._room = self._room[:size], self._room[size:]
        if len(self._room) < TINY_BYTES:
            self.trim()
        return taken.toreadonly()

    def _begin_block(self, size: int) -> bool:
        """One that holds `size` bytes, if that is worth it and there is room."""
        is_small = size <= SMALL_BLOCK_BYTES
        blocks = self._budget.small_blocks if is_small else self._budget.blocks
        return size >= TINY_BYTES and self._begin(blocks)

    def _begin(self, blocks: Blocks) -> bool:
        self.trim()
        if self._budget.free_bytes < blocks.size:
            return False
        self._room = blocks.take()  # a free one, before it would make way for the charge
        self.account.charge(blocks.size)
        return True

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
