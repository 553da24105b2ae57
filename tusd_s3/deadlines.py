"""Bounds on how long things may take, cheap enough for every call.

`asyncio.timeout` sets a timer and cancels it, which with uvloop takes 8 us of CPU: twice an HMAC,
and a small upload needs three. Nearly all of those timers are set in vain and for the same time.
Here all deadlines of one kind share one timer, set for the earliest of them. What a deadline does
to its task is what `asyncio.timeout` does.
"""

from __future__ import annotations

import asyncio
import math
from types import TracebackType
from typing import Self


class Deadlines:
    """Those of one event loop. Best for bounds of a similar length."""

    def __init__(self) -> None:
        self._running = set[Deadline]()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at_s = math.inf

    def within(self, bound_s: float) -> Deadline:
        """For a `with` block in a task. When it has not ended `bound_s` seconds from now, it is
        cancelled, and raises TimeoutError instead."""
        return Deadline(self, asyncio.get_running_loop().time() + bound_s)

    def add(self, deadline: Deadline) -> None:
        """It holds from now on."""
        self._running.add(deadline)
        if deadline.due_s < self._timer_at_s:
            self._arm(deadline.due_s)

    def discard(self, deadline: Deadline) -> None:
        """It does not matter any more."""
        self._running.discard(deadline)

    def _arm(self, at_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at_s = at_s
        self._timer = asyncio.get_running_loop().call_at(at_s, self._look)

    def _look(self) -> None:
        self._timer, self._timer_at_s = None, math.inf
        now_s = asyncio.get_running_loop().time()
        for deadline in [one for one in self._running if one.due_s <= now_s]:
            self._running.discard(deadline)
            deadline.strike()
        if self._running:
            self._arm(min(deadline.due_s for deadline in self._running))


class Deadline:
    """See `Deadlines.within`. due_s: on the loop's clock."""

    __slots__ = ("_all", "_cancelling", "_has_struck", "_task", "due_s")

    def __init__(self, all_of_them: Deadlines, due_s: float) -> None:
        self._all = all_of_them
        self._task: asyncio.Task[object] | None = None
        self._cancelling = 0
        self._has_struck = False
        self.due_s = due_s

    def postpone(self, bound_s: float) -> None:
        """Let the block take until `bound_s` seconds from now, unless its time is over already."""
        self.due_s = asyncio.get_running_loop().time() + bound_s

    def strike(self) -> None:
        """The time is over."""
        assert self._task is not None
        self._has_struck = True
        self._task.cancel()

    def __enter__(self) -> Self:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("only a task can be cancelled when its time is over")
        self._task = task
        self._cancelling = task.cancelling()
        self._all.add(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._all.discard(self)
        task, self._task = self._task, None
        if not self._has_struck or task is None:
            return
        # Others may have cancelled the task as well; then it stays cancelled (see asyncio.timeout).
        if task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error
