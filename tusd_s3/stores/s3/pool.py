"""Connections to one address, kept alive between requests.

How many are at work at once is bounded by whoever calls; as many may be kept.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Generic, Protocol, TypeVar, cast

import aiohappyeyeballs

from tusd_s3.pace import Pace
from tusd_s3.stores.s3.answers import Answer, DisconnectedError
from tusd_s3.stores.s3.connection import TLS_WRITE_BYTES, WRITE_BYTES, Connection, Request

IDLE_MAX_S: Final = 12.0
"""An idle connection is used again within this, and closed after it. S3 closes its end after 20 s;
a request that crosses with that is lost."""

AGE_MAX_S: Final = 600.0
"""A connection is not used for longer, so that a store which moves to other addresses is followed
there. A new one costs a round trip or three."""

_SECOND_FAMILY_AFTER_S: Final = 0.25
"""Before the next address is tried beside one that does not answer (RFC 8305, 5)."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where connections lead. context: None for plain TCP."""

    host: str
    port: int
    context: ssl.SSLContext | None = None


class Keepable(Protocol):
    """A connection that may be used again. opened_at_s, idle_since_s: on the loop's clock."""

    opened_at_s: float
    idle_since_s: float

    @property
    def is_open(self) -> bool: ...
    def close(self) -> None: ...


K = TypeVar("K", bound=Keepable)


class Keeper(Generic[K]):
    """Opens connections, and keeps them. connect_timeout_s: for name, connection and TLS together.
    make: a new one, which calls what it is given when it was lost."""

    def __init__(
        self,
        address: Address,
        make: Callable[[Callable[[K], None]], K],
        *,
        connect_timeout_s: float,
    ) -> None:
        self.address = address
        self._make = make
        self._connect_timeout_s = connect_timeout_s
        self._open: set[K] = set()
        self._idle: list[K] = []
        self._tidying: asyncio.TimerHandle | None = None

    async def close(self) -> None:
        """Close everything, whatever is under way."""
        if self._tidying is not None:
            self._tidying.cancel()
        for connection in list(self._open):
            connection.close()
        await asyncio.sleep(0)  # until then the loop has not closed the sockets

    def take(self) -> K | None:
        """The one that was used last, if it is fit: the others may then grow old."""
        now_s = asyncio.get_running_loop().time()
        while self._idle:
            connection = self._idle.pop()
            if _is_fit(connection, now_s):
                return connection
            connection.close()
        return None

    def keep(self, connection: K) -> None:
        """It may be taken again, if it is still open."""
        if connection.is_open:
            loop = asyncio.get_running_loop()
            connection.idle_since_s = loop.time()
            self._idle.append(connection)
            if self._tidying is None:
                self._tidying = loop.call_later(IDLE_MAX_S, self._tidy)

    def _tidy(self) -> None:
        """Close what has been idle for too long; look again while anything is kept."""
        loop = asyncio.get_running_loop()
        now_s = loop.time()
        kept = self._idle
        self._idle = [connection for connection in kept if _is_fit(connection, now_s)]
        for connection in set(kept).difference(self._idle):
            connection.close()
        self._tidying = loop.call_later(IDLE_MAX_S, self._tidy) if self._idle else None

    async def connect(self) -> K:
        """A new one. Raises OSError, TimeoutError."""
        async with asyncio.timeout(self._connect_timeout_s):
            loop = asyncio.get_running_loop()
            found = await loop.getaddrinfo(
                self.address.host, self.address.port, type=socket.SOCK_STREAM
            )
            connected = await aiohappyeyeballs.start_connection(
                found, happy_eyeballs_delay=_SECOND_FAMILY_AFTER_S
            )
            try:
                _, made = await loop.create_connection(
                    lambda: cast(Any, self._make(self._forget)),
                    sock=connected,
                    ssl=self.address.context,
                    server_hostname=self.address.host if self.address.context else None,
                )
            except BaseException:
                connected.close()
                raise
        connection = cast(K, made)
        self._open.add(connection)
        return connection

    def _forget(self, connection: K) -> None:
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)


class Pool(Keeper[Connection]):
    """Of connections that carry whole exchanges. timeout_s, pace: see `Connection`."""

    def __init__(
        self, address: Address, *, connect_timeout_s: float, timeout_s: float, pace: Pace
    ) -> None:
        write_bytes = WRITE_BYTES if address.context is None else TLS_WRITE_BYTES
        super().__init__(
            address,
            lambda lost: Connection(timeout_s, lost, pace=pace, write_bytes=write_bytes),
            connect_timeout_s=connect_timeout_s,
        )

    async def exchange(self, request: Request, *, is_repeatable: bool = True) -> Answer:
        """See `Connection.exchange`; raises OSError and TimeoutError for no connection, too.

        A connection that ends before any byte of the answer had most likely been closed already
        when the request went out: that is repeated once, on a new one. Not certainly, so it must
        be repeatable (RFC 9110, 9.2.2).
        """
        kept = self.take()
        if kept is not None:
            try:
                return await self._over(kept, request)
            except DisconnectedError as lost:
                if lost.answered or not is_repeatable:
                    raise
        return await self._over(await self.connect(), request)

    async def _over(self, connection: Connection, request: Request) -> Answer:
        answer = await connection.exchange(request)
        self.keep(connection)
        return answer


def _is_fit(connection: Keepable, now_s: float) -> bool:
    return (
        connection.is_open
        and now_s - connection.idle_since_s < IDLE_MAX_S
        and now_s - connection.opened_at_s < AGE_MAX_S
    )
