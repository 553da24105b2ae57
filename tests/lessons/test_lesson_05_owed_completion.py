"""Lesson 5: an upload that has all its bytes becomes an object, whoever died on the way."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import product

import pytest

from tests.conftest import StartServer
from tests.lessons.client import assert_ends_well
from tests.lessons.conftest import PATIENT
from tests.support.bodies import PART_BYTES, body_of
from tests.support.faults import Hold, Stage
from tests.support.raw import RawResponse
from tests.support.s3_calls import S3Call
from tests.support.s3_proxy import S3Proxy
from tests.support.server import ServerProcess, StoreSettings
from tests.support.tus import RawClient, id_of, patch_headers
from tests.support.waiting import eventually
from tests.support.world import World

LENGTH = PART_BYTES + 1000
BODY = body_of(LENGTH)


def by_head(client: RawClient, path: str) -> RawResponse:
    return client.head(path)


def by_empty_patch(client: RawClient, path: str) -> RawResponse:
    return client.patch(path, LENGTH, b"")


def by_declaring_patch(client: RawClient, path: str) -> RawResponse:
    return client.patch(path, LENGTH, b"", {"Upload-Length": f"{LENGTH}"})


DRIVERS = [by_head, by_empty_patch, by_declaring_patch]
Driver = Callable[[RawClient, str], RawResponse]


@dataclass(frozen=True, slots=True)
class Owed:
    """How an upload comes to have its bytes and no object."""

    acknowledged: int
    deferred: bool
    stage: Stage


KINDS = [
    Owed(acknowledged, deferred, stage)
    for acknowledged in (0, LENGTH - 1)
    for deferred in (False, True)
    for stage in Stage
]


@dataclass(frozen=True, slots=True)
class Uploads:
    """Uploads of each kind: one for each driver, and one that nobody asks for."""

    driven: dict[tuple[Owed, Driver], str]
    alone: list[str]


@pytest.fixture(scope="module")
def owed(
    world: World, through: StoreSettings, start_module_server: StartServer, s3_proxy: S3Proxy
) -> Uploads:
    """All of them were at the completion when their process died, which S3 had carried out or had
    not seen. What it had not seen never comes."""
    doomed = start_module_server(over=through, **PATIENT)

    def begin(stack: ExitStack, kind: Owed) -> str:
        path = world.client.new_upload(None if kind.deferred else LENGTH)
        world.client.upload_from(path, BODY[: kind.acknowledged])
        hold = Hold(kind.stage)
        s3_proxy.fail(S3Call.COMPLETE_MULTIPART, hold, key_part=id_of(path))
        rest = BODY[kind.acknowledged :]
        headers = {"Upload-Length": f"{LENGTH}"} if kind.deferred else {}
        connection = stack.enter_context(doomed.client.connect())
        connection.send_head("PATCH", path, patch_headers(kind.acknowledged, len(rest), headers))
        connection.send(rest)
        hold.wait_until_reached()
        return path

    with ExitStack() as stack:
        driven: dict[tuple[Owed, Driver], str] = {
            (kind, driver): begin(stack, kind) for kind in KINDS for driver in DRIVERS
        }
        alone = [begin(stack, kind) for kind in KINDS]
        doomed.kill()
    s3_proxy.cut_all()
    return Uploads(driven, alone)


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_lesson_05_whoever_comes_next_completes_it(
    world: World, owed: Uploads, kind: Owed, driver: Driver
) -> None:
    """After a crash between the last part and the completion, the next HEAD or empty PATCH says
    that the upload is whole, and from then on it is an object."""
    path = owed.driven[kind, driver]
    if kind.stage is Stage.BEFORE:
        assert world.bucket.get(world.key_of(path)) is None
    response = eventually(
        lambda: answer if (answer := driver(world.client, path)).status != 423 else None,
        what="nobody holds the upload",
    )
    assert response.status in {200, 204}, response
    assert response.offset == LENGTH
    assert world.object_of(path) == BODY


def test_lesson_05_the_clean_up_completes_it_when_nobody_comes(
    world: World, owed: Uploads, start_server: StartServer
) -> None:
    """An upload whose client was content and whose process died becomes an object all the same,
    without any request for it."""
    start_server(over=world.stores, cleanup_interval="1s")
    keys = [world.key_of(path) for path in owed.alone]

    def are_objects() -> bool:
        assert [key for key in keys if world.bucket.get(key) is None] == []
        assert [key for key in keys if world.bucket.multipart_uploads(key)] == []
        return True

    eventually(are_objects, within_s=30, what="all of them are objects, and nothing else")
    for path in owed.alone:
        assert world.object_of(path) == BODY
        assert world.client.head(path).offset == LENGTH


def test_lesson_05_an_upload_of_one_put_is_finished_too(
    world: World, held_server: ServerProcess, s3_proxy: S3Proxy
) -> None:
    """The same for an upload that is one object without parts: its client sends what HEAD says is
    missing, and the object is there, whether or not the dead process's PUT ever arrives."""
    uploads: list[tuple[str, int]] = []
    with ExitStack() as stack:
        for stage, length in product(Stage, (1000, PART_BYTES)):
            path = world.client.new_upload(length)
            world.client.upload_from(path, BODY[: length // 2])
            hold = Hold(stage)
            s3_proxy.fail(S3Call.PUT_OBJECT, hold, key_part=id_of(path))
            rest = BODY[length // 2 : length]
            stack.enter_context(
                held_server.client.begin_patch(path, length // 2, rest, declared=len(rest))
            )
            hold.wait_until_reached()
            uploads.append((path, length))
        held_server.kill()
    for path, length in uploads:
        assert world.client.offset_of(path) >= length // 2
    s3_proxy.rules.clear()
    for path, length in uploads:
        assert_ends_well(world, path, BODY[:length])
