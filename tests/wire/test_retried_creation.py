"""A creation whose answer was lost is sent again, and makes no second upload."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.bodies import MIB, PART_BYTES, body_of
from tests.support.raw import RawResponse
from tests.support.server import ServerProcess
from tests.support.tus import OCTET_STREAM, TUS, RawClient, path_of
from tests.support.world import World

BODY = body_of(2 * PART_BYTES + 9)


def key(name: str) -> dict[str, str]:
    """A key of its own for each test."""
    return {"Idempotency-Key": f'"{name}-8e03978e-40d5-43e8"'}


@pytest.mark.parametrize("length", [None, 5, len(BODY)])
def test_the_same_request_gets_the_same_upload(client: RawClient, length: int | None) -> None:
    headers = key(f"same-{length}")
    first = client.create(length, metadata="filename Zg==", headers=headers)
    again = client.create(length, metadata="filename Zg==", headers=headers)
    assert path_of(again) == path_of(first)
    assert again.offset == 0


def test_its_true_offset_is_told(client: RawClient) -> None:
    path = path_of(client.create(len(BODY), headers=key("offset")))
    client.patch(path, 0, BODY[: MIB + 1])
    assert client.create(len(BODY), headers=key("offset")).offset == MIB + 1
    client.upload_from(path, BODY)
    assert client.create(len(BODY), headers=key("offset")).offset == len(BODY)


@pytest.mark.parametrize("sent", [1, PART_BYTES + 7, len(BODY)])
def test_the_first_bytes_are_stored_once(world: World, sent: int) -> None:
    """The first request's connection breaks before the answer; the second brings the body again."""
    headers = {
        **TUS,
        **key(f"bytes-{sent}"),
        "Upload-Length": f"{len(BODY)}",
        "Content-Type": OCTET_STREAM,
        "Content-Length": f"{sent}",
    }
    with world.client.connect() as connection:
        connection.send_head("POST", world.client.base_path, headers)
        connection.send(BODY[:sent])
        connection.reset()
    again = world.client.create(len(BODY), body=BODY[:sent], headers=key(f"bytes-{sent}"))
    path = path_of(again)
    assert 0 <= again.offset <= sent
    world.client.upload_from(path, BODY)
    assert world.object_of(path) == BODY


def test_a_repeated_empty_upload_is_one_object(world: World) -> None:
    before = set(world.bucket.keys(world.stores.object_prefix))
    paths = {path_of(world.client.create(0, headers=key("empty"))) for _ in range(3)}
    assert len(paths) == 1
    assert len(set(world.bucket.keys(world.stores.object_prefix)) - before) == 1


def test_another_process_knows_it(server: ServerProcess, second_server: ServerProcess) -> None:
    first = server.client.create(7, headers=key("process"))
    assert path_of(second_server.client.create(7, headers=key("process"))) == path_of(first)


def test_many_at_the_same_moment_get_one_upload(world: World, second_server: ServerProcess) -> None:
    clients = [world.client, second_server.client] * 8

    def create(client: RawClient) -> RawResponse:
        return client.create(9, headers=key("moment"))

    with ThreadPoolExecutor(len(clients)) as pool:
        paths = {path_of(response) for response in pool.map(create, clients)}
    assert len(paths) == 1
    [path] = paths
    world.client.delete(path)
    assert world.traces_of(path) == []


@pytest.mark.parametrize(
    ("length", "headers"),
    [
        (8, {}),
        (7, {"Upload-Metadata": "filename Zg=="}),
        (7, {"Authorization": "Bearer another"}),
        (7, {"Idempotency-Key": '"another-key-0123456789"'}),
    ],
)
def test_what_differs_is_another_upload(
    client: RawClient, length: int, headers: dict[str, str]
) -> None:
    first = path_of(client.create(7, headers=key("differs")))
    other = path_of(client.create(length, headers=key("differs") | headers))
    assert other != first
    assert client.head(first).headers["Upload-Length"] == "7"


def test_without_a_key_every_request_makes_an_upload(client: RawClient) -> None:
    assert path_of(client.create(7)) != path_of(client.create(7))


def test_what_was_terminated_is_made_anew(client: RawClient) -> None:
    first = path_of(client.create(7, headers=key("gone")))
    client.delete(first)
    second = path_of(client.create(7, headers=key("gone")))
    assert second != first
    assert path_of(client.create(7, headers=key("gone"))) == second


@pytest.mark.parametrize("value", ["", "short", '"0123456789abc', "ä" * 20, "a b" * 10, "x" * 256])
def test_a_key_that_could_be_guessed_or_is_none_is_refused(world: World, value: str) -> None:
    with world.unchanged():
        response = world.client.create(7, headers={"Idempotency-Key": value})
    assert (response.status, response.code) == (400, "invalid_header")


def test_pages_may_send_it(client: RawClient) -> None:
    preflight = {
        "Origin": "https://page.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "idempotency-key",
    }
    assert client.request("OPTIONS", client.base_path, preflight).status == 200
