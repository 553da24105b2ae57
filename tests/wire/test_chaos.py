"""Uploads through everything that can happen to them, in an order that a seed decides.

Three things must always hold: no acknowledged byte is lost, no offset is beyond what was sent, and
the object is what was meant. A failure names its seed; the same seed makes the same choices again
(what the processes make of them is up to their timing).
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import pytest

from tests.conftest import StartServer
from tests.support.bodies import PART_BYTES, body_of
from tests.support.faults import Answer, Cut, Delay, Fault
from tests.support.raw import ConnectionEnded, RawConnection
from tests.support.redis_proxy import RedisProxy
from tests.support.s3_calls import S3Call
from tests.support.s3_proxy import S3Proxy
from tests.support.server import ServerProcess, StoreSettings
from tests.support.stores import Bucket, RedisView
from tests.support.tus import RawClient, patch_headers
from tests.support.waiting import eventually
from tests.support.world import World

UPLOADS = 6
STEPS = 12
S3_FAULTS: list[Fault] = [Cut.BEFORE, Cut.AFTER, Answer(503), Answer(500), Delay(0.3)]
REDIS_FAULTS: list[Fault] = [Cut.BEFORE, Cut.AFTER, Delay(0.3)]
S3_KINDS = [
    S3Call.CREATE_MULTIPART,
    S3Call.UPLOAD_PART,
    S3Call.PUT_OBJECT,
    S3Call.PUT_RECOVERY,
    S3Call.COMPLETE_MULTIPART,
]


@pytest.fixture(scope="module")
def pair(
    stores: StoreSettings,
    s3_proxy: S3Proxy,
    redis_proxy: RedisProxy,
    start_module_server: StartServer,
) -> list[ServerProcess]:
    """Two processes over the same uploads, both behind the proxies."""
    through = replace(stores, s3_endpoint=s3_proxy.endpoint, redis_url=redis_proxy.url)
    quick = {"s3_timeout": "2s", "redis_timeout": "1s", "lease_ttl": "2s", "network_timeout": "1s"}
    return [start_module_server(over=through, **quick) for _ in range(2)]


@pytest.fixture
def _mended(s3_proxy: S3Proxy, redis_proxy: RedisProxy) -> Iterator[None]:
    yield
    s3_proxy.rules.clear()
    redis_proxy.rules.clear()


@dataclass(slots=True)
class Traveller:
    """One upload on its way, and what its client has been promised."""

    dice: random.Random
    clients: list[RawClient]
    body: bytes
    deferred: bool
    path: str = field(init=False)
    promised: int = 0
    sent: int = 0

    def begin(self) -> None:
        self.path = self.clients[0].new_upload(None if self.deferred else len(self.body))

    def offset(self) -> int:
        offset = self.dice.choice(self.clients).offset_of(self.path, within_s=30)
        assert self.promised <= offset <= self.sent, (self.promised, offset, self.sent)
        self.promised = offset
        return offset

    def step(self) -> None:
        """One PATCH from the true offset: of any length, ended in any way."""
        offset = self.offset()
        room = len(self.body) - offset
        announced = self.dice.randint(0, room)
        going = announced if self.dice.random() < 0.5 else self.dice.randint(0, announced)
        with self.dice.choice(self.clients).connect() as connection:
            connection.send_head("PATCH", self.path, patch_headers(offset, announced))
            self.sent = max(self.sent, offset + going)
            connection.send_until_closed(self.body[offset : offset + going])
            self.end(connection)

    def end(self, connection: RawConnection) -> None:
        how = self.dice.choice(["wait", "wait", "reset", "leave", "head"])
        if how == "reset":
            connection.reset()
        elif how == "head":
            self.offset()
        elif how == "wait":
            try:
                response = connection.read_response()
            except (ConnectionEnded, ConnectionResetError):
                return
            # 409: a PATCH whose client had left was still on its way when HEAD was answered.
            assert response.status in {204, 409, 423, 500, 503}, response
            if response.status == 204:
                self.promised = max(self.promised, response.offset)

    def arrive(self) -> None:
        """The rest in peace; only a PATCH whose client has left may still come in between."""
        length = {"Upload-Length": f"{len(self.body)}"} if self.deferred else {}

        def arrived() -> bool:
            offset = self.offset()
            self.sent = len(self.body)
            response = self.clients[0].patch(self.path, offset, self.body[offset:], length)
            assert response.status in {204, 409, 423}, response
            return response.status == 204 and response.offset == len(self.body)

        eventually(arrived)


@pytest.mark.usefixtures("_mended")
@pytest.mark.parametrize("seed", [1, 2])
def test_whatever_happens_the_object_is_what_was_meant(
    pair: list[ServerProcess],
    s3_proxy: S3Proxy,
    redis_proxy: RedisProxy,
    bucket: Bucket,
    redis_view: RedisView,
    seed: int,
) -> None:
    dice = random.Random(seed)
    sizes = [dice.randint(0, 4 * PART_BYTES) for _ in range(UPLOADS)]
    clients = [server.client for server in pair]
    travellers = [
        Traveller(random.Random(f"{seed}.{turn}"), clients, body_of(size, seed), turn % 2 == 1)
        for turn, size in enumerate(sizes)
    ]
    for traveller in travellers:
        traveller.begin()
    for _ in range(20):
        kind = dice.choice(S3_KINDS)
        s3_proxy.fail(kind, dice.choice(S3_FAULTS), nth=dice.randint(1, 8))
        redis_proxy.fail("EVALSHA", dice.choice(REDIS_FAULTS), nth=dice.randint(1, 200))

    def travel(traveller: Traveller) -> None:
        for _ in range(STEPS):
            traveller.step()

    with ThreadPoolExecutor(UPLOADS) as pool:
        list(pool.map(travel, travellers))
    s3_proxy.rules.clear()
    redis_proxy.rules.clear()
    world = World(pair[0], bucket, redis_view)
    for traveller in travellers:
        traveller.arrive()
        assert world.object_of(traveller.path) == traveller.body
