"""Lesson 17: downloads hold no lease and cut nobody off, however many, long and slow they are."""

from __future__ import annotations

import time
from contextlib import ExitStack

from tests.conftest import StartServer
from tests.support.bodies import KIB, PART_BYTES, body_of
from tests.support.tus import id_of
from tests.support.world import World

BODY = body_of(2 * PART_BYTES + 1000)
READERS = 20


def test_lesson_17_parallel_slow_gets_of_one_upload_all_end_well(
    world: World, start_server: StartServer
) -> None:
    """They last longer than every timeout there is, other requests of the same upload come in
    between, and nothing in Redis says that anybody is reading."""
    server = start_server(over=world.stores, network_timeout="1s", s3_timeout="1s", lease_ttl="1s")
    path = server.client.new_upload(len(BODY))
    server.client.upload_from(path, BODY)
    keys = world.redis.keys(id_of(path))
    with ExitStack() as stack:
        readers = [stack.enter_context(server.client.connect()) for _ in range(READERS)]
        for reader in readers:
            reader.send_head("GET", path)
        got = [b""] * READERS
        until_s, took = time.monotonic() + 2.5, 4 * KIB
        while not all(is_whole(one) for one in got):
            for place, reader in enumerate(readers):
                if not is_whole(got[place]):
                    got[place] += reader.read_some(took)
            if time.monotonic() < until_s:
                assert server.client.head(path).offset == len(BODY)
                assert world.client.head(path).offset == len(BODY)
                assert world.redis.keys(id_of(path)) == keys
            else:
                took = 512 * KIB
    assert {one.endswith(BODY) for one in got} == {True}


def is_whole(answer: bytes) -> bool:
    """Whether it has as many bytes as it should have."""
    return len(answer) > len(BODY) and len(answer.partition(b"\r\n\r\n")[2]) == len(BODY)
