"""What moves much goes on little by little, and in order; nobody waits for ever."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from tests.support.bodies import KIB, MIB
from tusd_s3.pace import SHORT_TURN_BYTES, TURN_BYTES, Pace


async def turns(count: int) -> None:
    """So many turns of the event loop."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_what_fits_the_allowance_goes_on_at_once() -> None:
    pace, moved = Pace(), list[int]()
    for number in range(4):
        pace.run(TURN_BYTES // 4, partial(moved.append, number))
    assert moved == [0, 1, 2, 3]


async def test_what_exceeds_it_goes_on_in_later_turns_and_in_order() -> None:
    pace, moved = Pace(), list[int]()
    for number in range(5):
        pace.run(TURN_BYTES, partial(moved.append, number))
    seen = []
    for _ in range(5):
        seen.append(list(moved))
        await turns(1)
    assert seen == [[0], [0, 1], [0, 1, 2], [0, 1, 2, 3], [0, 1, 2, 3, 4]]


async def test_more_than_an_allowance_at_once_is_let_go_too() -> None:
    pace, moved = Pace(), list[int]()
    for number in range(3):
        pace.run(8 * TURN_BYTES, partial(moved.append, number))
        await turns(1)
    assert moved == [0, 1, 2]


async def test_nobody_overtakes_those_who_wait() -> None:
    pace, order = Pace(), list[str]()

    async def move(name: str, size: int) -> None:
        await pace.turn(size)
        order.append(name)

    async with asyncio.TaskGroup() as group:
        for name, size in (("a", MIB), ("b", MIB), ("c", KIB), ("d", MIB), ("e", KIB)):
            group.create_task(move(name, size))
    assert order == ["a", "b", "c", "d", "e"]


async def test_who_goes_on_goes_on_behind_those_who_wait() -> None:
    pace, order = Pace(), list[str]()
    pace.run(TURN_BYTES, partial(order.append, "before"))

    def twice(name: str) -> None:
        order.append(name)
        pace.run(1, partial(order.append, f"{name} again"))

    for name in ("a", "b"):
        pace.run(1, partial(twice, name))
    await turns(2)
    assert order == ["before", "a", "b", "a again", "b again"]


async def test_other_work_gets_a_turn_between_two_allowances() -> None:
    pace, seen = Pace(), list[str]()

    async def bulk() -> None:
        for _ in range(8):
            await pace.turn(TURN_BYTES)
            seen.append("bulk")

    async def other() -> None:
        while seen.count("bulk") < 8:
            seen.append("other")
            await asyncio.sleep(0)

    await asyncio.gather(bulk(), other())
    # One that had to wait, and one that finds a whole allowance again.
    assert "bulk bulk bulk" not in " ".join(seen)


async def test_who_was_cancelled_holds_up_nobody() -> None:
    pace = Pace()
    await pace.turn(TURN_BYTES)
    gone = [asyncio.create_task(pace.turn(TURN_BYTES)) for _ in range(3)]
    stays = asyncio.create_task(pace.turn(TURN_BYTES))
    await turns(1)
    for task in gone:
        task.cancel()
    async with asyncio.timeout(5):
        await stays
    assert all(task.done() for task in gone)


async def test_after_a_pause_there_is_a_whole_allowance_again() -> None:
    pace, moved = Pace(), list[int]()
    pace.run(TURN_BYTES, partial(moved.append, 0))
    await turns(2)
    pace.run(TURN_BYTES, partial(moved.append, 1))
    assert moved == [0, 1]


async def moved_in_a_turn(pace: Pace) -> int:
    """How many short turns' worth go on in one turn, where there is more than enough."""
    moved = list[int]()
    count = TURN_BYTES // SHORT_TURN_BYTES + 1
    for number in range(count):
        pace.run(SHORT_TURN_BYTES, partial(moved.append, number))
    at_once = len(moved)
    await turns(count + 1)  # one each, at worst, and one until there is a whole allowance again
    return at_once


LONG = TURN_BYTES // SHORT_TURN_BYTES


async def test_turns_are_short_as_long_as_somebody_is_in_a_hurry(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tusd_s3.pace.HURRY_S", 3600)
    pace = Pace()
    assert await moved_in_a_turn(pace) == LONG > 1
    pace.hurry()
    assert [await moved_in_a_turn(pace) for _ in range(3)] == [1, 1, 1]


async def test_they_are_long_again_once_the_hurry_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tusd_s3.pace.HURRY_S", 0)
    pace = Pace()
    pace.hurry()
    assert [await moved_in_a_turn(pace) for _ in range(3)] == [1, LONG, LONG]


async def test_who_comes_in_the_midst_of_a_long_turn_shortens_it() -> None:
    pace, moved = Pace(), list[int]()
    pace.run(1, partial(moved.append, 0))
    pace.hurry()
    for number in (1, 2):
        pace.run(SHORT_TURN_BYTES, partial(moved.append, number))
    assert moved == [0, 1]
    await turns(1)
    assert moved == [0, 1, 2]
