"""Work that nothing from outside cancels.

A request is cancelled when its client goes away, when a middleware's timeout strikes, or when the
server loses its patience at shutdown. What writes an upload must not be torn by that: it runs in a
task of its own, and the cancellation makes its body end. Whatever takes a lease must not be torn
either: one that comes after its taker is gone blocks the upload until its time is over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from functools import partial
from typing import Any, TypeVar

from tusd_s3.engine.reader import BodyReader
from tusd_s3.ports import StopReason

T = TypeVar("T")


class ProtectedTasks:
    """Runs work where no cancellation reaches it, and can wait for all of it."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._readers: set[BodyReader] = set()
        self.draining = False

    def begin_drain(self) -> None:
        """End all bodies that are being read."""
        self.draining = True
        for reader in self._readers:
            reader.stop(StopReason.SHUTDOWN)

    async def drain(self) -> None:
        """`begin_drain`, and wait until nothing runs any more."""
        self.begin_drain()
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def run(self, work: Coroutine[object, object, T], reader: BodyReader | None = None) -> T:
        """`work`'s result. A cancellation from outside ends the body of `reader` only."""
        task = self.spawn(work)
        if reader is not None:
            self._readers.add(reader)
            task.add_done_callback(lambda _: self._readers.discard(reader))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if reader is not None and not task.done():
                reader.stop(StopReason.SHUTDOWN)
            raise

    def spawn(self, work: Coroutine[object, object, T]) -> asyncio.Task[T]:
        """Start `work`; whoever drains waits for it."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(partial(_finished, self._tasks))
        return task


def _finished(tasks: set[asyncio.Task[Any]], task: asyncio.Task[Any]) -> None:
    tasks.discard(task)
    if not task.cancelled():
        task.exception()  # whoever awaited it has it; one that nobody awaits any more is not news
