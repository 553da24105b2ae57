"""A gate: as much at once as fits, in the order in which it came."""

from __future__ import annotations

import asyncio

from tusd_s3.gate import Gate


class Traffic:
    """Bytes at a gate for ten; each passes until it is let out."""

    def __init__(self) -> None:
        self.gate = Gate(10)
        self.inside: list[int] = []
        self._out: dict[int, asyncio.Event] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}

    async def arrive(self, size: int) -> None:
        self._out[size] = asyncio.Event()
        self._tasks[size] = asyncio.create_task(self._pass(size))
        await self._settle()

    async def leave(self, size: int) -> None:
        self._out[size].set()
        await self._settle()

    async def give_up(self, size: int) -> None:
        self._tasks[size].cancel()
        await self._settle()

    async def _pass(self, size: int) -> None:
        async with self.gate.passing(size):
            self.inside.append(size)
            try:
                await self._out[size].wait()
            finally:
                self.inside.remove(size)

    async def _settle(self) -> None:
        for _ in range(5):
            await asyncio.sleep(0)


async def test_as_many_as_fit_are_inside_and_nobody_overtakes() -> None:
    traffic = Traffic()
    for size in (6, 4, 5, 1):
        await traffic.arrive(size)
    assert traffic.inside == [6, 4]
    await traffic.leave(4)
    assert traffic.inside == [6]
    await traffic.leave(6)
    assert traffic.inside == [5, 1]


async def test_one_that_is_longer_than_the_bound_passes_alone() -> None:
    traffic = Traffic()
    await traffic.arrive(3)
    await traffic.arrive(50)
    assert traffic.inside == [3]
    await traffic.leave(3)
    assert traffic.inside == [50]
    await traffic.arrive(1)
    assert traffic.inside == [50]
    await traffic.leave(50)
    assert traffic.inside == [1]


async def test_no_bytes_wait_for_nobody() -> None:
    traffic = Traffic()
    for size in (9, 8, 0):
        await traffic.arrive(size)
    assert traffic.inside == [9, 0]


async def test_one_that_gives_up_is_in_nobodys_way() -> None:
    traffic = Traffic()
    for size in (8, 9, 2):
        await traffic.arrive(size)
    await traffic.give_up(9)
    assert traffic.inside == [8, 2]
    await traffic.give_up(8)
    await traffic.arrive(7)
    assert traffic.inside == [2, 7]


async def test_who_would_enter_now_overtakes_nobody() -> None:
    traffic = Traffic()
    assert traffic.gate.enter_now(6)
    assert not traffic.gate.enter_now(5)
    await traffic.arrive(7)
    assert not traffic.gate.enter_now(4)  # it would fit, but somebody was there before
    assert traffic.gate.enter_now(0)
    assert traffic.gate.inside == 6
    traffic.gate.leave(6)
    await traffic.leave(7)
    assert traffic.gate.inside == 0
