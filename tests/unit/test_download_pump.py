"""Fast readers share the event loop with everybody else."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import cast

from tests.support.bodies import KIB
from tusd_s3.app.downloads import pump
from tusd_s3.app.outlet import Outlet
from tusd_s3.downloads import Delivery
from tusd_s3.pace import TURN_BYTES, Pace


class Whole:
    """Something to hand out, in pieces of `size`, that is always there; and who takes it at once,
    noting what was taken."""

    def __init__(self, size: int, count: int, taken: list[int]) -> None:
        self._size, self._left, self._taken = size, count, taken
        self.window = SimpleNamespace(room=bytes(size), taken=lambda **_: None)

    async def next(self) -> memoryview | None:
        self._left -= 1
        return memoryview(bytes(self._size)) if self._left >= 0 else None

    async def write(self, piece: memoryview) -> None:
        self._taken.append(len(piece))

    async def end(self) -> None:
        self._taken.append(0)


def pumping(size: int, count: int, pace: Pace, taken: list[int]) -> asyncio.Task[None]:
    whole = Whole(size, count, taken)
    return asyncio.create_task(pump(cast(Delivery, whole), cast(Outlet, whole), pace))


async def test_wide_windows_wait_for_their_turn() -> None:
    pace, taken, size = Pace(), list[int](), 256 * KIB
    in_a_turn = TURN_BYTES // size
    both = [pumping(size, 3 * in_a_turn, pace, taken) for _ in range(2)]
    await asyncio.sleep(0)
    assert len(taken) == in_a_turn
    await asyncio.gather(*both)
    assert taken.count(size) == 6 * in_a_turn
    assert taken.count(0) == 2


async def test_narrow_windows_wait_for_nobody() -> None:
    pace, taken = Pace(), list[int]()
    await pace.turn(TURN_BYTES)
    await asyncio.wait_for(pumping(8 * KIB, 1, pace, taken), 5)
    waiting = [asyncio.create_task(pace.turn(TURN_BYTES)) for _ in range(2)]
    await asyncio.sleep(0)
    task = pumping(8 * KIB, 100, pace, taken)
    await asyncio.sleep(0)
    assert task.done()
    await asyncio.gather(*waiting)
