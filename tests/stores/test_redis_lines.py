"""Many calls over a connection: each gets its own answer, whatever happens to the others."""

from __future__ import annotations

import asyncio
import secrets
from abc import abstractmethod
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import hiredis
import pytest
import redis.asyncio as redis

from tests.support.faults import Hold, Rule, Stage
from tests.support.proxy import READ_BYTES, Proxy
from tests.support.redis_proxy import RedisProxy
from tests.support.redis_topologies import RedisServer, SentinelTopology
from tests.support.waiting import eventually
from tusd_s3 import errors
from tusd_s3.devstack.free_ports import LOOPBACK
from tusd_s3.stores.redis import RedisOptions, bounds, lines, open_redis, topology
from tusd_s3.stores.redis.bounds import FAILURES
from tusd_s3.stores.redis.client import Client, call_script, run_script
from tusd_s3.stores.redis.connections import Tcp
from tusd_s3.stores.redis.scripts import Script

ECHO = Script("return {ARGV[1], string.rep(ARGV[1], 10), redis.call('INCR', KEYS[1])}")
"""Its answer tells whose it is, and how often the call was executed."""

ANSWER_BYTES = len(b"*3\r\n$16\r\n\r\n$160\r\n\r\n:1\r\n") + 16 + 160
"""Of a first call, with a name of its own."""

