"""Lesson 13: a store that hangs makes those wait who need it, and nobody else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.conftest import StartServer
from tests.lessons.conftest import PATIENT
from tests.support.bodies import PART_BYTES, body_of
from tests.support.faults import Hold
from tests.support.redis_proxy import RedisProxy
from tests.support.s3_proxy import S3Proxy
from tests.support.server import StoreSettings
from tests.support.stores import Bucket, RedisView
from tests.support.tus import TUS, id_of, patch_headers
from tests.support.waiting import Stopwatch, eventually
from tests.support.world import World

LENGTH = 2 * PART_BYTES
BODY = body_of(LENGTH)
PROMPT_S = 2.0
"""What nobody has to wait for takes milliseconds; what hangs here does so for as long as it may."""


@pytest.fixture(scope="module")
def patient(
    through: StoreSettings, start_module_server: StartServer, bucket: Bucket, redis_view: RedisView
) -> World:
    """A server behind the proxies which waits for a minute."""
    return World(start_module_server(over=through, **PATIENT), bucket, redis_view)


@contextmanager
def promptly() -> Iterator[None]:
    """Fail if the block takes long."""
    watch = Stopwatch()
    yield
    assert watch.elapsed_s < PROMPT_S


def assert_others_go_on(world: World, other: str) -> None:
    """For a while, everything that does not need what hangs is answered at once. other: an upload
    of 1000 bytes so far."""
    watch = Stopwatch()
    while watch.elapsed_s < 1.0:
        with promptly():
            assert world.client.request("OPTIONS", "/files/", TUS).status == 204
        with promptly():
            assert world.client.head(other).offset == 1000
        with promptly():
            path = world.client.new_upload(LENGTH, body=b"abc")
        with promptly():
            assert world.client.patch(path, 3, b"def").offset == 6
        with promptly():
            assert world.client.head(path).offset == 6


def test_lesson_13_a_hanging_s3_stops_only_those_who_need_it(
    patient: World, s3_proxy: S3Proxy
) -> None:
    """While a part, a small object and a look for an unknown upload hang in S3, everything else
    is answered promptly, and afterwards they all end as they should."""
    other = patient.client.new_upload(LENGTH, body=BODY[:1000])
    large, small = patient.client.new_upload(LENGTH), patient.client.new_upload(1000)
    hold = Hold()
    rule = s3_proxy.rules.add(lambda call: bool(call.key), hold, nth=1, times=None)
    with (
        patient.client.begin_patch(large, 0, BODY, declared=LENGTH) as first,
        patient.client.begin_patch(small, 0, BODY[:1000], declared=1000) as second,
        patient.client.connect() as third,
    ):
        third.send_head("HEAD", "/files/" + "A" * 22, TUS)
        hold.wait_until_reached()
        assert_others_go_on(patient, other)
        assert rule.hits == 3
        s3_proxy.rules.clear()
        assert (first.read_response().offset, second.read_response().offset) == (LENGTH, 1000)
        assert third.read_response("HEAD").status == 404
    assert patient.object_of(large) == BODY
    assert patient.object_of(small) == BODY[:1000]


def test_lesson_13_a_hanging_redis_stops_only_those_who_need_it(
    patient: World, redis_proxy: RedisProxy
) -> None:
    """While Redis does not answer for two uploads, the others are as quick as ever."""
    other = patient.client.new_upload(LENGTH, body=BODY[:1000])
    stuck, asked = patient.client.new_upload(1000), patient.client.new_upload(1000)

    def is_stuck(command: list[str]) -> bool:
        return any(id_of(path) in word for path in (stuck, asked) for word in command)

    hold = Hold()
    rule = redis_proxy.rules.add(is_stuck, hold, nth=1, times=None)
    with (
        patient.client.begin_patch(stuck, 0, BODY[:1000], declared=1000) as first,
        patient.client.connect() as second,
    ):
        hold.wait_until_reached()  # so that the two do not go out in one write
        second.send_head("HEAD", asked, TUS)
        eventually(lambda: rule.hits == 2, what="both are held")
        assert_others_go_on(patient, other)
        assert rule.hits == 2
        redis_proxy.rules.clear()
        assert first.read_response().offset == 1000
        assert second.read_response("HEAD").offset == 0
    assert patient.object_of(stuck) == BODY[:1000]


def test_lesson_13_without_any_answer_from_redis_the_rest_of_the_server_lives(
    patient: World, redis_proxy: RedisProxy
) -> None:
    """With all of Redis hanging, what needs no state is answered promptly, and what waits for it
    goes on when it is back."""
    path = patient.client.new_upload(1000)
    hold = Hold()
    redis_proxy.rules.add(lambda _: True, hold, nth=1, times=None)
    with patient.client.connect() as first, patient.client.connect() as second:
        first.send_head("HEAD", path, TUS)
        hold.wait_until_reached()
        second.send_head("PATCH", path, patch_headers(0, 3))
        second.send(b"abc")
        for _ in range(3):
            with promptly():
                assert patient.client.request("OPTIONS", "/files/", TUS).status == 204
            with promptly():
                assert patient.client.request("GET", "/elsewhere", TUS).status == 404
            with promptly():
                assert patient.client.request("POST", "/files/", TUS).status == 400
        second.assert_silent_for(0.01)
        redis_proxy.rules.clear()
        assert first.read_response("HEAD").status in {200, 423}
        assert second.read_response().status in {204, 423, 503}
