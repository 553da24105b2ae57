"""Reads a body that may be interrupted at any time without losing a byte.

A body ends in four ways: it is complete, the client goes away, it falls silent, or somebody else
needs the upload. The last two come while this task waits inside the transport's `read`. Racing
that read against an event would cost a task for every chunk, a timeout a timer for every chunk.
Instead one timer ticks for the whole body, and a wait is ended by cancelling the reading task
itself, but only while it is inside `read`, where the transport promises that a cancelled read
loses nothing.

When asked to let go, the reader does not stop at once: what has already arrived is drained first,
as long as it keeps coming without a pause and for a bounded time. Bytes in a socket's buffer are
bytes the client need not send again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from types import TracebackType
from typing import Self

from tusd_s3.budget import Account
from tusd_s3.model.chunk import Chunk
from tusd_s3.ports import BodyEnd, BodySource, StopReason

DRAIN_MAX_S = 0.5
"""How long a body may go on after a request to let go: a newcomer waits for it."""

DRAIN_PAUSE_S = 0.03
"""A pause this long means that nothing more is at hand."""

_SECOND_LOOK_S = 0.005
"""After a pause was seen and before it is believed: a turn of the event loop, and a little."""

_TICKS_PER_TIMEOUT = 4
_TICK_MAX_S = 1.0

Item = Chunk | BodyEnd | StopReason | None
"""What a read gives."""


class BodyReader:
    """`source`, with an end for silence, and with interruptions.

    silence_max_s: a read that waits for longer ends the body (StopReason.SILENCE).
    housekeeping_s: about this often, if bytes came since, `read` answers None so that the caller
        can make them durable.
    Use as a context manager, from one task.
    """

    def __init__(self, source: BodySource, *, silence_max_s: float, housekeeping_s: float) -> None:
        self._source = source
        self._silence_max_s = silence_max_s
        self._housekeeping_s = housekeeping_s
        self._tick_s = min(
            _TICK_MAX_S, silence_max_s / _TICKS_PER_TIMEOUT, housekeeping_s / _TICKS_PER_TIMEOUT
        )
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[object] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._waiting = False
        self._interrupted = False
        self._moved = False
        self._waiting_since_s = 0.0
        self._housekept_at_s = 0.0
        self._housekeeping_due = False
        self._stop_reason: StopReason | None = None
        self._account = source.account
        self._drain_reason: StopReason | None = None
        self._drain_until_s = 0.0
        self._doubted_s = -1.0
        self._unread: deque[Item] = deque()

    def __enter__(self) -> Self:
        self._task = asyncio.current_task()
        self._housekept_at_s = self._loop.time()
        self._arm(self._tick_s)
        self._account.on_yield = self._yield
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._task = None
        self._account.on_yield = None

    async def read(self) -> Item:
        """The next chunk; or how the body ended; or why to stop; or None: housekeeping is due."""
        if self._unread:
            return self._unread.popleft()
        if self._stop_reason is not None:
            return self._stop_reason
        if self._housekeeping_due:
            self._begin_housekeeping()
            return None
        self._waiting_since_s = self._loop.time()
        self._waiting = True
        try:
            item = await self._source.read()
        except asyncio.CancelledError:
            if not self._was_ours():
                raise
            if self._stop_reason is None:
                self._begin_housekeeping()
            return self._stop_reason
        finally:
            self._waiting = False
        self._moved = True
        return item

    def unread(self, items: Iterable[Item]) -> None:
        """Give back what was read last, in that order: `read` gives it again."""
        self._unread.extend(items)

    def trim(self) -> None:
        """See `ports.BodySource`."""
        self._source.trim()

    @property
    def account(self) -> Account:
        """Where the body's bytes are charged."""
        return self._account

    def stop(self, reason: StopReason) -> None:
        """End the body soon. A lost lease ends it at once: its bytes can no longer be kept."""
        if reason is StopReason.LEASE_LOST:
            self._end(reason)
        elif self._drain_reason is None:
            self._drain_reason = reason
            self._drain_until_s = self._loop.time() + DRAIN_MAX_S
            self._moved = False
            if self._task is not None:
                self._arm(DRAIN_PAUSE_S)

    def _yield(self) -> None:
        """The bytes that the caller holds are to be made durable now: others need the memory."""
        self._housekeeping_due = True
        self._interrupt()

    def _was_ours(self) -> bool:
        if not self._interrupted or self._task is None:
            return False
        self._interrupted = False
        return self._task.uncancel() == 0

    def _begin_housekeeping(self) -> None:
        self._housekeeping_due = False
        self._housekept_at_s = self._loop.time()
        self._moved = False

    def _arm(self, delay_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(delay_s, self._tick)

    def _tick(self) -> None:
        now_s = self._loop.time()
        if self._drain_reason is not None:
            self._tick_draining(self._drain_reason, now_s)
            return
        self._arm(self._tick_s)
        if self._account.is_waiting:
            self._waiting_since_s = now_s  # it is we who are silent
        if self._waiting and now_s - self._waiting_since_s >= self._silence_max_s:
            self._end(StopReason.SILENCE)
        elif self._moved and now_s - self._housekept_at_s >= self._housekeeping_s:
            self._housekeeping_due = True
            self._interrupt()

    def _tick_draining(self, reason: StopReason, now_s: float) -> None:
        paused = self._waiting and now_s - self._waiting_since_s >= DRAIN_PAUSE_S
        if now_s >= self._drain_until_s or (paused and self._doubted_s == self._waiting_since_s):
            self._end(reason)
        elif paused:
            # It may have been this process that paused: timers run before what came is read.
            self._doubted_s = self._waiting_since_s
            self._arm(_SECOND_LOOK_S)
        else:
            self._arm(DRAIN_PAUSE_S)

    def _end(self, reason: StopReason) -> None:
        self._stop_reason = reason
        self._interrupt()

    def _interrupt(self) -> None:
        if self._waiting and not self._interrupted and self._task is not None:
            self._interrupted = True
            self._task.cancel()
