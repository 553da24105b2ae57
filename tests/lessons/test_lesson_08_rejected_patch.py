"""Lesson 8: a PATCH that is rejected changes nothing, and none of its bytes ever show up."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from tests.conftest import StartServer
from tests.lessons.client import assert_ends_well
from tests.support.bodies import KIB, PART_BYTES, body_of
from tests.support.raw import ConnectionEnded
from tests.support.tus import patch_headers
from tests.support.world import World

LENGTH = 2 * PART_BYTES
BODY = body_of(LENGTH)
INTRUDER = body_of(200 * KIB, seed=1)
"""The body of what is rejected: no byte of it may be in any object."""

AT = PART_BYTES + 1000
"""Where the upload stands: a part and a tail."""

REJECTIONS: dict[str, tuple[set[int], Mapping[str, str | None]]] = {
    "no version": ({412}, {"Tus-Resumable": None}),
    "unknown version": ({412}, {"Tus-Resumable": "0.2.2"}),
    "no type": ({415}, {"Content-Type": None}),
    "another type": ({415}, {"Content-Type": "application/octet-stream"}),
    "an offset before": ({409}, {"Upload-Offset": f"{AT - 1}"}),
    "the beginning": ({409}, {"Upload-Offset": "0"}),
    "an offset beyond": ({409}, {"Upload-Offset": f"{AT + 1}"}),
    "a body past the end": ({413}, {"Content-Length": f"{LENGTH}"}),
    "no offset": ({400}, {"Upload-Offset": None}),
    "a negative offset": ({400}, {"Upload-Offset": "-1"}),
    "an offset in words": ({400}, {"Upload-Offset": "zero"}),
    "an offset and a half": ({400}, {"Upload-Offset": f"{AT}.5"}),
    "another length": ({400}, {"Upload-Length": f"{LENGTH + 1}"}),
    "a length in words": ({400}, {"Upload-Length": "long"}),
    "a length in words, chunked": (
        {400},
        {"Upload-Length": "long", "Content-Length": None, "Transfer-Encoding": "chunked"},
    ),
}
"""What is wrong with a PATCH that would be right otherwise, and how that is answered."""


def wrong_headers(change: Mapping[str, str | None]) -> dict[str, str]:
    headers: dict[str, str | None] = {**patch_headers(AT, len(INTRUDER)), **change}
    return {name: value for name, value in headers.items() if value is not None}


@pytest.fixture(scope="module")
def standing(world: World) -> str:
    """An upload of a part and a tail; its path."""
    path = world.client.new_upload(LENGTH)
    world.client.upload_from(path, BODY[:AT])
    return path


@pytest.mark.parametrize("what", REJECTIONS)
def test_lesson_08_a_rejected_patch_changes_nothing(world: World, standing: str, what: str) -> None:
    """Whatever a PATCH is rejected for, what is stored is the same after it, though its body
    came along."""
    statuses, change = REJECTIONS[what]
    with world.unchanged(), world.client.connect() as connection:
        connection.send_head("PATCH", standing, wrong_headers(change))
        connection.send_until_closed(INTRUDER)
        response = connection.read_response()
        assert response.status in statuses, response
        assert world.client.offset_of(standing) == AT


@pytest.mark.parametrize("what", REJECTIONS)
def test_lesson_08_the_next_patch_is_not_glued_to_a_rejected_one(world: World, what: str) -> None:
    """A correct PATCH right behind a rejected one, on the same connection if it is kept, stores
    its own bytes and no others."""
    path = world.client.new_upload(None)
    world.client.upload_from(path, BODY[:1000])
    _, change = REJECTIONS[what]
    headers = wrong_headers({**change, "Content-Length": f"{len(INTRUDER)}"})
    if what == "a body past the end":
        headers["Upload-Length"] = "2000"
    elif what == "another length":
        headers["Upload-Length"] = "999"
    elif "Upload-Offset" not in change:
        headers["Upload-Offset"] = "1000"
    if "Transfer-Encoding" in headers:
        del headers["Content-Length"]
    piece = BODY[1000:2000]
    with world.client.connect() as connection:
        connection.send_head("PATCH", path, headers)
        if "Transfer-Encoding" in headers:
            connection.send_chunk(INTRUDER)
            connection.end_chunks()
        else:
            connection.send(INTRUDER)
        assert connection.read_response().status >= 400
        try:
            connection.send_head("PATCH", path, patch_headers(1000, len(piece)))
            connection.send(piece)
            response = connection.read_response()
        except (ConnectionEnded, OSError):
            response = world.client.patch(path, 1000, piece)
    assert (response.status, response.offset) == (204, 2000)
    assert_ends_well(world, path, BODY[:2000])


@pytest.mark.parametrize("what", REJECTIONS)
def test_lesson_08_a_client_that_asks_first_is_not_told_to_send(
    world: World, standing: str, what: str
) -> None:
    """A body that will be rejected is not asked for: no `100 Continue` goes out."""
    _, change = REJECTIONS[what]
    headers = wrong_headers(change) | {"Expect": "100-continue"}
    with world.client.connect() as connection:
        connection.send_head("PATCH", standing, headers)
        response = connection.read_response()
    assert response.status >= 400
    assert response.interim == ()


@pytest.mark.parametrize("what", REJECTIONS)
def test_lesson_08_a_rejected_patch_costs_a_running_one_no_byte(world: World, what: str) -> None:
    """What a PATCH in progress has received is kept, although a rejected one came between."""
    path = world.client.new_upload(LENGTH)
    world.client.upload_from(path, BODY[:AT])
    sent = BODY[AT : AT + 100 * KIB]
    with world.client.begin_patch(path, AT, sent, declared=LENGTH - AT):
        with world.client.connect() as connection:
            connection.send_head("PATCH", path, wrong_headers(REJECTIONS[what][1]))
            connection.send_until_closed(INTRUDER)
            # Where the running one ended, the rejected one is at a wrong offset as well.
            assert connection.read_response().status in REJECTIONS[what][0] | {409}
        assert world.client.offset_of(path) == AT + len(sent)
    assert_ends_well(world, path, BODY)


def test_lesson_08_a_length_over_the_maximum_is_not_remembered(
    world: World, start_server: StartServer
) -> None:
    """A declaration that is refused for its size leaves the upload without a length."""
    small = start_server(over=world.stores, max_size="10MiB")
    path = small.client.new_upload(None, body=BODY[:1000])
    with world.unchanged():
        headers = {"Upload-Length": f"{11 * 1024 * KIB}"}
        assert small.client.patch(path, 1000, INTRUDER, headers).status == 413
    assert "Upload-Length" not in small.client.head(path).headers
    assert_ends_well(world, path, BODY[:5000])
