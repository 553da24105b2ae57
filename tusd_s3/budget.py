"""The memory that request bodies may take, shared by everything in the process.

Every byte of a body is charged from the moment it was read until S3 or Redis has it. When the
budget is spent, bodies are no longer read; their clients notice through TCP.

Who waits is served in the order in which their present parts were begun. An upload that could go
on a little with each read would stop half-way through a part like all the others, and half a part
can only go to Redis; the oldest part, once full, goes to S3 and makes room.

For the same reason a part that comes fast has a *claim* on the room for the rest of it: it goes on
unasked, and others get what is left beside all claims. A claim ends with the part, when its body
becomes slow or idle, and when it has to wait after all.

Bytes that are neither on their way nor about to be must not keep room from others: the longest idle
accounts are asked to yield, which moves their bytes to Redis. If nobody is idle and nothing moves,
because all hold half a part and wait, the youngest yields. So there is always somebody who goes on.

Of what bodies may hold, *half may be on its way* to S3, in the order in which parts became full:
more would not get there sooner, and reading would have to wait for each part that lands.

A *loan* is memory for bytes that come from the stores, such as the tail a part begins with. What
holds a loan always finishes within the timeouts of the stores, and one loan is granted even when
nothing is left: nobody waits for ever for somebody who waits.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import Final

from tusd_s3 import limits
from tusd_s3.account import READ_MAX_BYTES, Account
from tusd_s3.blocks import LARGE_BLOCK_BYTES, SMALL_BLOCK_BYTES, Blocks, Stock
from tusd_s3.gate import Gate

__all__ = ["BODY_BYTES", "READ_MAX_BYTES", "READ_MIN_BYTES", "Account", "MemoryBudget"]

READ_MIN_BYTES: Final = 512
"""What is read where there is no room: several may have been told of the same room. Before it is
read again, a body waits for its turn; so a little is enough, and a thousand of them are nothing."""

BODY_BYTES: Final = 48 * limits.KIB
"""What a request with a body takes beside its bytes, roughly: its connection, its head, its tasks,
and what is left between small pieces. A thousand are 47 MiB, which the bodies then have less."""

IDLE_S: Final = 0.25
"""An account that was not fed for so long is idle. A mobile network makes longer pauses, but what
an idle account loses is only that its bytes take the way through Redis."""

TICK_S: Final = 0.1
"""How often the needs are looked at while somebody waits."""

KEPT_S: Final = 30.0
"""For so long free blocks wait for the next burst of bodies."""

TIDY_S: Final = 0.5
"""Between looks at blocks that are free for longer."""

_STALLED_TICKS: Final = 4
"""So many in which no body is fed mean that nothing moves; longer than it takes to be idle."""


class MemoryBudget:
    """Of one process.

    total_bytes: bytes of bodies and loans together. reserve_bytes: what bodies leave for loans.
    small_blocks, blocks, large_blocks: memory for bodies; free ones are kept for later, as long as
    there is room, and for a while.
    """

    def __init__(self, total_bytes: int, reserve_bytes: int) -> None:
        if not 0 <= reserve_bytes <= total_bytes // 2:
            raise ValueError("bodies need at least half of the budget")
        self._total = total_bytes
        self._reserve = reserve_bytes
        self._beside_max = (total_bytes - 2 * reserve_bytes) // 4
        self._large_max = total_bytes // 16 // LARGE_BLOCK_BYTES
        self._used = 0
        self._lent = 0
        self._turns = itertools.count()
        self._accounts: set[Account] = set()
        self._readers: list[tuple[int, int, Account]] = []
        self._loans: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._idle_ticks = 0
        self._ready = 0
        self._granted = 0  # those of the readers that have not gone on yet
        self.body_count = 0
        self.on_its_way = Gate((total_bytes - reserve_bytes) // 2)
        self.asked_count = 0
        self.claimed_bytes = 0
        self._claimants: set[Account] = set()
        self._windows_bytes = 0
        sizes = (SMALL_BLOCK_BYTES, READ_MAX_BYTES, LARGE_BLOCK_BYTES)
        self._stock = Stock(self._room_for_free_blocks, sizes)
        self.small_blocks, self.blocks, self.large_blocks = self._stock.kinds
        self._tidying: asyncio.TimerHandle | None = None

    @property
    def used_bytes(self) -> int:
        """Bytes charged and lent."""
        return self._used

    @property
    def free_bytes(self) -> int:
        """What bodies may still take; negative when several were told of the same room."""
        # However many there are, they leave room for one part, and most of what is beyond it.
        beside = min(BODY_BYTES * self.body_count + self._windows_bytes, self._beside_max)
        return self._total - self._reserve - beside - self._used

    def has_room(self, account: Account) -> bool:
        """Whether a body may be read now: ahead of nobody, or by its claim."""
        if self._loans or (self._readers and not account.claim_bytes):
            return False
        claimed_by_others = self.claimed_bytes - account.claim_bytes
        return self.free_bytes - claimed_by_others >= READ_MAX_BYTES

    @property
    def read_bytes(self) -> int:
        """How much of a connection may be read at once."""
        return min(READ_MAX_BYTES, max(READ_MIN_BYTES, self.free_bytes))

    def blocks_for_fast(self, size: int) -> Blocks:
        """What a body that comes fast and has `size` bytes left is read into."""
        is_large = size > READ_MAX_BYTES and len(self._accounts) <= self._large_max
        is_large = is_large and self.free_bytes >= LARGE_BLOCK_BYTES
        return self.large_blocks if is_large else self.blocks

    def open(self) -> Account:
        """An account for a request's body, to be closed."""
        self.body_count += 1
        return Account(self, self.next_turn(), is_body=True)

    def book(self) -> Account:
        """An account for what no request brought."""
        return Account(self, self.next_turn(), is_body=False)

    def loan(self, size: int) -> AbstractAsyncContextManager[object]:
        """`size` bytes for the time of the block, which must end without waiting for room or for
        another loan. None at all are there at once: who needs none may be about to make room."""
        return self._loan(size) if size else nullcontext()

    @asynccontextmanager
    async def _loan(self, size: int) -> AsyncIterator[None]:
        await self._borrow(size)
        try:
            yield
        finally:
            self._lent -= size
            self.give_back(size)

    async def _borrow(self, size: int) -> None:
        if self._loans or not self._may_lend(size):
            waiter = asyncio.get_running_loop().create_future()
            self._loans.append((size, waiter))
            self._arm()
            try:
                await waiter
            except asyncio.CancelledError:
                if waiter.done() and not waiter.cancelled():  # granted in the same moment
                    self._lent -= size
                    self.give_back(size)
                raise
            finally:
                self.advance()
        else:
            self._lend(size)

    # --- for what goes out --------------------------------------------------------------------

    def widen(self, size: int) -> bool:
        """Let what goes out to clients hold `size` bytes more, if there is room for them; whether
        there was. It is never waited for: bytes that go out make do with less."""
        if self._windows_bytes + size > self._beside_max or self.free_bytes < size:
            return False
        self.hold(size)
        return True

    def hold(self, size: int) -> None:
        """What goes out holds `size` bytes more, in any case."""
        self._windows_bytes += size
        self._fit()

    def narrow(self, size: int) -> None:
        """What goes out holds `size` bytes less."""
        self._windows_bytes -= size
        self.advance()

    # --- for accounts -------------------------------------------------------------------------

    def next_turn(self) -> int:
        """Behind all others."""
        return next(self._turns)

    def take(self, size: int, account: Account | None = None) -> None:
        """See `Account.charge`."""
        self._used += size
        self._fit()
        if account is None:
            return
        self._idle_ticks = 0
        if account not in self._accounts:
            self._accounts.add(account)
            self._ready += not account.is_waiting

    def give_back(self, size: int, account: Account | None = None) -> None:
        """See `Account.release`."""
        self._used -= size
        if account is not None and account.held_bytes == 0 and account in self._accounts:
            self._accounts.discard(account)
            self._ready -= not account.is_waiting
        self.advance()

    def keep_room(self, account: Account, size: int) -> None:
        """Its claim is `size` bytes from now on. It may hold nothing yet, or nothing any more."""
        self.claimed_bytes += size - account.claim_bytes
        (self._claimants.add if size else self._claimants.discard)(account)

    async def wait_for_room(self, account: Account) -> None:
        """See `Account.room`."""
        waiter = account.waiter = asyncio.get_running_loop().create_future()
        account.waive()
        self._ready -= account in self._accounts
        heapq.heappush(self._readers, (account.turn, id(account), account))
        self._arm()
        self.advance()
        try:
            await waiter
        finally:
            account.waiter = None
            self._granted -= waiter.done() and not waiter.cancelled()
            self._ready += account in self._accounts
            self._drop_the_gone()
            if waiter.cancelled():
                self.advance()  # somebody else may have waited behind it

    # --- who gets what ------------------------------------------------------------------------

    def _room_for_free_blocks(self) -> int:
        return self.free_bytes + self._reserve

    def _fit(self) -> None:
        """Free blocks make way for what was just taken."""
        if self._tidying is None:
            self._tidying = asyncio.get_running_loop().call_later(TIDY_S, self._tidy)
        if self._stock.free_bytes > self._room_for_free_blocks():
            self._stock.fit()

    def _tidy(self) -> None:
        self._tidying = None
        if self._stock.tidy(time.monotonic() - KEPT_S):
            self._tidying = asyncio.get_running_loop().call_later(TIDY_S, self._tidy)

    def _may_lend(self, size: int) -> bool:
        if self._used + size <= self._total:
            return True
        is_due = size <= self._reserve or self._idle_ticks >= _STALLED_TICKS
        return self._lent == 0 and is_due

    def _lend(self, size: int) -> None:
        self._lent += size
        self.take(size)

    def advance(self) -> None:
        """Grant what can be granted: loans first, which free what waits for them."""
        if not self._readers and not self._loans:
            return
        self._lend_what_can_be()
        if not self._loans:
            self._let_read()
        self._break_tie()

    def _lend_what_can_be(self) -> None:
        while self._loans and (self._loans[0][1].done() or self._may_lend(self._loans[0][0])):
            size, waiter = self._loans.popleft()
            if not waiter.done():
                self._lend(size)
                waiter.set_result(None)
                self._idle_ticks = 0

    def _let_read(self) -> None:
        room = self.free_bytes - self.claimed_bytes
        while self._readers and room >= READ_MAX_BYTES:
            account = heapq.heappop(self._readers)[2]
            if account.waiter is not None and not account.waiter.done():
                account.waiter.set_result(None)
                self._granted += 1
                account.claim()
                self._idle_ticks = 0
                room -= max(READ_MAX_BYTES, account.claim_bytes)

    def _break_tie(self) -> None:
        """If all who hold bytes wait, and nothing is under way that would free some, the youngest
        yields at once."""
        fed = self._ready or self._granted
        under_way = self.on_its_way.inside or self._lent or self.asked_count or fed
        self._drop_the_gone()
        if self._readers and not under_way:
            able = [one for one in self._accounts if one.on_yield is not None]
            if able:
                self._ask(max(able, key=lambda one: one.turn))

    def _ask(self, account: Account) -> None:
        account.is_asked = True
        self.asked_count += 1
        if account.on_yield is not None:
            account.on_yield()

    def _drop_the_gone(self) -> None:
        while self._readers and self._readers[0][2].waiter is None:
            heapq.heappop(self._readers)

    def _arm(self) -> None:
        if self._timer is None:
            self._ask_to_yield()
            self._timer = asyncio.get_running_loop().call_later(TICK_S, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self._drop_the_gone()
        if not self._readers and not self._loans:
            self._idle_ticks = 0
            return
        self._idle_ticks += 1
        idle_since_s = time.monotonic() - IDLE_S
        for account in [one for one in self._claimants if one.fed_at_s < idle_since_s]:
            account.waive()
        self.advance()
        self._arm()

    def _ask_to_yield(self) -> None:
        """Ask as many as it takes, the longest idle first; the youngest if nothing moves."""
        needed = sum(size for size, _ in self._loans) + READ_MAX_BYTES * len(self._readers)
        needed -= max(0, self.free_bytes)
        able = [one for one in self._accounts if one.on_yield is not None and one.resting_bytes > 0]
        needed -= sum(one.resting_bytes for one in able if one.is_asked)
        able = [one for one in able if not one.is_asked]
        idle_since_s = time.monotonic() - IDLE_S
        idle = [one for one in able if not one.is_waiting and one.fed_at_s < idle_since_s]
        idle.sort(key=lambda one: one.fed_at_s)
        if not idle and self._idle_ticks >= _STALLED_TICKS and needed > 0:
            idle = [max(able, key=lambda one: one.turn)] if able else []
        for one in idle:
            if needed <= 0:
                break
            needed -= one.resting_bytes
            self._ask(one)
