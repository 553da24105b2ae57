"""The memory budget: bodies wait for their turn, the worker stays flat, and nobody waits for ever.

`MEMORY_FULL=1` takes the sizes that the README's figures are of; they need minutes and 16 GiB of
disk. The bounds are the same for both.
"""

from __future__ import annotations

import os
from base64 import b64encode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import pytest

from tests.conftest import StartServer
from tests.support.bodies import KIB, MIB, PART_BYTES, body_of
from tests.support.hosting import served_alone
from tests.support.memory import peak_bytes
from tests.support.raw import RawConnection
from tests.support.server import ServerProcess, StoreSettings
from tests.support.stores import Bucket, RedisView
from tests.support.tus import RawClient, id_of, patch_headers
from tests.support.waiting import eventually
from tests.support.world import World
from tusd_s3.account import Account

IS_FULL = os.environ.get("MEMORY_FULL") == "1"
BUDGET_MIB = 256 if IS_FULL else 32
LONG_MIB = 4096 if IS_FULL else 256
MANY, MANY_MIB = (100, 64) if IS_FULL else (40, 6)
IDLE = 1000 if IS_FULL else 200
BEYOND_BUDGET_BYTES = 120 * MIB
"""What a worker takes beside its bodies: the interpreter, the libraries, what the requests need."""
PATIENCE_S = 600 if IS_FULL else 120

Scenario = Callable[[RawClient], None]


def send(client: RawClient, size_mib: int) -> None:
    """An upload in one PATCH, as fast as it is taken."""
    piece, path = body_of(MIB), client.new_upload(size_mib * MIB)
    with client.connect() as connection:
        connection.send_head("PATCH", path, patch_headers(0, size_mib * MIB))
        for _ in range(size_mib):
            connection.send(piece)
        assert connection.read_response(within_s=PATIENCE_S).status == 204


def one_long(client: RawClient) -> None:
    send(client, LONG_MIB)


def many_at_once(client: RawClient) -> None:
    with ThreadPoolExecutor(MANY) as pool:
        list(pool.map(lambda _: send(client, MANY_MIB), range(MANY)))


@contextmanager
def idle(client: RawClient, count: int, size: int) -> Iterator[list[str]]:
    """PATCHes that sent `size` bytes each and are silent since; their uploads."""
    body, paths = body_of(size), [client.new_upload(2 * size) for _ in range(count)]
    with ExitStack() as stack:
        for path in paths:
            stack.enter_context(client.begin_patch(path, 0, body, declared=2 * size))
        yield paths


@pytest.fixture
def patient(start_server: StartServer) -> ServerProcess:
    """A server on which silence lasts longer than any test."""
    return start_server(
        memory_budget=f"{BUDGET_MIB}MiB", network_timeout="1h", lease_ttl="10s", fresh=True
    )


def assert_flat(server: ServerProcess) -> None:
    peak = peak_bytes(server.pid)
    print(f"{peak / MIB:.0f} MiB at a budget of {BUDGET_MIB} MiB")  # noqa: T201 - for whoever measures
    assert peak <= BUDGET_MIB * MIB + BEYOND_BUDGET_BYTES


@pytest.mark.timeout(900)
@pytest.mark.parametrize("scenario", [one_long, many_at_once])
def test_the_worker_stays_flat(patient: ServerProcess, scenario: Scenario) -> None:
    scenario(RawClient(patient.client.address, timeout_s=PATIENCE_S))
    assert_flat(patient)


@pytest.mark.timeout(900)
def test_idle_bodies_leave_memory_for_redis(patient: ServerProcess, redis_view: RedisView) -> None:
    with idle(patient.client, IDLE, MIB) as paths:
        eventually(
            lambda: all(int(redis_view.record(id_of(path))["tail"]) == MIB for path in paths),
            within_s=PATIENCE_S,
            what="all bytes are durable",
        )
    assert_flat(patient)


def test_what_idle_bodies_hold_is_there_for_the_fast(start_server: StartServer) -> None:
    """Neither a checkpoint nor the end of the silence comes to its help."""
    server = start_server(
        memory_budget="20MiB", network_timeout="1h", checkpoint_interval="1h", lease_ttl="10s"
    )
    with idle(server.client, 50, MIB):
        send(server.client, 32)


