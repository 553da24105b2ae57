"""HTTP/1.1 as bytes. A test writes every line of a request itself, nothing is added to it, and what
comes back is held against the rules of HTTP and tus before the test gets to see it.

There is deliberately no method here that takes a dictionary of headers: what goes out is what the
test shows.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, Self
from urllib.parse import urlsplit

_READ_BYTES: Final = 64 * 1024
_STATUS_LINE = re.compile(rb"HTTP/1\.1 ([1-5][0-9][0-9]) [\t -~]*")
_FIELD_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([!-~](?:[\t -~]*[!-~])?)?[ \t]*")
_ERROR_TEXT = re.compile(rb"[a-z][a-z0-9_]*: [A-Z][ -~]*\.\n")


@dataclass(frozen=True, slots=True)
class Answer:
    """One final response that keeps the rules, and the interim statuses that came before it.

    fields: by their names in lower case; that none occurs twice has been checked.
    """

    status: int
    fields: Mapping[str, str]
    body: bytes
    interim: tuple[int, ...] = ()

    @property
    def code(self) -> str:
        """The stable code of an error."""
        return self.body.decode().partition(":")[0]

    @property
    def offset(self) -> int:
        """`Upload-Offset`, which must be there."""
        return int(self.fields["upload-offset"])

    @property
    def path(self) -> str:
        """Path of the upload that a 201 names."""
        assert self.status == 201, self
        return urlsplit(self.fields["location"]).path

    def tokens(self, name: str) -> set[str]:
        """The members of a comma-separated list, in lower case; empty if there is no such field."""
        members = self.fields.get(name, "").split(",")
        return {member.strip().lower() for member in members if member.strip()}


def octets(*lines: str) -> bytes:
    """The lines of a head, each ended as HTTP ends it, and the empty line behind them."""
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode()


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked body; of no data, the last one, which trailers may follow."""
    return b"%x\r\n" % len(data) + data + (b"\r\n" if data else b"")


@dataclass(slots=True)
class Wire:
    """One TCP connection. Every wait is bounded."""

    address: tuple[str, int]
    timeout_s: float = 15.0
    _socket: socket.socket = field(init=False)
    _received: bytes = field(init=False, default=b"")

    def __post_init__(self) -> None:
        self._socket = socket.create_connection(self.address, timeout=self.timeout_s)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, data: bytes) -> None:
        """Send bytes as they are; those that a server which has closed does not take are lost."""
        with suppress(BrokenPipeError, ConnectionResetError):  # its answer is what counts
            self._socket.sendall(data)

    def finish(self) -> None:
        """Send FIN: nothing more will come, answers may."""
        self._socket.shutdown(socket.SHUT_WR)

    def read(self, method: str) -> Answer:
        """The final response to a request of `method`, as the request line names it."""
        interim: list[int] = []
        while True:
            status, fields = self._read_head()
            if status >= 200:
                break
            interim.append(status)
            _check_bodiless(fields)
        body = self._read_body(method, status, fields)
        _check_final(method, status, fields, body)
        return Answer(status, fields, body, tuple(interim))

    def read_interim(self) -> int:
        """The status of a 1xx that came, and nothing behind it."""
        status, fields = self._read_head()
        assert 100 <= status < 200, status
        _check_bodiless(fields)
        assert not self._received, self._received
        return status

    def assert_silent_for(self, seconds: float) -> None:
        """Fail if anything comes, or the server closes, within `seconds`."""
        assert not self._received, self._received
        self._socket.settimeout(seconds)
        try:
            came = self._socket.recv(_READ_BYTES)
        except TimeoutError:
            return
        finally:
            self._socket.settimeout(self.timeout_s)
        raise AssertionError(came or "the server closed")

    def rest(self) -> bytes:
        """What comes until the server closes, which it must. To be called after `finish`."""
        try:
            while came := self._socket.recv(_READ_BYTES):
                self._received += came
        except ConnectionResetError:
            pass
        return self._received

    def _read_head(self) -> tuple[int, dict[str, str]]:
        status_line, *lines = self._read_past(b"\r\n\r\n")[:-4].split(b"\r\n")
        status = _STATUS_LINE.fullmatch(status_line)
        assert status is not None, status_line
        fields: dict[str, str] = {}
        for line in lines:
            pair = _FIELD_LINE.fullmatch(line)
            assert pair is not None, line
            name = pair[1].decode().lower()
            assert name not in fields, f"{name} occurs twice: {lines}"
            fields[name] = (pair[2] or b"").decode()
        return int(status[1]), fields

    def _read_body(self, method: str, status: int, fields: Mapping[str, str]) -> bytes:
        if method == "HEAD" or status in {204, 304}:
            return b""
        framings = {"content-length", "transfer-encoding"} & fields.keys()
        assert len(framings) == 1, f"a body of no clear length: {fields}"
        if "content-length" in framings:
            assert fields["content-length"].isdigit(), fields
            return self._take(int(fields["content-length"]))
        assert fields["transfer-encoding"] == "chunked", fields
        body = b""
        while size := int(self._read_past(b"\r\n"), 16):
            body += self._take(size)
            assert self._take(2) == b"\r\n"
        assert self._take(2) == b"\r\n", "trailers"
        return body

    def _read_past(self, mark: bytes) -> bytes:
        while (at := self._received.find(mark)) < 0:
            self._fill()
        return self._take(at + len(mark))

    def _take(self, count: int) -> bytes:
        while len(self._received) < count:
            self._fill()
        taken, self._received = self._received[:count], self._received[count:]
        return taken

    def _fill(self) -> None:
        came = self._socket.recv(_READ_BYTES)
        assert came, f"the server closed after {self._received!r}"
        self._received += came


