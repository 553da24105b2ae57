"""Lesson 6: however a deferred length is declared, the bytes that wait are part of the object."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import pytest

from tests.lessons.client import assert_ends_well
from tests.support.bodies import PART_BYTES, body_of, pieces
from tests.support.faults import Answer, Cut
from tests.support.raw import RawResponse
from tests.support.redis_proxy import RedisProxy
from tests.support.s3_calls import S3Call
from tests.support.s3_proxy import S3Proxy
from tests.support.server import ServerProcess
from tests.support.tus import OCTET_STREAM, TUS, RawClient, path_of
from tests.support.world import World

WAITING = [1, 100_000, PART_BYTES - 1, PART_BYTES, PART_BYTES + 1, 2 * PART_BYTES + 100_000]
"""Bytes that are there before the length is: as a tail, a part, parts and a tail."""

LAST = 5
Finish = Callable[[RawClient, str, bytes, int], RawResponse]


def declared(length: int) -> dict[str, str]:
    return {"Upload-Length": f"{length}"}


def with_the_last_bytes(client: RawClient, path: str, body: bytes, at: int) -> RawResponse:
    return client.patch(path, at, body[at:], declared(len(body)))


def with_a_chunked_body(client: RawClient, path: str, body: bytes, at: int) -> RawResponse:
    return client.patch_chunked(path, at, [body[at:]], declared(len(body)))


def before_the_last_bytes(client: RawClient, path: str, body: bytes, at: int) -> RawResponse:
    assert client.patch(path, at, b"", declared(len(body))).status == 204
    return client.patch(path, at, body[at:])


def after_the_last_bytes(client: RawClient, path: str, body: bytes, at: int) -> RawResponse:
    assert client.patch(path, at, body[at:]).status == 204
    return client.patch(path, len(body), b"", declared(len(body)))


def on_every_patch(client: RawClient, path: str, body: bytes, at: int) -> RawResponse:
    answers = [
        client.patch(path, at + offset, piece, declared(len(body)))
        for offset, piece in pieces(body[at:], [2])
    ]
    return answers[-1]


def with_a_part_more(client: RawClient, path: str, body: bytes, at: int) -> RawResponse:
    # What waits becomes the beginning of a part, and what is left the last one.
    assert client.patch(path, at, body[at:-1], declared(len(body))).offset == len(body) - 1
    return client.patch(path, len(body) - 1, body[-1:])


FINISHES: list[tuple[Finish, int]] = [
    (with_the_last_bytes, LAST),
    (with_a_chunked_body, LAST),
    (before_the_last_bytes, LAST),
    (after_the_last_bytes, LAST),
    (after_the_last_bytes, 0),
    (on_every_patch, LAST),
    (with_a_part_more, PART_BYTES),
]


def in_the_creation(client: RawClient, body: bytes) -> str:
    """One POST brings all the bytes, with a Content-Length."""
    return client.new_upload(None, body=body)


def in_a_chunked_creation(client: RawClient, body: bytes) -> str:
    """One POST brings them without saying how many they are."""
    fields = TUS | {"Upload-Defer-Length": "1", "Content-Type": OCTET_STREAM}
    chunks = [piece for _, piece in pieces(body, [700_001])]
    return path_of(client.request("POST", client.base_path, fields, chunks=chunks))


def in_patches(client: RawClient, body: bytes) -> str:
    """Several PATCHes bring them."""
    path = client.new_upload(None)
    client.upload_from(path, body, [2_000_003])
    return path


BRINGS: list[Callable[[RawClient, bytes], str]] = [
    in_the_creation,
    in_a_chunked_creation,
    in_patches,
]
CASES = [
    # Seven finishes and three bringers, in turn: each amount that waits meets every bringer.
    (waiting, *finish, BRINGS[turn % len(BRINGS)])
    for turn, (waiting, finish) in enumerate(product(WAITING, FINISHES))
]


@pytest.mark.parametrize(("waiting", "finish", "more", "bring"), CASES)
def test_lesson_06_no_waiting_byte_is_dropped(
    world: World,
    second_server: ServerProcess,
    waiting: int,
    finish: Finish,
    more: int,
    bring: Callable[[RawClient, bytes], str],
) -> None:
    """Bytes wait, whoever brought them; another process learns the length, in whatever way: the
    upload completes, and its object has every byte."""
    body = body_of(waiting + more)
    path = bring(world.client, body[:waiting])
    assert second_server.client.offset_of(path) == waiting
    response = finish(second_server.client, path, body, waiting)
    assert (response.status, response.offset) == (204, len(body))
    head = world.client.head(path)
    assert (head.offset, head.headers["Upload-Length"]) == (len(body), f"{len(body)}")
    assert world.object_of(path) == body


@pytest.mark.parametrize("waiting", [1000, PART_BYTES + 1000])
@pytest.mark.parametrize("cut", Cut)
@pytest.mark.parametrize("nth", [1, 2, 3])
def test_lesson_06_a_declaration_that_redis_loses_can_be_made_again(
    proxied: World, redis_proxy: RedisProxy, waiting: int, cut: Cut, nth: int
) -> None:
    """Whichever step of the declaration is lost, or its answer: the upload completes once its
    client tries again."""
    body = body_of(waiting)
    path = proxied.client.new_upload(None, body=body)
    rule = redis_proxy.fail("EVALSHA", cut, nth=nth)
    proxied.client.patch(path, waiting, b"", declared(waiting))
    redis_proxy.rules.clear()
    assert rule.hits == 1 or nth == 3
    assert_ends_well(proxied, path, body)


@pytest.mark.parametrize("waiting", [1000, PART_BYTES + 1000])
def test_lesson_06_a_declaration_that_s3_cannot_follow_is_kept(
    proxied: World, s3_proxy: S3Proxy, waiting: int
) -> None:
    """The length is known and S3 is not there: the next HEAD completes the upload."""
    body = body_of(waiting)
    path = proxied.client.new_upload(None, body=body)
    for kind in (S3Call.PUT_OBJECT, S3Call.UPLOAD_PART, S3Call.COMPLETE_MULTIPART):
        s3_proxy.fail(kind, Answer(500, "InternalError"), times=None)
    assert proxied.client.patch(path, waiting, b"", declared(waiting)).status == 503
    assert proxied.client.head(path).status in {200, 423}
    s3_proxy.rules.clear()
    assert_ends_well(proxied, path, body)
