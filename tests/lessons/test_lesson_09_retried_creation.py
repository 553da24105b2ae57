"""Lesson 9: a creation that is sent again because its answer was lost makes no second upload."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

import pytest

from tests.conftest import StartServer
from tests.lessons.client import SETBACKS, assert_ends_well, uploads_in
from tests.support.bodies import body_of
from tests.support.faults import Hold, Stage
from tests.support.raw import RawConnection, RawResponse
from tests.support.redis_proxy import RedisProxy
from tests.support.server import ServerProcess
from tests.support.tus import OCTET_STREAM, TUS, RawClient, path_of
from tests.support.waiting import eventually
from tests.support.world import World

BODY = body_of(5000)
FIRST = BODY[:3000]
"""What the creation brings along."""


@dataclass(frozen=True, slots=True)
class Creation:
    """A POST, which is the same whenever it is sent."""

    name: str
    first: bytes = FIRST

    @property
    def headers(self) -> dict[str, str]:
        """Its headers; the name makes its key."""
        fields = TUS | {"Upload-Length": f"{len(BODY)}", "Upload-Metadata": "filename Zg=="}
        fields |= {"Idempotency-Key": f'"{self.name}-0123456789abcdef"'}
        if self.first:
            fields |= {"Content-Type": OCTET_STREAM, "Content-Length": f"{len(self.first)}"}
        return fields

    def begin(self, client: RawClient) -> RawConnection:
        """Send it, and read no answer."""
        connection = client.connect()
        connection.send_head("POST", client.base_path, self.headers)
        connection.send(self.first)
        return connection

    def send(self, client: RawClient) -> RawResponse:
        """Send it, and read its answer."""
        with self.begin(client) as connection:
            return connection.read_response("POST")

    def insist(self, client: RawClient) -> RawResponse:
        """Send it until it is answered with an upload."""

        def answered() -> RawResponse | None:
            response = self.send(client)
            assert response.status in SETBACKS | {201}, response
            return response if response.status == 201 else None

        return eventually(answered, within_s=15, what=f"{self.name} is created")


@pytest.fixture(scope="module")
def impatient(world: World, start_module_server: StartServer) -> ServerProcess:
    """Another process, which does not wait for long for an upload that somebody holds."""
    return start_module_server(over=world.stores, lease_wait="200ms")


def moments(world: World, creation: Creation, held: RawClient, proxy: RedisProxy) -> Iterator[Hold]:
    """Holds, each of which is in the way of the next creation: every command it sends to Redis,
    before Redis has it and before the answer is known."""

    def is_about_uploads(command: list[str]) -> bool:
        return any(world.redis.prefix in word for word in command)

    with proxy.counting() as trips:
        assert creation.send(held).status == 201
    commands = [command for trip in trips for command in trip.commands if is_about_uploads(command)]
    assert len(commands) > 1
    for nth in range(1, len(commands) + 1):
        for stage in Stage:
            hold = Hold(stage)
            proxy.rules.add(is_about_uploads, hold, nth=nth, times=1)
            yield hold


@pytest.mark.parametrize("first", [b"", FIRST], ids=["empty", "with bytes"])
def test_lesson_09_a_client_that_lost_the_answer_gets_the_same_upload(
    world: World,
    held_server: ServerProcess,
    impatient: ServerProcess,
    redis_proxy: RedisProxy,
    first: bytes,
) -> None:
    """Its connection breaks while the creation is at any of its steps, and it asks another
    process at once: there is one upload, with one address, and each byte in it once."""
    undisturbed = Creation(f"undisturbed-{len(first)}", first)
    for turn, hold in enumerate(moments(world, undisturbed, held_server.client, redis_proxy)):
        creation = Creation(f"lost-{len(first)}-{turn}", first)
        before = uploads_in(world)
        with creation.begin(held_server.client) as connection:
            hold.wait_until_reached()
            connection.reset()
        early = creation.send(impatient.client)
        assert early.status in SETBACKS | {201}, early
        hold.release()
        created = creation.insist(world.client)
        path = path_of(created)
        assert early.status != 201 or path_of(early) == path
        eventually(partial(is_one_more, world, before), what="one upload")
        assert_ends_well(world, path, BODY)
        again = creation.insist(world.client)
        assert (path_of(again), again.offset) == (path, len(BODY))


def is_one_more(world: World, before: set[str]) -> bool:
    """Whether exactly one upload has come to those of `before`."""
    return len(uploads_in(world) - before) == 1


@pytest.mark.parametrize("first", [b"", FIRST], ids=["empty", "with bytes"])
def test_lesson_09_a_killed_process_leaves_one_address(
    world: World, held_server: ServerProcess, redis_proxy: RedisProxy, first: bytes
) -> None:
    """The process dies at any step of the creation. Every retry gets one and the same upload,
    also when what the dead process had sent arrives after all."""
    creations: list[Creation] = []
    with ExitStack() as stack:
        undisturbed = Creation(f"before-{len(first)}", first)
        for turn, hold in enumerate(moments(world, undisturbed, held_server.client, redis_proxy)):
            creations.append(Creation(f"killed-{len(first)}-{turn}", first))
            stack.enter_context(creations[-1].begin(held_server.client))
            hold.wait_until_reached()
        held_server.kill()
    paths = [path_of(creation.insist(world.client)) for creation in creations]
    assert len(set(paths)) == len(creations)
    redis_proxy.rules.clear()
    for creation, path in zip(creations, paths, strict=True):
        assert path_of(creation.insist(world.client)) == path
        assert_ends_well(world, path, BODY)
        assert path_of(creation.insist(world.client)) == path