@dataclass(frozen=True, slots=True)
class Peer:
    """A server, spoken to in bytes. base: path of its collection."""

    address: tuple[str, int]
    base: str = "/files/"

    def connect(self) -> Wire:
        """A new connection."""
        return Wire(self.address)

    def ask(self, *lines: str, body: bytes = b"") -> Answer:
        """Send the lines of a head and `body`, on a connection of their own; the one answer."""
        with self.connect() as wire:
            wire.send(octets(*lines) + body)
            answer = wire.read(lines[0].partition(" ")[0])
            # Bytes behind the response would be the beginning of the next one to any client.
            wire.finish()
            rest = wire.rest()
            assert not rest, rest
            return answer

    # --- what nearly every test needs; each is one request, of the lines to be seen here --------

    def post(self, *lines: str, body: bytes = b"") -> Answer:
        """A creation with `lines`."""
        return self.ask(
            f"POST {self.base} HTTP/1.1", "Host: tus", "Tus-Resumable: 1.0.0", *lines, body=body
        )

    def upload(self, length: int, body: bytes = b"") -> str:
        """Path of a new upload of `length` bytes that has the bytes `body`."""
        created = self.post(
            f"Upload-Length: {length}",
            "Content-Type: application/offset+octet-stream",
            f"Content-Length: {len(body)}",
            body=body,
        )
        assert created.offset == len(body)
        return created.path

    def head(self, path: str, *lines: str) -> Answer:
        """HEAD of an upload."""
        return self.ask(f"HEAD {path} HTTP/1.1", "Host: tus", "Tus-Resumable: 1.0.0", *lines)

    def patch(self, path: str, offset: int, body: bytes, *lines: str) -> Answer:
        """PATCH with `body`, whose length is declared."""
        return self.ask(
            *patch_lines(path, offset), f"Content-Length: {len(body)}", *lines, body=body
        )

    def delete(self, path: str, *lines: str) -> Answer:
        """DELETE of an upload."""
        return self.ask(f"DELETE {path} HTTP/1.1", "Host: tus", "Tus-Resumable: 1.0.0", *lines)


def patch_lines(path: str, offset: int) -> tuple[str, ...]:
    """A PATCH up to what says how long its body is."""
    return (
        f"PATCH {path} HTTP/1.1",
        "Host: tus",
        "Tus-Resumable: 1.0.0",
        f"Upload-Offset: {offset}",
        "Content-Type: application/offset+octet-stream",
    )


def _check_bodiless(fields: Mapping[str, str]) -> None:
    """RFC 9110, 8.6, and RFC 9112, 6.1: 1xx and 204 say nothing of a body."""
    assert not {"content-length", "transfer-encoding"} & fields.keys(), fields


def _check_final(method: str, status: int, fields: Mapping[str, str], body: bytes) -> None:
    assert fields.get("tus-resumable") == "1.0.0", fields
    if status == 204:
        _check_bodiless(fields)
    if status < 400:
        assert "content-type" not in fields or body, fields
    else:
        assert fields["content-type"] == "text/plain; charset=utf-8", fields
        assert method == "HEAD" or _ERROR_TEXT.fullmatch(body), body
