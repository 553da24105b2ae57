"""The memory budget: who gets room, who has to give some, and that somebody always goes on."""

from __future__ import annotations

import asyncio
import functools
import random
from collections.abc import Awaitable, Callable, Sequence

import pytest

from tests.support.bodies import KIB, MIB
from tusd_s3 import budget as module
from tusd_s3.blocks import SPARE_BYTES, Stock
from tusd_s3.budget import BODY_BYTES, READ_MAX_BYTES, READ_MIN_BYTES, Account, MemoryBudget

PART = 5 * MIB
BUDGET = 4 * PART


def budget_of(total: int = BUDGET, reserve: int = PART) -> MemoryBudget:
    return MemoryBudget(total, reserve)


async def turns(count: int = 3) -> None:
    """Let whatever can run, run."""
    for _ in range(count):
        await asyncio.sleep(0)


async def has_room(account: Account) -> bool:
    waiting = asyncio.create_task(account.room())
    await turns()
    if waiting.done():
        return True
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    return False


async def within(seconds: float, awaitable: Awaitable[object]) -> None:
    async with asyncio.timeout(seconds):
        await awaitable


def test_bodies_get_at_least_half() -> None:
    with pytest.raises(ValueError, match="half"):
        MemoryBudget(2 * PART - 1, PART)


async def test_there_is_room_until_the_budget_is_spent_and_again_when_bytes_are_stored() -> None:
    budget = budget_of()
    account = budget.open()
    assert await has_room(account)
    account.charge(BUDGET - PART - READ_MAX_BYTES - BODY_BYTES + 1)
    assert not await has_room(account)
    account.release(1)
    assert await has_room(account)


async def test_what_is_read_at_once_shrinks_with_the_room() -> None:
    budget = budget_of()
    account = budget.open()
    assert budget.read_bytes == READ_MAX_BYTES
    account.charge(BUDGET - PART - BODY_BYTES - 10 * KIB)
    assert budget.read_bytes == 10 * KIB
    account.charge(10 * MIB)
    assert budget.read_bytes == READ_MIN_BYTES


async def test_bodies_that_are_open_leave_room_for_what_they_take_beside_their_bytes() -> None:
    budget = budget_of()
    free = budget.free_bytes
    accounts = [budget.open(), budget.open()]
    assert budget.free_bytes == free - 2 * BODY_BYTES
    for account in (*accounts, *accounts):
        account.close()
    assert budget.free_bytes == free
    assert [budget.book() for _ in range(2)]
    assert budget.free_bytes == free


