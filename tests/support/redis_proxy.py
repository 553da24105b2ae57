"""A proxy between a server and Redis that counts round trips and breaks connections."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.support.faults import Answer, Cut, Delay, Fault, Hold, Rule, RuleBook, Stage
from tests.support.proxy import READ_BYTES, Proxy
from tests.support.resp import CommandReader

_UPKEEP = frozenset(
    {
        *("PING", "HELLO", "AUTH", "SELECT", "CLIENT", "CONFIG", "INFO", "COMMAND"),
        *("SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE", "PUBLISH", "SPUBLISH"),
        *("UNSUBSCRIBE", "PUNSUBSCRIBE", "SUNSUBSCRIBE"),
    }
)
"""Commands that belong to connections, pub/sub and start-up, not to an upload."""


@dataclass(slots=True)
class Trip:
    """Commands that went out together, before the client waited for an answer."""

    commands: list[list[str]] = field(default_factory=list)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the commands, in upper case."""
        return tuple(command[0].upper() for command in self.commands)

    @property
    def is_upkeep(self) -> bool:
        """Whether it has nothing to do with any upload."""
        return all(name in _UPKEEP for name in self.names)


@dataclass(slots=True, eq=False)
class _Connection:
    reader: CommandReader = field(default_factory=CommandReader)
    trip: Trip | None = None
    in_transaction: bool = False
    faults: list[Fault] = field(default_factory=list)


TAIL_BYTES = "SET|SETRANGE"
"""What carries the bytes of a tail."""


class RedisProxy(Proxy):
    """Notes every command; `fail` breaks the nth one of a name."""

    def __init__(self, upstream: tuple[str, int]) -> None:
        super().__init__(upstream)
        self.rules: RuleBook[list[str]] = RuleBook()
        self._trips: list[Trip] = []

    @property
    def url(self) -> str:
        """Where the server finds this proxy."""
        return f"redis://127.0.0.1:{self.port}/0"

    def fail(
        self, name: str, fault: Fault, *, nth: int = 1, times: int | None = 1
    ) -> Rule[list[str]]:
        """`fault` hits the `nth` command of this name ("" for any, `A|B` for either) from now on,
        `times` times."""
        assert not isinstance(fault, Answer), "answers are S3's"

        def applies(command: list[str]) -> bool:
            return not name or command[0].upper() in name.split("|")

        return self.rules.add(applies, fault, nth=nth, times=times)

    def trips(self) -> list[Trip]:
        """All round trips so far that were not upkeep."""
        return [trip for trip in list(self._trips) if not trip.is_upkeep]

    @contextmanager
    def counting(self) -> Iterator[list[Trip]]:
        """The round trips within the block, upkeep left out; filled in when it ends."""
        before, counted = len(self.trips()), list[Trip]()
        yield counted
        counted.extend(self.trips()[before:])

    def forget(self) -> None:
        """Drop what was noted of the round trips so far."""
        self._trips.clear()

    async def handle(
        self,
        client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        store: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        """Both directions at once, until either ends."""
        connection = _Connection()
        pumps = [
            asyncio.ensure_future(self._requests(connection, client[0], store[1])),
            asyncio.ensure_future(_replies(connection, store[0], client[1])),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    async def _requests(
        self, connection: _Connection, client: asyncio.StreamReader, store: asyncio.StreamWriter
    ) -> None:
        while data := await client.read(READ_BYTES):
            for command in connection.reader.feed(data):
                self._note(connection, command)
                fault = self.rules.fault_for(command)
                if fault is Cut.BEFORE:
                    return
                await _before(fault)
                if fault is not None:
                    connection.faults.append(fault)
            store.write(data)
            await store.drain()

    def _note(self, connection: _Connection, command: list[str]) -> None:
        if connection.trip is None:
            connection.trip = Trip()
            self._trips.append(connection.trip)
        connection.trip.commands.append(command)
        name = command[0].upper()
        connection.in_transaction = name == "MULTI" or (
            connection.in_transaction and name not in ("EXEC", "DISCARD")
        )


async def _before(fault: Fault | None) -> None:
    if isinstance(fault, Delay):
        await asyncio.sleep(fault.seconds)
    if isinstance(fault, Hold) and fault.stage is Stage.BEFORE:
        await fault.wait()


async def _replies(
    connection: _Connection, store: asyncio.StreamReader, client: asyncio.StreamWriter
) -> None:
    while data := await store.read(READ_BYTES):
        # Redis answers MULTI before it has the rest of a large transaction: still one trip.
        if not connection.in_transaction:
            connection.trip = None
        for fault in connection.faults:
            if fault is Cut.AFTER:
                return
            if isinstance(fault, Hold) and fault.stage is Stage.AFTER:
                await fault.wait()
        connection.faults.clear()
        client.write(data)
        await client.drain()
