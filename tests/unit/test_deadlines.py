"""Deadlines that share a timer do what `asyncio.timeout` does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from tusd_s3.deadlines import Deadlines

Bounded = Callable[[float], AbstractAsyncContextManager[object]]

FOREVER_S = 60.0
SHORT_S = 0.05


def _shared() -> Bounded:
    deadlines = Deadlines()

    @asynccontextmanager
    async def bounded(bound_s: float) -> AsyncIterator[None]:
        with deadlines.within(bound_s):
            yield

    return bounded


@pytest.fixture(params=["shared", "asyncio"])
def bounded(request: pytest.FixtureRequest) -> Bounded:
    return _shared() if request.param == "shared" else asyncio.timeout


async def never() -> None:
    await asyncio.get_running_loop().create_future()


async def test_what_is_in_time_is_let_be(bounded: Bounded) -> None:
    async with bounded(SHORT_S):
        await asyncio.sleep(0)
    await asyncio.sleep(2 * SHORT_S)  # whatever struck now would be a cancellation
    current = asyncio.current_task()
    assert current is not None
    assert current.cancelling() == 0


async def test_what_is_late_is_cancelled_and_no_sooner(bounded: Bounded) -> None:
    began_s = time.monotonic()
    cleaned_up = False

    async def work() -> None:
        nonlocal cleaned_up
        async with bounded(SHORT_S):
            try:
                await never()
            finally:
                cleaned_up = True

    with pytest.raises(TimeoutError):
        await work()
    assert cleaned_up
    assert time.monotonic() - began_s >= SHORT_S - 0.001  # uvloop's clock counts milliseconds
    await asyncio.sleep(0)  # the task goes on


async def test_a_block_whose_time_is_over_before_it_waits(bounded: Bounded) -> None:
    with pytest.raises(TimeoutError):
        async with bounded(0):
            await never()


@pytest.mark.parametrize("error", [ValueError, asyncio.CancelledError, TimeoutError])
async def test_its_own_errors_pass(bounded: Bounded, error: type[BaseException]) -> None:
    with pytest.raises(error):
        async with bounded(FOREVER_S):
            raise error


async def test_an_error_in_answer_to_the_cancellation_passes(bounded: Bounded) -> None:
    async def work() -> None:
        async with bounded(SHORT_S):
            try:
                await never()
            except asyncio.CancelledError:
                raise ValueError("instead") from None

    with pytest.raises(ValueError, match="instead"):
        await work()


async def test_a_cancellation_from_outside_is_one(bounded: Bounded) -> None:
    async def work() -> None:
        async with bounded(FOREVER_S):
            await never()

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_cancellation_from_outside_counts_also_when_the_time_is_over(
    bounded: Bounded,
) -> None:
    async def work() -> None:
        async with bounded(SHORT_S):
            try:
                await never()
            except asyncio.CancelledError:
                task.cancel()
                raise

    task = asyncio.create_task(work())
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize(("inner_s", "outer_s"), [(SHORT_S, FOREVER_S), (FOREVER_S, SHORT_S)])
async def test_the_one_that_is_over_says_so(
    bounded: Bounded, inner_s: float, outer_s: float
) -> None:
    said = []

    async def work() -> None:
        async with bounded(outer_s):
            try:
                async with bounded(inner_s):
                    await never()
            except TimeoutError:
                said.append("inner")
                raise
            except asyncio.CancelledError:
                said.append("outer")
                raise

    with pytest.raises(TimeoutError):
        await work()
    assert said == ["inner" if inner_s < outer_s else "outer"]


async def test_each_of_many_has_its_own_time() -> None:
    deadlines, ended = Deadlines(), list[float]()

    async def work(bound_s: float) -> None:
        with pytest.raises(TimeoutError), deadlines.within(bound_s):
            await never()
        ended.append(bound_s)

    async def in_time() -> None:
        with deadlines.within(SHORT_S):
            await asyncio.sleep(0)

    bounds_s = [4 * SHORT_S, SHORT_S, 3 * SHORT_S, 2 * SHORT_S]
    await asyncio.gather(*map(work, bounds_s), in_time())
    assert ended == sorted(bounds_s)


async def test_one_that_is_postponed_strikes_later() -> None:
    deadlines, began_s = Deadlines(), time.monotonic()

    async def work() -> None:
        with deadlines.within(SHORT_S) as deadline:
            deadline.postpone(4 * SHORT_S)
            await never()

    with pytest.raises(TimeoutError):
        await work()
    assert time.monotonic() - began_s >= 4 * SHORT_S - 0.001


async def test_nothing_ticks_when_nothing_is_bounded() -> None:
    deadlines = Deadlines()
    for _ in range(3):
        with deadlines.within(SHORT_S):
            await asyncio.sleep(0)
    await asyncio.sleep(2 * SHORT_S)
    assert deadlines._timer is None


async def test_only_a_task_has_deadlines() -> None:
    loop, told = asyncio.get_running_loop(), asyncio.Event()

    def not_in_a_task() -> None:
        with pytest.raises(RuntimeError), Deadlines().within(FOREVER_S):
            raise AssertionError("it was let in")
        told.set()

    loop.call_soon(not_in_a_task)
    await told.wait()