async def test_free_blocks_are_kept_only_in_what_nobody_has() -> None:
    budget = budget_of(64 * MIB)

    def free_bytes() -> int:
        return budget.blocks.free_bytes + budget.small_blocks.free_bytes

    taken = [budget.blocks.take() for _ in range(32)]
    taken += [budget.small_blocks.take() for _ in range(64)]
    taken.clear()
    assert free_bytes() == 12 * MIB
    bodies = [budget.open() for _ in range(2 * MIB // BODY_BYTES)]
    other = budget.book()
    other.charge(64 * MIB - 6 * MIB)  # of the 6 MiB, 2 are the bodies'
    assert 3.9 * MIB < free_bytes() <= 4 * MIB
    budget.hold(2 * MIB)
    assert 1.9 * MIB < free_bytes() <= 2 * MIB
    async with budget.loan(MIB):
        assert free_bytes() <= MIB
    other.charge(2 * MIB)
    assert free_bytes() == 0
    assert bodies


async def test_free_blocks_go_back_when_nobody_has_needed_them_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "KEPT_S", 0.05)
    monkeypatch.setattr(module, "TIDY_S", 0.01)
    done, tidy = asyncio.Event(), Stock.tidy

    def tidied(stock: Stock, unused_since_s: float) -> bool:
        more = tidy(stock, unused_since_s)
        if not more:
            done.set()
        return more

    monkeypatch.setattr(Stock, "tidy", tidied)
    budget = budget_of(64 * MIB)
    account = budget.book()
    taken = [budget.large_blocks.take() for _ in range(32)]
    account.charge(32 * MIB)
    taken.clear()
    account.close()
    assert budget.large_blocks.free_bytes == 32 * MIB
    await within(10.0, done.wait())
    assert budget.large_blocks.free_bytes == SPARE_BYTES


async def test_however_many_bodies_there_are_they_leave_room_for_a_part() -> None:
    smallest, larger = budget_of(2 * PART), budget_of(4 * PART)
    for budget in (smallest, larger):
        for _ in range(10_000):
            budget.open()
    assert smallest.free_bytes == PART
    assert larger.free_bytes == 2 * PART + PART // 2


async def test_a_closed_account_holds_nothing_and_takes_nothing() -> None:
    budget = budget_of()
    account = budget.open()
    account.charge(MIB)
    account.close()
    account.charge(MIB)
    account.release(MIB)
    assert budget.used_bytes == 0


async def test_no_more_is_released_than_was_charged() -> None:
    budget = budget_of()
    account = budget.open()
    account.charge(10)
    account.release(11)
    assert (account.held_bytes, budget.used_bytes) == (0, 0)


async def test_the_oldest_part_goes_first() -> None:
    budget = budget_of()
    full, first, second = budget.open(), budget.open(), budget.open()
    full.charge(BUDGET)
    order: list[str] = []

    async def wait(account: Account, name: str) -> None:
        await account.room()
        order.append(name)
        account.charge(READ_MAX_BYTES)

    late = asyncio.create_task(wait(second, "second"))
    await turns()
    early = asyncio.create_task(wait(first, "first"))
    await turns()
    full.release(PART + READ_MAX_BYTES + 3 * BODY_BYTES)
    await turns()
    assert order == ["first"]
    full.release(READ_MAX_BYTES)
    await asyncio.gather(early, late)
    assert order == ["first", "second"]


async def test_a_new_part_means_the_end_of_the_line() -> None:
    budget = budget_of()
    first, second = budget.open(), budget.open()
    await first.send(0)
    assert first.turn > second.turn


async def test_who_gave_up_waiting_keeps_nobody_from_going_on() -> None:
    budget = budget_of()
    full, first, second = budget.open(), budget.open(), budget.open()
    full.charge(BUDGET)
    gone = asyncio.create_task(first.room())
    waiting = asyncio.create_task(second.room())
    await turns()
    gone.cancel()
    full.clear()
    await within(5, waiting)


async def test_an_idle_account_is_asked_to_yield() -> None:
    budget = budget_of()
    idle, busy = budget.open(), budget.open()
    idle.on_yield = idle.clear
    idle.charge(BUDGET)
    await within(5, busy.room())
    assert idle.held_bytes == 0


async def test_the_longest_idle_one_is_asked_and_no_more_than_it_takes() -> None:
    budget = budget_of()
    accounts = [budget.open() for _ in range(3)]
    asked: list[int] = []

    def yielding(index: int) -> Callable[[], None]:
        def give() -> None:
            asked.append(index)
            accounts[index].clear()
            accounts[index].yielded()

        return give

    for index in (1, 0, 2):
        accounts[index].on_yield = yielding(index)
        accounts[index].charge(PART)
        await asyncio.sleep(0.002)  # "longest" needs a difference
    await within(5, budget.open().room())
    assert asked == [1]


async def test_bytes_on_their_way_are_not_asked_for() -> None:
    budget = budget_of()
    sending, other = budget.open(), budget.open()
    sending.on_yield = lambda: pytest.fail("its bytes are on their way")
    sending.charge(BUDGET)
    await sending.send(BUDGET)
    waiting = asyncio.create_task(other.room())
    _, pending = await asyncio.wait({waiting}, timeout=1)
    assert pending
    sending.sent(BUDGET, is_stored=True)
    await within(5, waiting)


async def full_parts(budget: MemoryBudget, count: int) -> list[tuple[Account, asyncio.Task[None]]]:
    """Accounts of which each has a part that was full one after the other, and wants it sent."""
    sendings = []
    for _ in range(count):
        account = budget.open()
        account.charge(PART)
        sendings.append((account, asyncio.create_task(account.send(PART))))
        await turns()
    return sendings


async def test_half_of_what_bodies_may_hold_is_on_its_way_in_the_order_of_being_full() -> None:
    sendings = await full_parts(budget_of(7 * PART), 5)  # six parts for bodies
    assert [sending.done() for _, sending in sendings] == [True, True, True, False, False]
    assert [account.resting_bytes for account, _ in sendings] == [0] * 5, "nobody is asked for them"
    sendings[1][0].sent(PART, is_stored=True)
    await turns()
    assert [sending.done() for _, sending in sendings] == [True, True, True, True, False]
    sendings[0][0].sent(PART, is_stored=False)
    await within(5, sendings[4][1])


async def test_one_part_may_always_be_on_its_way() -> None:
    (account, sending), (_, behind) = await full_parts(budget_of(2 * PART), 2)
    assert (sending.done(), behind.done()) == (True, False)
    account.sent(PART, is_stored=True)
    await within(5, behind)


@pytest.mark.parametrize("how", ["closed", "cancelled"])
async def test_a_part_that_is_given_up_before_it_was_sent_takes_nobodys_place(how: str) -> None:
    budget = budget_of(3 * PART)
    (first, _), (gone, sending), (_, last) = await full_parts(budget, 3)
    if how == "closed":
        gone.close()
    else:
        sending.cancel()
    await turns()
    assert budget.on_its_way.inside == PART
    first.sent(PART, is_stored=True)
    if how == "closed":
        await within(5, sending)
        gone.sent(PART, is_stored=True)
    await within(5, last)
    assert budget.on_its_way.inside == PART


async def test_a_part_that_was_not_stored_stays_charged() -> None:
    account = budget_of().open()
    account.charge(PART)
    await account.send(PART)
    account.sent(PART, is_stored=False)
    assert (account.held_bytes, account.resting_bytes) == (PART, PART)


async def test_when_all_hold_half_a_part_and_wait_the_youngest_yields() -> None:
    budget = budget_of()
    accounts = [budget.open() for _ in range(6)]
    asked: list[Account] = []

    def give(account: Account) -> None:
        asked.append(account)
        account.clear()

    for account in accounts:
        account.on_yield = functools.partial(give, account)
        account.charge(PART // 2)
    waiting = [asyncio.create_task(account.room()) for account in accounts]
    await within(5, asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED))
    assert waiting[0].done()
    assert asked == [accounts[-1]]
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_while_somebody_was_just_let_go_on_nobody_has_to_yield() -> None:
    budget = budget_of()
    full, first, second = budget.open(), budget.open(), budget.open()
    first.charge(PART)
    second.charge(PART)
    full.charge(budget.free_bytes)
    for account in (first, second):
        account.on_yield = lambda: pytest.fail("the other one goes on")
    room = full.held_bytes
    first.charge(room - READ_MAX_BYTES)
    full.release(room - READ_MAX_BYTES)
    waiting = [asyncio.create_task(one.room()) for one in (first, second)]
    await turns()
    full.clear()  # room for one read: the first one's
    await within(5, waiting[0])
    assert not waiting[1].done()
    waiting[1].cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_loans_may_take_the_reserve_and_go_before_bodies() -> None:
    budget = budget_of()
    account = budget.open()
    account.charge(BUDGET - PART)
    async with asyncio.timeout(1), budget.loan(PART):
        assert budget.used_bytes == BUDGET
        reading = asyncio.create_task(account.room())
        borrowing = asyncio.create_task(borrow(budget, PART))
        await turns()
        assert not reading.done()
        assert not borrowing.done()
    await within(1, borrowing)
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    assert budget.used_bytes == BUDGET - PART


async def borrow(budget: MemoryBudget, size: int) -> None:
    async with budget.loan(size):
        await asyncio.sleep(0)


async def test_one_loan_is_granted_even_when_nothing_is_left_and_nothing_moves() -> None:
    budget = budget_of()
    budget.open().charge(2 * BUDGET)
    await within(5, borrow(budget, 3 * PART))


async def test_who_needs_no_loan_waits_for_none() -> None:
    """A part without a tail would free what the loans before it wait for."""
    budget = budget_of()
    budget.open().charge(2 * BUDGET)
    async with asyncio.timeout(5), budget.loan(PART):
        waiting = asyncio.create_task(borrow(budget, PART))
        await turns()
        assert not waiting.done()
        sending = asyncio.create_task(borrow(budget, 0))
        await turns()
        assert sending.done()
    await within(5, waiting)


async def test_a_loan_that_nobody_waits_for_any_more_is_given_back() -> None:
    budget = budget_of()
    account = budget.open()
    account.charge(BUDGET)
    borrowing = asyncio.create_task(borrow(budget, PART))
    await turns()
    account.clear()  # grants it, and in the same moment
    borrowing.cancel()
    await asyncio.gather(borrowing, return_exceptions=True)
    assert budget.used_bytes == 0


async def test_a_part_that_comes_fast_goes_on_before_others_begin() -> None:
    budget = budget_of()
    accounts = [budget.open() for _ in range(4)]  # there is room for three parts
    for account in accounts:
        account.expect(PART - BODY_BYTES * 4)
        account.charge(READ_MAX_BYTES)
    last = asyncio.create_task(accounts.pop().room())
    await turns()
    assert not last.done(), "what is free was claimed by others"
    for account in accounts:
        while account.claim_bytes >= READ_MAX_BYTES:
            assert await has_room(account)
            account.charge(READ_MAX_BYTES)
        assert not last.done()
    await accounts[0].send(accounts[0].held_bytes)
    accounts[0].sent(accounts[0].held_bytes, is_stored=True)
    await within(5, last)


async def test_whoever_has_no_claim_waits_behind_those_who_wait() -> None:
    budget = budget_of()
    full, waits, claims, comes = (budget.open() for _ in range(4))
    claims.expect(READ_MAX_BYTES * 2)
    claims.charge(READ_MAX_BYTES)
    full.charge(budget.free_bytes - READ_MAX_BYTES)
    waiting = asyncio.create_task(waits.room())
    await turns()
    assert not waiting.done()
    assert await has_room(claims)
    assert not await has_room(comes)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)


