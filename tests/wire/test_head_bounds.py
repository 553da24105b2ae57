"""What is not a body is bounded in size, whoever sends it and however slowly."""

from __future__ import annotations

import pytest

from tests.support.raw import RawConnection
from tests.support.server import ServerProcess
from tests.support.tus import RawClient, patch_headers
from tusd_s3.serving.refusals import HEAD_MAX_BYTES

FILLER = b"X-Filler: " + b"x" * 1000 + b"\r\n"
MANY = 100 * HEAD_MAX_BYTES
READ_AT_ONCE_MAX = 256 * 1024


def refused_after(connection: RawConnection, start: bytes, repeated: bytes) -> int:
    """Bytes the server let us send before it closed the connection."""
    connection.send(start)
    return connection.send_until_closed(repeated * (MANY // len(repeated)))


@pytest.mark.parametrize(
    ("start", "repeated"),
    [
        (b"PATCH /files/x HTTP/1.1\r\nHost: a\r\n", FILLER),
        (b"PATCH /files/x HTTP/1.1\r\nHost: a\r\nX-Endless: ", b"x" * 1000),
        (b"PATCH /files/", b"x" * 1000),
        (b"PATCH /files/x HTTP/1.1\r\nX", b"y" * 1000),
    ],
    ids=["many headers", "one endless value", "endless path", "endless name"],
)
def test_a_head_without_end_is_cut_off(client: RawClient, start: bytes, repeated: bytes) -> None:
    with client.connect() as connection:
        assert refused_after(connection, start, repeated) < MANY


def test_a_head_that_is_too_long_is_431(client: RawClient) -> None:
    with client.connect() as connection:
        connection.send(b"POST /files/ HTTP/1.1\r\nHost: a\r\n")
        # All in one go would be read at once; the excess must come while the head is incomplete.
        connection.send(FILLER * (HEAD_MAX_BYTES // len(FILLER) + 2))
        assert connection.read_response("POST").status == 431


def test_trailers_without_end_are_cut_off(server: ServerProcess) -> None:
    client = server.client
    path = client.new_upload(10)
    with client.connect() as connection:
        connection.send_head("PATCH", path, patch_headers(0, None))
        connection.send_chunk(b"abc")
        assert refused_after(connection, b"0\r\n", FILLER) < MANY
    assert client.offset_of(path) in (0, 3)


def test_a_long_body_in_small_pieces_is_no_long_head(client: RawClient) -> None:
    size = 4 * HEAD_MAX_BYTES
    path = client.new_upload(size)
    response = client.patch_chunked(path, 0, [b"x" * 64] * (size // 64))
    assert (response.status, response.offset) == (204, size)


def test_many_requests_on_one_connection_are_no_long_head(client: RawClient) -> None:
    with client.connect() as connection:
        for _ in range(100):
            connection.send_head("OPTIONS", client.base_path, {"X-Filler": "x" * 4000})
            assert connection.read_response("OPTIONS").status == 204


@pytest.mark.parametrize("method", ["OPTIONS", "HEAD", "PATCH"])
def test_a_client_that_closes_its_sending_side_gets_its_response(
    client: RawClient, method: str
) -> None:
    path = client.new_upload(3)
    with client.connect() as connection:
        if method == "PATCH":
            connection.send_head(method, path, patch_headers(0, 3))
            connection.send(b"abc")
        else:
            connection.send_head(method, path, {"Tus-Resumable": "1.0.0"})
        connection.finish()
        assert connection.read_response(method).status in {200, 204}
        assert connection.read_until_closed() == b""


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"NONSENSE\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /files/ HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
        b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
)
def test_what_is_not_http_is_400_in_the_form_of_all_errors(
    client: RawClient, request_bytes: bytes
) -> None:
    with client.connect() as connection:
        connection.send(request_bytes)
        response = connection.read_response("POST")
        assert (response.status, response.code) == (400, "bad_request")
        assert response.headers["Tus-Resumable"] == "1.0.0"


def test_a_body_whose_framing_breaks_keeps_what_came_before(client: RawClient) -> None:
    path = client.new_upload(10)
    with client.connect() as connection:
        connection.send_head("PATCH", path, patch_headers(0, None))
        connection.send_chunk(b"abc")
        connection.assert_silent_for(0.3)
        connection.send(b"not a chunk size\r\n")
        assert connection.read_response("PATCH").status == 400
    assert client.offset_of(path) == 3
