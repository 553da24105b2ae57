"""Lesson 7: an upload of no bytes is an object too, and a body that is cut short is not lost."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.lessons.client import assert_ends_well, uploads_in
from tests.support.bodies import KIB, PART_BYTES, body_of
from tests.support.faults import Answer, Cut
from tests.support.raw import RawConnection
from tests.support.s3_calls import S3Call
from tests.support.s3_proxy import S3Proxy
from tests.support.tus import OCTET_STREAM, TUS, RawClient, path_of
from tests.support.waiting import eventually
from tests.support.world import World

LENGTH = 2 * PART_BYTES
BODY = body_of(LENGTH)
EMPTY = {"Upload-Length": "0"}


def declared_at_creation(client: RawClient) -> str:
    return path_of(client.create(0))


def created_with_an_empty_body(client: RawClient) -> str:
    return path_of(client.create(0, body=b""))


def created_with_an_empty_chunked_body(client: RawClient) -> str:
    fields = TUS | EMPTY | {"Content-Type": OCTET_STREAM}
    return path_of(client.request("POST", client.base_path, fields, chunks=[]))


def declared_by_a_patch(client: RawClient) -> str:
    path = client.new_upload(None)
    assert client.patch(path, 0, b"", EMPTY).status == 204
    return path


def declared_by_a_chunked_patch(client: RawClient) -> str:
    path = client.new_upload(None)
    assert client.patch_chunked(path, 0, [], EMPTY).status == 204
    return path


NOTHINGS = [
    declared_at_creation,
    created_with_an_empty_body,
    created_with_an_empty_chunked_body,
    declared_by_a_patch,
    declared_by_a_chunked_patch,
]


@pytest.mark.parametrize("make", NOTHINGS)
def test_lesson_07_an_upload_of_no_bytes_is_an_object(
    world: World, make: Callable[[RawClient], str]
) -> None:
    """An upload that turns out to have no bytes leaves an object of no bytes, and is whole."""
    path = make(world.client)
    # Before anything else is asked: HEAD would complete what is not.
    assert world.object_of(path) == b""
    head = world.client.head(path)
    assert (head.status, head.offset, head.headers["Upload-Length"]) == (200, 0, "0")


@pytest.mark.parametrize("fault", [Cut.BEFORE, Cut.AFTER, Answer(503)])
def test_lesson_07_an_empty_object_survives_a_bad_moment_of_s3(
    proxied: World, s3_proxy: S3Proxy, fault: Cut | Answer
) -> None:
    """The PUT of no bytes is repeated like any other."""
    rule = s3_proxy.fail(S3Call.PUT_OBJECT, fault)
    path = proxied.client.new_upload(0)
    assert rule.hits == 1
    assert proxied.object_of(path) == b""


def test_lesson_07_no_bytes_are_not_complete_without_their_object(
    proxied: World, s3_proxy: S3Proxy
) -> None:
    """While S3 cannot take the empty object, nobody is told that the upload is whole."""
    s3_proxy.fail(S3Call.PUT_OBJECT, Answer(500, "InternalError"), times=None)
    assert proxied.client.create(0).status == 503
    path = proxied.client.new_upload(None)
    assert proxied.client.patch(path, 0, b"", EMPTY).status == 503
    assert proxied.client.head(path).status == 423
    s3_proxy.rules.clear()
    assert proxied.client.head(path).offset == 0
    assert proxied.object_of(path) == b""


def by_fin(connection: RawConnection) -> None:
    connection.finish()


def by_closing(connection: RawConnection) -> None:
    connection.close()


def by_silence(_: RawConnection) -> None:
    """The client is gone and its connection does not say so."""


CUTS = [by_fin, by_closing, by_silence]
SENT = [1, PART_BYTES - 1, PART_BYTES, PART_BYTES + 100 * KIB]


@pytest.mark.parametrize("sent", SENT)
@pytest.mark.parametrize("cut", CUTS)
def test_lesson_07_what_arrived_of_a_patch_is_kept(
    world: World, cut: Callable[[RawConnection], None], sent: int
) -> None:
    """A PATCH whose client goes away in its middle leaves every byte the client had sent."""
    path = world.client.new_upload(LENGTH, body=BODY[:1000])
    piece = BODY[1000 : 1000 + sent]
    begun = world.client.begin_patch(path, 1000, piece, declared=LENGTH - 1000)
    with begun as connection:
        cut(connection)
        assert world.client.offset_of(path) == 1000 + sent
    assert_ends_well(world, path, BODY)


@pytest.mark.parametrize("sent", SENT[::2])
@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("length", [LENGTH, None])
def test_lesson_07_what_arrived_with_a_creation_is_kept(
    world: World, length: int | None, cut: Callable[[RawConnection], None], sent: int
) -> None:
    """A creation whose body is cut short is an upload with what came of it."""
    before = uploads_in(world)
    with world.client.connect() as connection:
        connection.send_head("POST", world.client.base_path, creation_headers(length))
        connection.send(BODY[:sent])
        (path,) = eventually(lambda: uploads_in(world) - before, what="the upload is there")
        cut(connection)
        assert world.client.offset_of(path) == sent
    assert_ends_well(world, path, BODY)


@pytest.mark.parametrize("sent", [1, PART_BYTES + 100 * KIB])
def test_lesson_07_a_creation_that_falls_silent_is_told_its_address(
    world: World, sent: int
) -> None:
    """The client that is still there can go on, because the answer says where and from which
    offset."""
    with world.client.connect() as connection:
        connection.send_head("POST", world.client.base_path, creation_headers(LENGTH))
        connection.send(BODY[:sent])
        created = connection.read_response("POST")
    assert created.offset == sent
    assert_ends_well(world, path_of(created), BODY)


def creation_headers(length: int | None) -> dict[str, str]:
    """A creation that announces the whole body."""
    declared = {"Upload-Defer-Length": "1"} if length is None else {"Upload-Length": f"{length}"}
    return TUS | declared | {"Content-Type": OCTET_STREAM, "Content-Length": f"{LENGTH}"}
