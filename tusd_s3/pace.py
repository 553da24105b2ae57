"""How many bytes of bodies move between two looks of the event loop at everything else.

What is ready at once is done at once: where eight uploads and thirty parts can go on, copying in
the kernel takes 20 ms of a turn of the loop, and a HEAD needs three turns. So what moves much asks
first. A turn has an allowance; when that is spent, whoever asks waits for one of the next, in order
of asking. What moves little asks nobody, and finds the loop free after a millisecond or two.

Each turn has its price, too: after a MiB was copied nothing of the program is left in the
processor's caches. So turns are long, and short only as long as somebody may wait for them.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from tusd_s3 import limits

TURN_BYTES: Final = 2 * limits.MIB
"""May be begun in one turn of the event loop; twice that, where one had to wait and the next one
does not. Reading or writing a MiB takes half a millisecond, encrypting it one."""

SHORT_TURN_BYTES: Final = limits.MIB
"""The same while somebody is in a hurry."""

HURRY_S: Final = 0.02
"""How long turns stay short: what moves little is answered by then, nearly always."""


class Pace:
    """Of one event loop; use it from there."""

    def __init__(self) -> None:
        self._left = TURN_BYTES
        self._short_until_s = 0.0
        self._is_armed = False
        self._waiting: deque[tuple[int, Callable[[], None]]] = deque()

    def run(self, size: int, move: Callable[[], None]) -> None:
        """Call `move`, which moves `size` bytes: at once, or in a later turn."""
        if self._left > 0 and not self._waiting:
            self._take(size)
            move()
        else:
            self._waiting.append((size, move))

    async def turn(self, size: int) -> None:
        """Return when `size` bytes may be moved."""
        if self._left > 0 and not self._waiting:
            self._take(size)
            return
        waiter = asyncio.get_running_loop().create_future()

        def wake() -> None:
            if not waiter.done():
                waiter.set_result(None)

        self._waiting.append((size, wake))
        await waiter

    def hurry(self) -> None:
        """Somebody came who moves little, and wants to be answered soon."""
        self._short_until_s = asyncio.get_running_loop().time() + HURRY_S
        self._left = min(self._left, SHORT_TURN_BYTES)

    def _take(self, size: int) -> None:
        self._left -= size
        if not self._is_armed:
            self._is_armed = True
            asyncio.get_running_loop().call_soon(self._next_turn)

    def _next_turn(self) -> None:
        """What is called soon is called after the loop has looked at its sockets."""
        self._is_armed = False
        is_short = asyncio.get_running_loop().time() < self._short_until_s
        self._left = SHORT_TURN_BYTES if is_short else TURN_BYTES
        while self._waiting and self._left > 0:
            size, move = self._waiting.popleft()
            self._take(size)
            move()