MANY = 200
AT_ONCE = 20
PATIENCE_S = 10.0
TURNS = range(25)
"""Of the event loop; over a line that is there, a call is over after fewer."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
async def client(server: RedisServer) -> AsyncIterator[Client]:
    async with opened(server) as client:
        yield client


@asynccontextmanager
async def opened(
    at: RedisServer | SentinelTopology | Proxy, *, timeout_s: float = 2.0
) -> AsyncIterator[Client]:
    """A client whose connections bear a name of their own. No test may take for ever."""
    url = at.url if isinstance(at, SentinelTopology) else f"redis://{LOOPBACK}:{at.port}"
    options = RedisOptions(url=f"{url}?client_name=lines", prefix="", timeout_s=timeout_s)
    async with asyncio.timeout(PATIENCE_S), open_redis(options) as client:
        yield client


async def echo(client: Client, name: str = "") -> int:
    """How often this call was executed."""
    name = name or secrets.token_hex(8)
    found, repeated, count = await run_script(client, ECHO, [f"t:{name}"], name)
    assert (found.decode(), repeated.decode()) == (name, name * 10)
    return int(count)


def start(client: Client, count: int) -> list[asyncio.Task[int]]:
    return [asyncio.create_task(echo(client)) for _ in range(count)]


def connections(server: RedisServer) -> list[str]:
    """Ids of the connections that bear the name."""
    with server.client() as admin:
        return [found["id"] for found in admin.client_list() if found["name"] == "lines"]


async def outcomes(tasks: list[asyncio.Task[int]]) -> set[Any]:
    """Answers, and kinds of errors."""
    found = await asyncio.gather(*tasks, return_exceptions=True)
    return {type(one) if isinstance(one, BaseException) else one for one in found}


# --- one connection


async def test_calls_share_one_connection_and_each_gets_its_own_answer(
    client: Client, server: RedisServer
) -> None:
    await echo(client)  # the script is known
    for _ in range(3):
        assert await outcomes(start(client, MANY)) == {1}
    assert len(connections(server)) == 1


async def test_what_hangs_in_one_connection_stops_nobody_else(server: RedisServer) -> None:
    proxy, holds = RedisProxy((LOOPBACK, server.port)), [Hold(), Hold(Stage.AFTER)]
    proxy.start()
    try:
        async with opened(proxy) as client:
            await echo(client)
            held = []
            for hold in holds:
                proxy.rules.add(lambda command: "t:held" in command, hold, nth=1, times=1)
                held += [asyncio.create_task(echo(client, "held"))]
                await asyncio.to_thread(hold.wait_until_reached)
                for _ in range(3):
                    assert await outcomes(start(client, MANY)) == {1}
            assert len(connections(server)) == 1 + len(holds)
            for hold in reversed(holds):
                hold.release()
            assert await outcomes(held) == {1, 2}
    finally:
        proxy.stop()


async def test_there_are_no_more_lines_than_connections(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(topology, "CONNECTIONS_MAX", 3)
    monkeypatch.setattr(bounds, "_RETRIES", 0)  # a call that fails would show
    proxy, hold = RedisProxy((LOOPBACK, server.port)), Hold()
    proxy.start()
    try:
        async with opened(proxy, timeout_s=10.0) as client:
            await echo(client)
            rule = proxy.rules.add(lambda command: command[0] == "EVALSHA", hold, nth=1, times=None)
            waiting = []
            for count in (1, 2, 3):
                waiting += start(client, 2)
                await asyncio.to_thread(eventually, partial(hits, rule, count), what="a new line")
            for _ in range(5):
                waiting += start(client, 2)
                await asyncio.sleep(0)
            hold.release()
            assert await outcomes(waiting) == {1}
            assert len(connections(server)) == 3
    finally:
        proxy.stop()


def hits(rule: Rule[list[str]], count: int) -> bool:
    return rule.hits == count


async def test_a_line_behind_sentinels_stays_with_the_primary_that_was_found(
    sentinels: SentinelTopology,
) -> None:
    """Whose address is news when it is first asked for, as it is when it changes."""
    async with opened(sentinels) as other:
        await echo(other)  # the script is known
    async with opened(sentinels) as client:
        await echo(client)
        before = connections(sentinels.primary)
        assert await outcomes(start(client, MANY)) == {1}
        assert connections(sentinels.primary) == before
        assert len(before) == 1


async def test_the_first_call_of_a_turn_goes_out_at_once_and_the_others_in_one_write(
    client: Client, server: RedisServer
) -> None:
    await echo(client)
    first = asyncio.create_task(echo(client, "first"))
    await asyncio.sleep(0)  # it has been made
    eventually(lambda: bool(server.ask("EXISTS", "t:first")), what="the call")  # no turn passes
    assert await outcomes([first]) == {1}
    with server.client() as admin:
        before = admin.info("stats")["total_reads_processed"]
        assert await outcomes(start(client, AT_ONCE)) == {1}
        after = admin.info("stats")["total_reads_processed"]
    assert after - before in (2, 3)  # with that of the second INFO; Redis may find both at once


async def test_a_long_command_makes_no_other_wait(client: Client, server: RedisServer) -> None:
    await echo(client)
    name = "x" * lines.COMMAND_MAX_BYTES
    found = await call_script(client, ECHO, ["t:long"], name)
    assert found[0] == name.encode()
    assert len(connections(server)) == 2


async def test_calls_beyond_the_bound_wait_but_not_for_ever(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "CALLS_MAX", 2)
    async with opened(server, timeout_s=0.5) as client:
        assert await outcomes(start(client, MANY)) == {1}
        server.pause()
        try:
            *sent, beyond = start(client, 3)
            done, _ = await asyncio.wait([*sent, beyond], return_when=asyncio.FIRST_COMPLETED)
            assert done == {beyond}
            assert isinstance(beyond.exception(), errors.StateUnavailable)
        finally:
            server.resume()
        assert await outcomes(sent) <= {1, 2}
        assert await outcomes(start(client, MANY)) == {1}


# --- one call fails


async def test_an_error_is_that_of_its_own_call(client: Client, server: RedisServer) -> None:
    with server.client() as admin:
        admin.rpush("t:list", "not a number")
    await echo(client)
    before = connections(server)
    around = start(client, AT_ONCE)
    wrong = asyncio.create_task(echo(client, "list"))
    unknown = asyncio.ensure_future(client.evalsha("0" * 40, 0))
    around += start(client, AT_ONCE)
    assert await outcomes(around) == {1}
    assert await outcomes([wrong]) == {errors.StateUnavailable}
    with pytest.raises(FAILURES, match="matching script"):
        await unknown
    assert connections(server) == before


async def test_scripts_that_redis_forgot_are_told_again(
    client: Client, server: RedisServer
) -> None:
    await echo(client)
    server.ask("SCRIPT FLUSH")
    assert await outcomes(start(client, MANY)) == {1}
    server.ask("SCRIPT FLUSH")
    with pytest.raises(FAILURES, match="matching script"):
        await client.evalsha(ECHO.sha, 1, "t:x", "x")


@pytest.mark.parametrize("places", [1, lines.CALLS_MAX])
async def test_a_call_that_is_given_up_takes_no_other_along(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch, places: int
) -> None:
    """At any moment, also before it has a place."""
    monkeypatch.setattr(lines, "CALLS_MAX", places)
    async with opened(server) as client:
        await echo(client)
        before = connections(server)
        for turns in TURNS:
            tasks = start(client, 5)
            for _ in range(turns):
                await asyncio.sleep(0)
            given_up = [task for task in (tasks.pop(0), tasks.pop(1)) if task.cancel()]
            assert await outcomes(tasks) == {1}
            if given_up:
                assert await outcomes(given_up) == {asyncio.CancelledError}
            assert await outcomes(start(client, 2)) == {1}
        assert set(before) <= set(connections(server))


async def test_a_call_that_is_given_up_before_it_is_written_is_not_sent(
    client: Client, server: RedisServer
) -> None:
    await echo(client)
    first, task = asyncio.create_task(echo(client)), asyncio.create_task(echo(client, "withdrawn"))
    await asyncio.sleep(0)  # both have been made, and one has been written
    task.cancel()
    assert await outcomes([first]) == {1}
    assert await outcomes([task]) == {asyncio.CancelledError}
    await echo(client)
    assert server.ask("EXISTS", "t:withdrawn") == 0


# --- the connection fails


async def relay(client: asyncio.StreamReader, store: asyncio.StreamWriter) -> None:
    while data := await client.read(READ_BYTES):
        store.write(data)
        await store.drain()


class AltersAnswers(Proxy):
    """Does something to what the store answers."""

    @abstractmethod
    def altered(self, data: bytes) -> tuple[bytes, bool]:
        """What the client gets instead, and whether its connection is closed behind that."""

    async def handle(
        self,
        client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        store: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        """See `Proxy.handle`."""
        requests = asyncio.ensure_future(relay(client[0], store[1]))
        try:
            while data := await store[0].read(READ_BYTES):
                answer, is_end = self.altered(data)
                client[1].write(answer)
                await client[1].drain()
                if is_end:
                    client[1].close()  # what was written still goes out
                    await client[1].wait_closed()
                    return
        finally:
            requests.cancel()
            await asyncio.gather(requests, return_exceptions=True)


class CutsAnswers(AltersAnswers):
    """Cuts a connection behind so many more bytes of answers, once."""

    passing: int | None = None

    def altered(self, data: bytes) -> tuple[bytes, bool]:
        """See `AltersAnswers`."""
        passing = self.passing
        if passing is None:
            return data, False
        self.passing = passing - len(data) if passing > len(data) else None
        return data[:passing], self.passing is None


class SaysMore(AltersAnswers):
    """Adds something to the first answer after it was told what."""

    more = b""

    def altered(self, data: bytes) -> tuple[bytes, bool]:
        """See `AltersAnswers`."""
        more, self.more = self.more, b""
        return data + more, False


@pytest.mark.parametrize("passing", [0, 1, 100, 197, ANSWER_BYTES, 203, 402, 700])
async def test_a_connection_that_breaks_between_or_within_answers(
    server: RedisServer, passing: int
) -> None:
    """Those that were whole are good; the other calls are made again, once."""
    proxy = CutsAnswers((LOOPBACK, server.port))
    proxy.start()
    try:
        async with opened(proxy) as client:
            await echo(client)
            proxy.passing = passing
            found = await asyncio.gather(*start(client, AT_ONCE))
            whole = passing // ANSWER_BYTES
            assert found[:whole] == [1] * whole
            if passing > ANSWER_BYTES:
                assert set(found[whole:]) == {2}
            else:  # to the call that went first; the others may not have come as far as Redis
                assert found[0] == 2 - whole
                assert set(found) <= {1, 2}
            assert await outcomes(start(client, AT_ONCE)) == {1}
    finally:
        proxy.stop()


async def test_a_silent_server_fails_all_calls_and_then_serves_again(server: RedisServer) -> None:
    async with opened(server, timeout_s=0.2) as client:
        await echo(client)
        server.pause()
        try:
            waiting = start(client, AT_ONCE)
            for task in start(client, AT_ONCE):
                task.cancel()
            assert await outcomes(waiting) == {errors.StateUnavailable}
        finally:
            server.resume()
        assert await outcomes(start(client, MANY)) == {1}


async def test_silence_is_noticed_also_when_calls_were_answered_before(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "_RETRIES", 0)
    async with opened(server, timeout_s=0.2) as client:
        await echo(client)
        for _ in range(2):
            await asyncio.sleep(0.3)  # the timer runs out while nobody waits, which nothing tells
            await echo(client)
        server.pause()
        try:
            assert await outcomes(start(client, 1)) == {errors.StateUnavailable}
        finally:
            server.resume()


@pytest.mark.parametrize("how", ["killed", "restarted"])
async def test_a_connection_that_ends_while_it_is_idle_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(bounds, "_RETRIES", 0)  # a call that fails would show
    with RedisServer(tmp_path) as server:
        async with opened(server) as client:
            await echo(client)
            [line] = lines_now()
            if how == "killed":
                server.ask("CLIENT KILL", "TYPE", "normal")
            else:
                server.kill()
                server.restart()
            await asyncio.wait([line])
            assert await outcomes(start(client, AT_ONCE)) == {1}


async def test_a_primary_that_lost_its_replicas_is_left(
    client: Client, server: RedisServer
) -> None:
    await echo(client)
    before = connections(server)
    server.ask("CONFIG SET", "min-replicas-to-write", 1)
    try:
        assert await outcomes(start(client, 2)) == {errors.StateUnavailable}
    finally:
        server.ask("CONFIG SET", "min-replicas-to-write", 0)
    assert await outcomes(start(client, AT_ONCE)) == {1}
    assert connections(server) != before


# --- the end


def lines_now() -> list[asyncio.Task[Any]]:
    return [task for task in asyncio.all_tasks() if task.get_name() == "tusd-s3 line to Redis"]


@pytest.mark.parametrize("connected", [False, True])
async def test_closing_fails_the_calls_that_wait_and_leaves_nothing_behind(
    server: RedisServer, connected: bool
) -> None:
    async with opened(server, timeout_s=PATIENCE_S) as client:
        if connected:
            await echo(client)
        server.pause()
        waiting = start(client, AT_ONCE)
        for _ in range(3):
            await asyncio.sleep(0)
    try:
        assert not lines_now()
        assert await outcomes(waiting) == {errors.StateUnavailable}
        assert await outcomes(start(client, 1)) == {errors.StateUnavailable}
        assert asyncio.all_tasks() == {asyncio.current_task()}
    finally:
        server.resume()


async def test_closing_waits_for_the_task_that_reads(server: RedisServer) -> None:
    pool = redis.BlockingConnectionPool(
        1, connection_class=Tcp, host=LOOPBACK, port=server.port, **bounds.bounds(PATIENCE_S)
    )
    shared = lines.Lines(pool)
    assert await shared.call(hiredis.pack_command(("PING",))) == b"PONG"
    await shared.aclose()
    assert not lines_now()
    await pool.disconnect()


# --- what nobody asked for


@asynccontextmanager
async def lines_of(server: RedisServer, connection: type[Tcp]) -> AsyncIterator[lines.Lines]:
    pool = redis.BlockingConnectionPool(
        1,
        connection_class=connection,
        host=LOOPBACK,
        port=server.port,
        protocol=3,
        **bounds.bounds(PATIENCE_S),
    )
    shared = lines.Lines(pool)
    try:
        async with asyncio.timeout(PATIENCE_S):
            yield shared
    finally:
        await shared.aclose()
        await pool.disconnect()


TRACKING: tuple[Any, ...] = ("CLIENT", "TRACKING", "ON", "BCAST")


async def test_push_messages_are_no_answers_and_reach_redis_py(server: RedisServer) -> None:
    """Services announce in them that a server moves; that a key has changed takes the same way."""
    told: asyncio.Queue[list[Any]] = asyncio.Queue()

    class Listening(Tcp):
        async def connect(self) -> None:
            await super().connect()
            # redis-py's type of the parser is one without RESP3's, which is what it makes.
            self._parser.set_invalidation_push_handler(told.put)  # type: ignore[attr-defined]

    async with lines_of(server, Listening) as shared:
        await shared.call(hiredis.pack_command(TRACKING))
        server.ask("SET", "t:changed", "1")
        assert await shared.call(hiredis.pack_command(("PING",))) == b"PONG"
        assert await told.get() == [b"invalidate", [b"t:changed"]]
        assert await shared.call(hiredis.pack_command(("PING",))) == b"PONG"


@pytest.mark.parametrize(
    "more", [b"+an answer to nothing\r\n", b"no answer at all\r\n", b"-LOADING in a moment\r\n"]
)
async def test_what_cannot_be_an_answer_ends_the_connection(
    server: RedisServer, more: bytes
) -> None:
    proxy = SaysMore((LOOPBACK, server.port))
    proxy.start()
    try:
        async with opened(proxy) as client:
            await echo(client)
            [line] = lines_now()
            proxy.more = more
            assert await echo(client) == 1
            await asyncio.wait([line])
            assert await outcomes(start(client, AT_ONCE)) == {1}
    finally:
        proxy.stop()


class SaysInstead(AltersAnswers):
    """Gives the first answer after it was told one instead."""

    instead = b""

    def altered(self, data: bytes) -> tuple[bytes, bool]:
        """See `AltersAnswers`."""
        instead, self.instead = self.instead, b""
        return instead or data, False


@pytest.mark.parametrize("refusal", [b"-LOADING in a moment\r\n", b"-READONLY of a replica\r\n"])
async def test_what_a_server_says_that_cannot_serve_now_is_no_answer(
    server: RedisServer, refusal: bytes
) -> None:
    """The call is made again over another connection."""
    proxy = SaysInstead((LOOPBACK, server.port))
    proxy.start()
    try:
        async with opened(proxy) as client:
            await echo(client)
            [line] = lines_now()
            proxy.instead = refusal
            assert await echo(client) == 2  # the server had executed it all the same
            assert line.done()
    finally:
        proxy.stop()
