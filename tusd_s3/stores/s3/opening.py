"""GetObject without the SDK's pipeline: our own signature, one request, one try (see `direct`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tusd_s3 import limits
from tusd_s3.stores.s3.answers import Answer, DisconnectedError, ExchangeError, Head
from tusd_s3.stores.s3.calls import UnsayableError, build_get
from tusd_s3.stores.s3.client import S3Options, connect_timeout_s
from tusd_s3.stores.s3.direct import Direct
from tusd_s3.stores.s3.pool import Address, Keeper
from tusd_s3.stores.s3.streaming import StreamConnection

_TLS_BUFFERS_BYTES: Final = 256 * limits.KIB
"""What TLS below a connection may have read ahead."""


class Stream:
    """An object on its way. own_bytes: what its connection may hold of it."""

    def __init__(
        self, keeper: Keeper[StreamConnection], connection: StreamConnection, head: Head
    ) -> None:
        self._keeper = keeper
        self._connection: StreamConnection | None = connection
        self.head = head
        self.own_bytes = 0 if keeper.address.context is None else _TLS_BUFFERS_BYTES

    async def read_into(self, room: memoryview) -> int:
        """See `StreamConnection.read_into`."""
        assert self._connection is not None
        return await self._connection.read_into(room)

    def close(self) -> None:
        """Nobody reads any more; a connection that is done may carry another object."""
        connection, self._connection = self._connection, None
        if connection is not None and connection.end():
            self._keeper.keep(connection)


class Opener:
    """Of objects in one bucket."""

    def __init__(self, direct: Direct, options: S3Options) -> None:
        self._direct = direct
        self._connect_timeout_s = connect_timeout_s(options)
        self._timeout_s = options.timeout_s
        self._keepers: dict[Address, Keeper[StreamConnection]] = {}

    async def open(self, key: str, params: Mapping[str, str]) -> Stream | Answer | Exception | None:
        """An object that comes; or what S3 answered instead, or why it did not; None if nothing was
        sent. params: the SDK's."""
        way = await self._direct.way()
        if way is None:
            return None
        try:
            head = build_get(way.route, way.credentials, key, params, way.timestamp)
        except UnsayableError:
            return None
        keeper = self._keeper(way.address)
        try:
            return await self._request(keeper, head)
        except (ExchangeError, OSError) as error:
            return error

    async def close(self) -> None:
        """Close all connections."""
        for keeper in self._keepers.values():
            await keeper.close()

    def _keeper(self, address: Address) -> Keeper[StreamConnection]:
        if address not in self._keepers:
            self._keepers[address] = Keeper(
                address,
                lambda on_lost: StreamConnection(self._timeout_s, on_lost),
                connect_timeout_s=self._connect_timeout_s,
            )
        return self._keepers[address]

    async def _request(self, keeper: Keeper[StreamConnection], head: bytes) -> Stream | Answer:
        """Over a kept connection, or a new one; see `Pool.exchange`."""
        kept = keeper.take()
        if kept is not None:
            try:
                return await self._over(keeper, kept, head)
            except DisconnectedError as lost:
                if lost.answered:
                    raise
        return await self._over(keeper, await keeper.connect(), head)

    async def _over(
        self, keeper: Keeper[StreamConnection], connection: StreamConnection, head: bytes
    ) -> Stream | Answer:
        answer = await connection.request(head)
        if isinstance(answer, Head):
            return Stream(keeper, connection, answer)
        self._direct.judge(answer.status)
        keeper.keep(connection)
        return answer