@pytest.mark.parametrize("slow", ["little", "nothing"])
async def test_a_body_that_becomes_slow_keeps_no_room_from_others(slow: str) -> None:
    budget = budget_of()
    account, other = budget.open(), budget.open()
    account.expect(BUDGET)
    account.charge(READ_MAX_BYTES)
    waiting = asyncio.create_task(other.room())
    await turns()
    assert not waiting.done()
    if slow == "little":
        account.charge(KIB)
        budget.advance()
    await within(5, waiting)


async def test_an_idle_body_that_holds_nothing_keeps_no_room_either() -> None:
    """A checkpoint took its bytes; the room for those that are missing stayed claimed."""
    budget = budget_of()
    account, other = budget.open(), budget.open()
    account.expect(BUDGET)
    account.charge(READ_MAX_BYTES)
    account.release(READ_MAX_BYTES)
    await within(5, other.room())


@pytest.mark.parametrize("stored_bytes", [0, READ_MAX_BYTES])
@pytest.mark.parametrize("end", [Account.clear, Account.close, Account.waive])
async def test_a_claim_ends(end: Callable[[Account], None], stored_bytes: int) -> None:
    budget = budget_of()
    account = budget.open()
    account.expect(PART)
    account.charge(READ_MAX_BYTES)
    account.release(stored_bytes)
    assert budget.claimed_bytes == account.claim_bytes == PART - READ_MAX_BYTES
    end(account)
    assert budget.claimed_bytes == account.claim_bytes == 0


