"""What stands before, between and behind requests on a connection: whatever it is, a request that
was carried out gets its own answer, and one that was not changes nothing."""

from __future__ import annotations

import pytest

from tests.support.bodies import KIB
from tests.support.raw import RawConnection
from tests.support.tus import TUS, RawClient, patch_headers, path_of
from tests.support.world import World

OFFER = b"OPTIONS /files/ HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
OFFERS = 1500
"""More than Python lets functions call themselves."""

JUNK = b"\0\0\0\r\n\r\n"


@pytest.mark.parametrize("method", ["OPTIONS", "HEAD", "POST", "PATCH", "DELETE", "GET"])
@pytest.mark.parametrize("target", ["/files/", "/files/AAAAAAAAAAAAAAAAAAAAAA", "/elsewhere"])
def test_a_length_of_many_zeros_is_no_defect(world: World, method: str, target: str) -> None:
    zeros = {"Content-Length": "0" * 2 * KIB}
    with world.unchanged():
        response = world.client.request(method, target, TUS | zeros)
        assert response.status < 500, response


def test_a_length_of_some_zeros_is_none(client: RawClient) -> None:
    headers = {**TUS, "Upload-Length": "3", "Content-Length": "000"}
    assert client.request("POST", client.base_path, headers).status == 201


def test_a_patch_with_more_than_it_announced_gets_its_own_answer(client: RawClient) -> None:
    path = client.new_upload(10)
    with client.connect() as connection:
        connection.send(connection.head_bytes("PATCH", path, patch_headers(0, 5)) + b"abcdefg")
        response = connection.read_response()
        assert (response.status, response.offset) == (204, 5)
        connection.read_until_closed()
    assert client.offset_of(path) == 5


@pytest.mark.parametrize("method", ["DELETE", "HEAD"])
def test_so_does_every_request_with_junk_behind_it(client: RawClient, method: str) -> None:
    path = client.new_upload(10)
    with client.connect() as connection:
        connection.send(connection.head_bytes(method, path, TUS) + JUNK)
        assert connection.read_response(method).status == (204 if method == "DELETE" else 200)
        connection.read_until_closed()
    assert client.head(path).status == (404 if method == "DELETE" else 200)


def test_a_creation_with_junk_behind_it_says_where_the_upload_is(client: RawClient) -> None:
    headers = {**TUS, "Upload-Length": "5", "Content-Length": "0"}
    with client.connect() as connection:
        connection.send(connection.head_bytes("POST", client.base_path, headers) + JUNK)
        response = connection.read_response("POST")
    assert response.status == 201
    assert client.offset_of(path_of(response)) == 0


def test_any_number_of_offers_in_one_go_is_declined_and_answered(client: RawClient) -> None:
    with client.connect() as connection:
        connection.send(OFFER * OFFERS)
        for _ in range(OFFERS):
            assert connection.read_response("OPTIONS").status == 204


def test_a_connection_that_declined_an_offer_is_closed_when_asked(client: RawClient) -> None:
    """As any other is, without a word about what still comes."""
    with client.connect() as connection:
        connection.send(OFFER)
        assert connection.read_response("OPTIONS").status == 204
        closing = connection.head_bytes("OPTIONS", "/files/", {"Connection": "close"})
        connection.send(closing + closing)
        assert connection.read_response("OPTIONS").status == 204
        assert _is_over(connection)


def _is_over(connection: RawConnection) -> bool:
    return connection.read_until_closed() == b""
