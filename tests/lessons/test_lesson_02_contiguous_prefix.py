"""Lesson 2: parts upload side by side, and only those without a gap before them count."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from tests.conftest import StartServer
from tests.lessons.client import assert_ends_well
from tests.support.bodies import PART_BYTES, body_of
from tests.support.faults import Answer, Cut, Fault, Hold, Rule, Stage
from tests.support.raw import RawResponse
from tests.support.s3_calls import Call, S3Call
from tests.support.s3_proxy import S3Proxy
from tests.support.server import StoreSettings
from tests.support.stores import Bucket, RedisView
from tests.support.tus import id_of
from tests.support.world import World

PARTS = 5
BODY = body_of((PARTS - 1) * PART_BYTES + 1000)
WAYS: dict[str, Fault] = {
    "answers too late": Hold(Stage.AFTER),
    "refuses": Answer(500, "InternalError"),
    "stores it and hangs up": Cut.AFTER,
}
"""What S3 does with the part, every time it gets it."""


@dataclass(frozen=True, slots=True)
class Failed:
    """An upload of which one part could not be stored, as its PATCH and its HEAD showed it."""

    path: str
    response: RawResponse
    head: RawResponse
    stored: list[int]
    rule: Rule[Call]


Failures = dict[tuple[str, int], Failed]


@pytest.fixture(scope="module")
def hasty(
    through: StoreSettings, start_module_server: StartServer, bucket: Bucket, redis_view: RedisView
) -> World:
    """A server behind the proxies that does not wait for S3 for long."""
    return World(start_module_server(over=through, s3_timeout="3s"), bucket, redis_view)


@pytest.fixture(scope="module")
def failures(hasty: World, s3_proxy: S3Proxy) -> Failures:
    """Every part failing in every way, each on an upload of its own, for as long as it takes."""

    def fail(fault: Fault, number: int) -> Failed:
        path = hasty.client.new_upload(len(BODY))
        rule = s3_proxy.fail(
            S3Call.UPLOAD_PART, fault, times=None, key_part=id_of(path), part_number=number
        )
        response = hasty.client.patch(path, 0, BODY)
        return Failed(path, response, hasty.client.head(path), stored_parts(hasty, path), rule)

    # Few at a time: the parts that are not to fail must not be late themselves.
    with ThreadPoolExecutor(3) as pool:
        running = {
            (way, number): pool.submit(fail, fault, number)
            for way, fault in WAYS.items()
            for number in range(1, PARTS + 1)
        }
    s3_proxy.rules.clear()
    return {which: future.result() for which, future in running.items()}


def stored_parts(world: World, path: str) -> list[int]:
    """Numbers of the parts that S3 has."""
    uploads = world.bucket.multipart_uploads(world.key_of(path))
    return [number for upload in uploads for number, _ in world.bucket.parts(*upload) or ()]


@pytest.mark.parametrize("number", range(1, PARTS + 1))
@pytest.mark.parametrize("way", WAYS)
def test_lesson_02_a_failed_part_leaves_no_hole(
    world: World, failures: Failures, way: str, number: int
) -> None:
    """When one of several parts in flight fails, the offset ends within that part, however many
    behind it were stored; and the upload resumed from there has every byte."""
    failed = failures[way, number]
    assert failed.rule.hits > 0
    assert failed.response.status == 503, failed.response
    if failed.head.status == 200:
        assert (number - 1) * PART_BYTES <= failed.head.offset <= number * PART_BYTES
        assert failed.head.offset < len(BODY)
    else:
        # All bytes are there, the last ones outside S3; the upload is not whole all the same.
        assert (failed.head.status, number) == (423, PARTS)
    assert_ends_well(world, failed.path, BODY)


@pytest.mark.parametrize("way", WAYS)
def test_lesson_02_there_was_something_behind_the_hole(failures: Failures, way: str) -> None:
    """What the test above rests on: parts behind the failed one did arrive."""
    behind = [
        part
        for number in range(1, PARTS + 1)
        for part in failures[way, number].stored
        if part > number
    ]
    assert behind
