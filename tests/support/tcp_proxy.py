"""The network between a client and the server: it counts bytes, and it breaks on command."""

from __future__ import annotations

import asyncio
import threading

from tests.support.proxy import READ_BYTES, Proxy


class TcpProxy(Proxy):
    """Carries bytes as they are, and cuts the connection after as many as a test says.

    What was carried before a cut has been handed to the server's kernel; nothing after it is.
    """

    def __init__(self, upstream: tuple[str, int]) -> None:
        super().__init__(upstream)
        self._lock = threading.Lock()
        self._sent_bytes = 0
        self._cut_at: int | None = None
        self._goes_down = False
        self._bytes_per_s: float | None = None
        self._is_cut = threading.Event()
        self._closing: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """Its origin, for clients that speak HTTP."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def sent_bytes(self) -> int:
        """What all clients together have sent through it, request heads included."""
        with self._lock:
            return self._sent_bytes

    @property
    def is_cut(self) -> bool:
        """Whether the cut that was asked for last has happened."""
        return self._is_cut.is_set()

    def cut_after(self, count: int, *, goes_down: bool = False) -> None:
        """Cut the connection that carries the `count`-th byte from now, counted over all clients.

        goes_down: refuse new connections from then on, until `up()`.
        """
        with self._lock:
            self._cut_at = self._sent_bytes + count
            self._goes_down = goes_down
            self._is_cut.clear()

    def slow_down(self, bytes_per_s: float | None) -> None:
        """What each client may send from now on; None for as much as it can."""
        self._bytes_per_s = bytes_per_s

    async def handle(
        self,
        client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        store: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        """Both directions at once, until either ends."""
        for writer in (client[1], store[1]):
            # Then drain() means: the kernel has it, and an abort does not take it back.
            writer.transport.set_write_buffer_limits(0)
        pumps = [
            asyncio.ensure_future(self._requests(client[0], store[1])),
            asyncio.ensure_future(_answers(store[0], client[1])),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    async def _requests(self, client: asyncio.StreamReader, server: asyncio.StreamWriter) -> None:
        while data := await client.read(READ_BYTES):
            allowed = self._take(len(data))
            server.write(data[:allowed])
            await server.drain()
            if self._bytes_per_s is not None:
                await asyncio.sleep(allowed / self._bytes_per_s)
            if self._cut_is_due():
                return

    def _take(self, count: int) -> int:
        """How many of the next `count` bytes may pass."""
        with self._lock:
            left = count if self._cut_at is None else self._cut_at - self._sent_bytes
            allowed = min(count, left)
            self._sent_bytes += allowed
            return allowed

    def _cut_is_due(self) -> bool:
        with self._lock:
            if self._cut_at is None or self._sent_bytes < self._cut_at:
                return False
            self._cut_at = None
            goes_down = self._goes_down
        if goes_down:
            self._closing = asyncio.ensure_future(self._close())
        self._is_cut.set()
        return True


async def _answers(server: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
    while data := await server.read(READ_BYTES):
        client.write(data)
        await client.drain()