def test_a_body_says_how_much_is_missing_of_each_of_its_parts(
    stores: StoreSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last part ends with the body; of all but the first, something has come by then. What a
    claim does with it: `tests/unit/test_budget.py`."""
    told: list[int] = []
    expect = Account.expect

    def noted(account: Account, missing: int) -> None:
        told.append(missing)
        expect(account, missing)

    monkeypatch.setattr(Account, "expect", noted)
    with served_alone(stores) as port:
        client = RawClient(("127.0.0.1", port))
        path = client.new_upload(4 * PART_BYTES)
        for offset, size in ((0, 2 * PART_BYTES + 2 * MIB), (2 * PART_BYTES + 2 * MIB, 6 * MIB)):
            client.patch(path, offset, body_of(size))
    first, second, end, rest, last = (missing for missing in told if missing)
    assert (first, rest) == (PART_BYTES, 3 * MIB)
    assert PART_BYTES - MIB <= second <= PART_BYTES
    assert 0 < end <= 2 * MIB
    assert 2 * MIB <= last <= 3 * MIB


def test_no_more_than_half_of_what_bodies_may_hold_is_on_its_way_to_s3(
    stores: StoreSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who waits meanwhile, and for how long: `tests/unit/test_budget.py`."""
    moving: list[int] = []
    send, sent = Account.send, Account.sent

    async def noted_send(account: Account, size: int) -> None:
        await send(account, size)
        moving.append(sum(moving[-1:]) + size)

    def noted_sent(account: Account, size: int, *, is_stored: bool) -> None:
        moving.append(sum(moving[-1:]) - size)
        sent(account, size, is_stored=is_stored)

    monkeypatch.setattr(Account, "send", noted_send)
    monkeypatch.setattr(Account, "sent", noted_sent)
    body = body_of(4 * PART_BYTES)
    with served_alone(stores, memory_budget="25MiB") as port, ThreadPoolExecutor(4) as pool:
        client = RawClient(("127.0.0.1", port))
        paths = [client.new_upload(len(body)) for _ in range(4)]
        answers = list(pool.map(lambda path: client.patch(path, 0, body).status, paths))
    assert answers == [204] * 4
    assert 0 < max(moving) <= 2 * PART_BYTES
    assert moving[-1] == 0


@pytest.mark.parametrize("uploads", [1, 8])
def test_two_parts_are_enough_for_any_number_of_uploads(
    start_server: StartServer, bucket: Bucket, redis_view: RedisView, uploads: int
) -> None:
    server = start_server(memory_budget="10MiB", lease_ttl="10s")
    client = RawClient(server.client.address, timeout_s=PATIENCE_S)
    world, body = World(server, bucket, redis_view), body_of(2 * PART_BYTES + 77 * KIB)

    def upload(_: int) -> str:
        path = client.new_upload(len(body))
        client.upload_from(path, body, [3 * MIB, len(body)])  # the second one begins with a tail
        return path

    with ThreadPoolExecutor(uploads) as pool:
        paths = list(pool.map(upload, range(uploads)))
    assert {world.object_of(path) == body for path in paths} == {True}


@pytest.fixture
def small(start_server: StartServer) -> ServerProcess:
    """A server whose memory holds two parts of 6 MiB, of a store that takes ten of them."""
    return start_server(memory_budget="12MiB", s3_parts_max="10")


def test_an_upload_that_needs_larger_parts_than_there_is_memory_for_is_413(
    small: ServerProcess,
) -> None:
    assert small.client.create(60 * MIB).status == 201
    refused = small.client.create(60 * MIB + 1)
    assert (refused.status, refused.code) == (413, "upload_too_large")
    assert f"{60 * MIB}" in refused.body.decode()
    told = small.client.request("OPTIONS", small.client.base_path).headers["Tus-Max-Size"]
    assert told == f"{60 * MIB}"


def test_an_upload_of_unknown_length_ends_where_its_parts_would_not_fit(
    small: ServerProcess,
) -> None:
    """With ten parts the size doubles after each: the second would have 10 MiB."""
    path = small.client.new_upload(None)
    assert small.client.patch(path, 0, body_of(PART_BYTES)).status == 204
    refused = small.client.patch(path, PART_BYTES, b"x")
    assert (refused.status, refused.code) == (413, "upload_too_large")


def test_an_idle_body_that_cannot_be_kept_yet_is_given_up_for_others(
    start_server: StartServer,
) -> None:
    """Its checksum has not been seen, so nothing of it may become durable."""
    server = start_server(memory_budget="10MiB", network_timeout="1h", lease_ttl="10s")
    path = server.client.new_upload(PART_BYTES)
    declared = patch_headers(0, PART_BYTES, {"Upload-Checksum": f"crc32 {zeros(4)}"})
    with server.client.connect() as waiting:
        waiting.send_head("PATCH", path, declared)
        waiting.send(body_of(PART_BYTES - 1))
        send(server.client, 32)
        given_up(waiting)
    assert server.client.offset_of(path) == 0


def zeros(count: int) -> str:
    return b64encode(bytes(count)).decode()


def given_up(connection: RawConnection) -> None:
    response = connection.read_response(within_s=PATIENCE_S)
    assert (response.status, response.code, response.offset) == (503, "server_busy", 0)