async def test_what_comes_after_the_end_of_a_part_claims_nothing() -> None:
    """The rest of a body that was refused, which is read and dropped."""
    budget = budget_of()
    account = budget.open()
    account.expect(PART)
    account.clear()
    account.charge(READ_MAX_BYTES)
    assert budget.claimed_bytes == account.claim_bytes == 0


PIECES = (KIB, 64 * KIB, READ_MAX_BYTES, READ_MAX_BYTES)


class Upload:
    """Reads and sends parts as a writer does: half a part may go to Redis when it is asked for,
    and a part that began there needs a loan. given: how often it was asked."""

    def __init__(
        self,
        budget: MemoryBudget,
        dice: random.Random,
        parts: int,
        pieces: Sequence[int] = PIECES,
    ) -> None:
        self.budget, self.dice, self.parts_left = budget, dice, parts
        self.pieces, self.given = pieces, 0
        self.account = budget.open()
        self.fresh = self.tail = 0
        self.asked = False

    def give(self) -> None:
        self.given += 1
        self.asked = True

    async def run(self) -> None:
        self.account.on_yield = self.give
        self.account.expect(PART)
        while self.parts_left:
            if self.asked:
                await asyncio.sleep(0)
                self.account.release(self.fresh)
                self.tail, self.fresh, self.asked = self.tail + self.fresh, 0, False
                self.account.yielded()
            waiting = asyncio.create_task(self.account.room())
            while not waiting.done() and not self.asked:
                await asyncio.wait({waiting}, timeout=0.01)
            if self.asked:
                waiting.cancel()
                await asyncio.gather(waiting, return_exceptions=True)
                continue
            size = min(self.dice.choice(self.pieces), self.budget.read_bytes)
            size = min(size, PART - self.tail - self.fresh)
            self.account.charge(size)
            self.fresh += size
            if self.tail + self.fresh == PART:
                await self.send()
        self.account.close()

    async def send(self) -> None:
        size, self.fresh = self.fresh, 0
        await self.account.send(size)
        self.account.expect(PART)
        async with self.budget.loan(self.tail):
            await asyncio.sleep(0.001 * self.dice.random())
        self.tail = 0
        self.parts_left -= 1
        self.account.sent(size, is_stored=True)


