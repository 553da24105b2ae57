"""What every answer must be, whatever was asked.

The headers of the server are few, and each has a grammar: what is not in it is no header of ours,
so nothing of a request can get through into a response.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from tests.fuzz.addresses import ADDRESS
from tests.fuzz.exchange import Reply
from tests.fuzz.messages import Message
from tusd_s3.errors import UploadError

METADATA = "filename c29tZSBuYW1lLmJpbg==,empty"
"""Of the uploads under test: the only text of a client that a response repeats."""

EXPLAINED = {"body_timed_out": 503}
"""Server errors that an input can bring about by itself: a body that is announced and not sent."""

_DATE = r"[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9:]{8} GMT"
_LIST = r"[A-Za-z0-9-]+(?:, ?[A-Za-z0-9-]+)*"
_GRAMMAR = {
    "tus-resumable": r"1\.0\.0",
    "tus-version": r"1\.0\.0",
    "tus-extension": r"[a-z-]+(?:,[a-z-]+)*",
    "tus-checksum-algorithm": r"[a-z0-9]+(?:,[a-z0-9]+)*",
    "tus-max-size": r"[0-9]{1,18}",
    "location": rf"{ADDRESS.pattern}/[A-Za-z0-9_-]{{22}}",
    "upload-offset": r"[0-9]{1,18}",
    "upload-length": r"[0-9]{1,18}",
    "upload-defer-length": r"1",
    "upload-metadata": re.escape(METADATA),
    "upload-expires": _DATE,
    "date": _DATE,
    "allow": _LIST,
    "cache-control": r"no-store",
    "connection": r"close",
    "content-length": r"[0-9]{1,18}",
    "content-type": r"text/plain; charset=utf-8",
    "transfer-encoding": r"chunked",
    "vary": _LIST,
    "x-content-type-options": r"nosniff",
    "access-control-allow-origin": r"\*|[!-~]+",
    "access-control-allow-methods": _LIST,
    "access-control-allow-headers": _LIST,
    "access-control-expose-headers": _LIST,
    "access-control-max-age": r"[0-9]+",
}
_STATUS_LINE = re.compile(r"HTTP/1\.1 ([1-5][0-9]{2}) [A-Za-z -]*")
_ERROR = re.compile(rb"([a-z_]+): [ -~]{1,200}\n")
_SPEAKS_TUS = re.compile(rb"(?im)^tus-resumable:[ \t]*1\.0\.0[ \t]*\r?$")
_CHUNK = re.compile(rb"([0-9a-f]{1,8})\r\n")
# Starlette's answer to a preflight for what is not allowed; cors.py says why it stays.
_REFUSED_PREFLIGHT = re.compile(rb"Disallowed CORS (?:origin|method|headers|, )+")


@dataclass(frozen=True, slots=True)
class Answer:
    """One final response."""

    status: int
    headers: dict[str, str]
    body: bytes
    ended: bool

    @property
    def code(self) -> str:
        """The code of an error."""
        return self.body.partition(b":")[0].decode()


def answers(reply: Reply, message: Message) -> list[Answer]:
    """The final responses of a reply. Fails on whatever is not as it must be."""
    found = list(_parsed(reply.data, message, cut=reply.cut))
    for answer in found:
        _judge(answer, message)
    return found


def _parsed(data: bytes, message: Message, *, cut: bool) -> Iterator[Answer]:
    while data:
        head, mark, rest = data.partition(b"\r\n\r\n")
        if not mark:
            assert cut, f"the end of a response is missing: {data[:200]!r}"
            return
        status, headers = _head(head)
        if status < 200:
            assert status == 100, status
            assert not headers
            assert b"expect" in message.data.lower(), "nobody waits for 100"
            data = rest
            continue
        body, data, ended = _body(status, headers, rest, message)
        assert ended or cut, f"a body ends too early: {rest[:200]!r}"
        yield Answer(status, headers, body, ended)


def _head(head: bytes) -> tuple[int, dict[str, str]]:
    status_line, *lines = head.decode("latin-1").split("\r\n")
    match = _STATUS_LINE.fullmatch(status_line)
    assert match, f"no status line: {status_line!r}"
    headers: dict[str, str] = {}
    for line in lines:
        name, mark, value = line.partition(": ")
        name = name.lower()
        assert mark, f"no header: {line!r}"
        assert name in _GRAMMAR, f"no header of ours: {line!r}"
        assert name not in headers, f"twice: {name}"
        assert re.fullmatch(_GRAMMAR[name], value), f"not as it should be: {line!r}"
        headers[name] = value
    return int(match[1]), headers


def _body(
    status: int, headers: dict[str, str], rest: bytes, message: Message
) -> tuple[bytes, bytes, bool]:
    """Body, what comes after it, and whether it is whole."""
    assert not {"content-length", "transfer-encoding"} <= set(headers)
    # Which answer is that to a HEAD is not known here; a body never begins like a status line.
    to_head = b"HEAD" in message.data and (not rest or rest.startswith(b"HTTP/1.1 "))
    if status == 204 or to_head:
        assert status != 204 or not {"content-length", "transfer-encoding"} & set(headers)
        return b"", rest, True
    if "transfer-encoding" in headers:
        return _chunks(rest)
    assert "content-length" in headers or b"HEAD" in message.data, "no end of the body is told"
    length = int(headers.get("content-length", "0"))
    return rest[:length], rest[length:], len(rest) >= length


def _chunks(rest: bytes) -> tuple[bytes, bytes, bool]:
    body = b""
    while match := _CHUNK.match(rest):
        size = int(match[1], 16)
        chunk, rest = rest[match.end() : match.end() + size], rest[match.end() + size :]
        if not rest.startswith(b"\r\n"):
            return body, b"", False
        body, rest = body + chunk, rest[2:]
        if not size:
            return body, rest, True
    return body, b"", False


def _judge(answer: Answer, message: Message) -> None:
    assert answer.headers.get("tus-resumable") == "1.0.0", answer
    assert answer.status < 400 or answer.ended or not answer.body, answer
    if answer.status in (201, 204) and "tus-version" not in answer.headers:
        assert _SPEAKS_TUS.search(message.data), f"without a version: {answer}"
    if answer.status < 400 or not answer.body:
        assert answer.status in (200, 201, 204) or answer.status >= 400, answer
        assert answer.status < 500, answer
        return
    if _REFUSED_PREFLIGHT.fullmatch(answer.body):
        assert b"access-control-request-method" in message.data.lower(), answer
        return
    match = _ERROR.fullmatch(answer.body)
    assert match, f"no `code: sentence`: {answer}"
    code = match[1].decode()
    assert (code, answer.status) in _DOCUMENTED, f"not in the table of errors: {answer}"
    if answer.status >= 500:
        assert EXPLAINED.get(code) == answer.status, answer
        assert not message.first_is_whole, f"nothing of the body is missing: {answer}"


def _documented(kind: type[UploadError]) -> set[tuple[str, int]]:
    """Codes and statuses of the tree of errors."""
    found = {(kind.code, kind.status)}
    for below in kind.__subclasses__():
        found |= _documented(below)
    return found


_DOCUMENTED = _documented(UploadError)
