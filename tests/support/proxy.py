"""A TCP proxy in a thread of its own. What it does with a connection is up to its subclass."""

from __future__ import annotations

import asyncio
import threading
from abc import ABC, abstractmethod
from collections.abc import Coroutine
from typing import Any, TypeVar

import uvloop

T = TypeVar("T")

READ_BYTES = 256 * 1024
_CONTROL_WITHIN_S = 10.0


class Proxy(ABC):
    """Listens on a port of its own and connects each client to `upstream` (host, port), which may
    be changed: connections that come later lead to the new one.

    Nothing is buffered beyond what one read yields: a slow side slows the other.
    """

    def __init__(self, upstream: tuple[str, int]) -> None:
        self.upstream = upstream
        self.port = 0
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    @property
    def is_up(self) -> bool:
        """Whether it accepts connections."""
        return self._server is not None

    @property
    def carried(self) -> int:
        """How many connections it carries now."""
        return len(self._connections)

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()
        self.up()

    def stop(self) -> None:
        """Cut everything and end the thread."""
        self.down()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_CONTROL_WITHIN_S)
        self._loop.close()

    def up(self) -> None:
        """Accept connections (again, on the same port)."""
        self._run(self._listen())

    def down(self) -> None:
        """Refuse connections and cut those that exist."""
        self._run(self._close())

    def cut_all(self) -> None:
        """Cut the connections that exist; new ones are welcome."""
        self._run(self._cut())

    @abstractmethod
    async def handle(
        self,
        client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        store: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        """Carry one connection until it ends; leaving, or OSError, cuts both sides."""

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_CONTROL_WITHIN_S)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(
            self._accept, "127.0.0.1", self.port, limit=READ_BYTES
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        await self._cut()

    async def _cut(self) -> None:
        tasks = list(self._connections)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._carry(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        store_writer: asyncio.StreamWriter | None = None
        try:
            store_reader, store_writer = await asyncio.open_connection(
                *self.upstream, limit=READ_BYTES
            )
            await self.handle((reader, writer), (store_reader, store_writer))
        except* (OSError, asyncio.IncompleteReadError):
            pass  # one side went away, alone or while both directions were being copied
        finally:
            writer.transport.abort()
            if store_writer is not None:
                store_writer.transport.abort()
