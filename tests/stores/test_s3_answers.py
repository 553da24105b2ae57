"""What is an answer and what is none, in whatever pieces it comes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tusd_s3.stores.s3.answers import ANSWER_MAX_BYTES, Answer, AnswerReader, ExchangeError

STORED = b'HTTP/1.1 200 OK\r\nX-Empty:\r\nETag: "abc"\r\nContent-Length: 0\r\n\r\n'
REFUSED = b"HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n<E>\r\n4\r\n</E>\r\n0\r\n\r\n"
INTERIM = b"HTTP/1.1 100 Continue\r\nX-A: 1\r\n\r\nHTTP/1.1 102 P\r\n\r\n"


def read(*pieces: bytes) -> Answer | None:
    reader = AnswerReader()
    answer = None
    for piece in pieces:
        assert answer is None
        answer = reader.feed(piece)
    return answer


@pytest.mark.parametrize("raw", [STORED, REFUSED, INTERIM + STORED])
def test_an_answer_is_the_same_in_any_two_pieces_and_byte_by_byte(raw: bytes) -> None:
    whole = read(raw)
    assert whole is not None
    assert whole.is_framed
    assert whole.keeps_alive
    assert all(read(raw[:at], raw[at:]) == whole for at in range(1, len(raw)))
    assert read(*(raw[at : at + 1] for at in range(len(raw)))) == whole


def test_an_answer_has_status_headers_and_body() -> None:
    stored, refused = read(INTERIM + STORED), read(REFUSED)
    assert stored is not None
    assert refused is not None
    assert (stored.status, stored.body) == (200, b"")
    assert stored.headers == {"x-empty": "", "etag": '"abc"', "content-length": "0"}
    assert (refused.status, refused.body) == (403, b"<E></E>")


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    ],
)
def test_after_some_answers_the_connection_ends(raw: bytes) -> None:
    answer = read(raw)
    assert answer is not None
    assert not answer.keeps_alive


def test_an_answer_without_a_length_ends_with_its_connection() -> None:
    reader = AnswerReader()
    assert reader.feed(b"HTTP/1.1 500 Oh\r\nETag: x\r\n\r\n<Error>") is None
    answer = reader.end()
    assert answer is not None
    assert (answer.status, answer.body) == (500, b"<Error>")
    assert not answer.is_framed
    assert not answer.keeps_alive


@pytest.mark.parametrize("at", range(1, len(STORED)))
def test_an_answer_that_was_cut_short_is_none(at: int) -> None:
    reader = AnswerReader()
    assert reader.feed(STORED[:at]) is None
    assert reader.end() is None


def test_a_body_that_was_cut_short_is_no_answer() -> None:
    reader = AnswerReader()
    assert reader.feed(b"HTTP/1.1 200 OK\r\nETag: x\r\nContent-Length: 2\r\n\r\n1") is None
    assert reader.end() is None


@pytest.mark.parametrize("more", [b"x", STORED, b"\r\n0"])
def test_what_comes_behind_an_answer_is_noticed(more: bytes) -> None:
    reader = AnswerReader()
    answer = reader.feed(STORED + more)
    assert answer == read(STORED)
    assert reader.has_surplus


@pytest.mark.parametrize(
    "raw",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: " + b"b" * ANSWER_MAX_BYTES + b"\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * (ANSWER_MAX_BYTES // 20),
        STORED.replace(b": 0", b": %d" % ANSWER_MAX_BYTES) + bytes(ANSWER_MAX_BYTES),
    ],
    ids=range(8),
)
def test_what_is_no_answer_or_too_long_is_refused(raw: bytes) -> None:
    with pytest.raises(ExchangeError):
        read(*(raw[at : at + 1000] for at in range(0, len(raw), 1000)))


@given(st.binary(max_size=200), st.integers(0, 60))
def test_no_bytes_do_anything_else(noise: bytes, kept: int) -> None:
    reader = AnswerReader()
    try:
        answer = reader.feed(STORED[:kept] + noise)
    except ExchangeError:
        return
    assert answer is None or answer.status >= 200
