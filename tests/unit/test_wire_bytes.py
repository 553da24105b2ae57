"""The parser of the tests by hand tolerates nothing: a response that breaks a rule fails them."""

from __future__ import annotations

import socket
from threading import Thread

import pytest

from tests.support.wire_bytes import Answer, Peer, Wire, chunk, octets

OK = b"HTTP/1.1 200 OK\r\nTus-Resumable: 1.0.0\r\n"
DONE = b"HTTP/1.1 204 No Content\r\nTus-Resumable: 1.0.0\r\n"
BAD = (
    b"HTTP/1.1 400 Bad Request\r\nTus-Resumable: 1.0.0\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\n"
)


def read(said: bytes, method: str = "POST") -> Answer:
    """What a test sees of a server that says this and closes."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        Wire(listener.getsockname(), timeout_s=5.0) as wire,
    ):
        server, _ = listener.accept()
        with server:
            server.sendall(said)
        return wire.read(method)


def test_what_keeps_the_rules_is_read() -> None:
    said = b"HTTP/1.1 100 Continue\r\n\r\n" + DONE + b"Upload-Offset:  7 \r\n\r\n"
    answer = read(said, "PATCH")
    assert (answer.status, answer.interim, answer.offset, answer.body) == (204, (100,), 7, b"")
    assert read(OK + b"Content-Length: 2\r\n\r\nab").body == b"ab"
    chunked = OK + b"Transfer-Encoding: chunked\r\n\r\n" + chunk(b"ab") + chunk(b"") + b"\r\n"
    assert read(chunked).body == b"ab"
    error = b"bad_thing: It is bad.\n"
    assert read(BAD + b"Content-Length: %d\r\n\r\n" % len(error) + error).code == "bad_thing"
    assert read(BAD + b"Content-Length: 22\r\n\r\n", "HEAD").status == 400


@pytest.mark.parametrize(
    "said",
    [
        DONE + b"Content-Length: 0\r\n\r\n",
        DONE + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\nContent-Length: 0\r\n\r\n" + DONE + b"\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        DONE.replace(b"1.0.0", b"1.0.1") + b"\r\n",
        DONE + b"Tus-Resumable: 1.0.0\r\n\r\n",
        DONE + b"vary: Origin\r\nVary: Origin\r\n\r\n",
        DONE + b"Upload-Offset : 7\r\n\r\n",
        DONE + b"X: a\r\n b\r\n\r\n",
        DONE + b"X: a\nY: b\r\n\r\n",
        DONE + b"X: \xe9\r\n\r\n",
        DONE.replace(b"1.1", b"1.0", 1) + b"\r\n",
        OK + b"\r\nab",
        OK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nab",
        OK + b"Content-Length: 3\r\n\r\nab",
        OK + b"Content-Length: +2\r\n\r\nab",
        OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n",
        BAD + b"Content-Length: 4\r\n\r\nbad\n",
        BAD + b"Content-Length: 6\r\n\r\n<html>",
        BAD.replace(b"text/plain", b"text/html") + b"Content-Length: 8\r\n\r\na: B cd.\n",
    ],
)
def test_what_breaks_one_fails(said: bytes) -> None:
    with pytest.raises(AssertionError):
        read(said)


def test_bytes_behind_a_response_fail() -> None:
    def serve(listener: socket.socket) -> None:
        server, _ = listener.accept()
        with server:
            server.sendall(DONE + b"\r\nHTTP/1.1")
            while server.recv(1000):
                pass  # a close with bytes unread would be a reset, and take the answer along

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = Thread(target=serve, args=[listener])
        thread.start()
        with pytest.raises(AssertionError, match=r"HTTP/1\.1"):
            Peer(listener.getsockname()).ask("DELETE / HTTP/1.1", "Host: tus")
        thread.join(5)


def test_a_head_is_its_lines_and_nothing_else() -> None:
    assert octets("GET / HTTP/1.1", "Host: x") == b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    assert chunk(b"a" * 16) == b"10\r\n" + b"a" * 16 + b"\r\n"
    assert chunk(b"") == b"0\r\n"