@pytest.mark.parametrize("total", [2 * PART, 3 * PART, 8 * PART])
@pytest.mark.parametrize("uploads", [1, 7, 20])
async def test_everybody_gets_through_and_the_budget_holds(total: int, uploads: int) -> None:
    budget = budget_of(total)
    dice = random.Random(total + uploads)
    most = 0

    async def watch() -> None:
        nonlocal most
        while True:
            most = max(most, budget.used_bytes)
            await asyncio.sleep(0)

    watching = asyncio.create_task(watch())
    await within(120, asyncio.gather(*(Upload(budget, dice, 2).run() for _ in range(uploads))))
    watching.cancel()
    assert budget.used_bytes == budget.claimed_bytes == 0
    assert most <= total + uploads * READ_MIN_BYTES + PART, "a loan may be granted beyond it"


async def test_fast_bodies_fill_their_parts_and_hardly_one_gives_any_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "IDLE_S", 60.0)  # not they stand still if the machine does
    budget, dice = budget_of(8 * PART), random.Random(1)
    uploads = [Upload(budget, dice, 3, (READ_MAX_BYTES,)) for _ in range(40)]
    await within(120, asyncio.gather(*(upload.run() for upload in uploads)))
    # Who was let begin last may not find room for a whole part: then one gives, now and then. With
    # order alone, it was hundreds.
    assert sum(upload.given for upload in uploads) < len(uploads) // 4
