"""HTTP/1.1 written by hand on a blocking socket, so that no client library hides what is on the
wire: heads and bodies go out in steps, and connections end as the test says.

Every wait is bounded by the connection's timeout: a server that hangs fails a test, not the run.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Self

HeaderItems = Mapping[str, str] | Iterable[tuple[str, str]]

_READ_BYTES = 256 * 1024
_HEAD_MAX_BYTES = 256 * 1024
_BODILESS = frozenset({204, 304})


class ConnectionEnded(ConnectionError):
    """The server closed the connection where an answer, or more of one, was due."""


@dataclass(frozen=True, slots=True)
class Headers:
    """Response headers in their order, looked up without regard to case."""

    items: tuple[tuple[str, str], ...]

    def all(self, name: str) -> list[str]:
        """Values of every header of this name."""
        return [value for key, value in self.items if key.lower() == name.lower()]

    def get(self, name: str) -> str | None:
        """The value of a header that occurs at most once (more is an error), else None."""
        values = self.all(name)
        assert len(values) <= 1, f"{name} occurs {len(values)} times: {values}"
        return values[0] if values else None

    def __getitem__(self, name: str) -> str:
        value = self.get(name)
        assert value is not None, f"no {name} among {self.items}"
        return value

    def __contains__(self, name: str) -> bool:
        return bool(self.all(name))

    def tokens(self, name: str) -> set[str]:
        """The comma-separated values of a header, trimmed and in lower case."""
        joined = ",".join(self.all(name))
        return {token.strip().lower() for token in joined.split(",") if token.strip()}


@dataclass(frozen=True, slots=True)
class RawResponse:
    """One final response, and the interim (1xx) statuses that came before it."""

    status: int
    headers: Headers
    body: bytes
    interim: tuple[int, ...] = ()

    @property
    def code(self) -> str:
        """The stable code of an error: its body is `<code>: <sentence>`."""
        return self.body.decode().partition(":")[0]

    @property
    def offset(self) -> int:
        """`Upload-Offset`, which must be there."""
        return int(self.headers["Upload-Offset"])


@dataclass(slots=True)
class RawConnection:
    """One TCP connection to the server."""

    address: tuple[str, int]
    timeout_s: float = 15.0
    receive_buffer_bytes: int | None = None
    _socket: socket.socket = field(init=False)
    _received: bytearray = field(init=False, default_factory=bytearray)

    def __post_init__(self) -> None:
        if self.receive_buffer_bytes is None:
            self._socket = socket.create_connection(self.address, timeout=self.timeout_s)
        else:
            self._socket = self._connect_narrow(self.receive_buffer_bytes)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def _connect_narrow(self, size: int) -> socket.socket:
        narrow = socket.socket()
        narrow.settimeout(self.timeout_s)
        narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)  # before the window is agreed
        narrow.connect(self.address)
        return narrow

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- sending --------------------------------------------------------------------------------

    def send(self, data: bytes | memoryview) -> None:
        """Send bytes as they are. Raises OSError once the server has closed."""
        self._socket.sendall(data)

    def send_head(self, method: str, target: str, headers: HeaderItems = ()) -> None:
        """Send request line and headers; `Host` is added unless it is given."""
        self.send(self.head_bytes(method, target, headers))

    def head_bytes(self, method: str, target: str, headers: HeaderItems = ()) -> bytes:
        """A request head as it goes out."""
        pairs = list(headers.items() if isinstance(headers, Mapping) else headers)
        if not any(name.lower() == "host" for name, _ in pairs):
            pairs.insert(0, ("Host", "{}:{}".format(*self.address)))
        lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in pairs)]
        return "\r\n".join([*lines, "", ""]).encode("utf-8")

    def send_chunk(self, data: bytes) -> None:
        """Send one chunk of a chunked body (empty data would end the body: see `end_chunks`)."""
        assert data
        self.send(b"%x\r\n" % len(data) + data + b"\r\n")

    def end_chunks(self) -> None:
        """End a chunked body."""
        self.send(b"0\r\n\r\n")

    def send_until_closed(self, data: bytes) -> int:
        """Send what the server takes before it closes; how many bytes the kernel took."""
        view, sent = memoryview(data), 0
        try:
            while sent < len(data):
                sent += self._socket.send(view[sent : sent + _READ_BYTES])
        except (BrokenPipeError, ConnectionResetError):
            pass
        return sent

    def pause(self, seconds: float) -> None:
        """Send nothing for a while, as a slow client does."""
        time.sleep(seconds)

    def finish(self) -> None:
        """Send FIN: no more bytes will come, answers may."""
        self._socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Send RST: the connection is gone for both sides at once."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    def close(self) -> None:
        """Close in the ordinary way. Does nothing if closed already."""
        self._socket.close()

    # --- receiving ------------------------------------------------------------------------------

    def read_response(self, method: str = "PATCH", *, within_s: float | None = None) -> RawResponse:
        """The next final response; interim ones are noted in it.

        method: of the request, because HEAD is answered without a body.
        """
        self._socket.settimeout(self.timeout_s if within_s is None else within_s)
        interim: list[int] = []
        while True:
            status, headers = self._read_head()
            if status >= 200:
                break
            interim.append(status)
        body = b"" if method == "HEAD" or status in _BODILESS else self._read_body(headers)
        return RawResponse(status, headers, body, tuple(interim))

    def read_response_or_none(self, *, within_s: float) -> RawResponse | None:
        """The next response if one comes in time, before the server closes."""
        try:
            return self.read_response(within_s=within_s)
        except (TimeoutError, ConnectionError):
            return None

    def read_interim(self) -> int:
        """The status of an interim response such as 100, without anything after it."""
        status, _ = self._read_head()
        assert status < 200, f"a final response came: {status}"
        return status

    def assert_silent_for(self, seconds: float) -> None:
        """Fail if the server says anything, or closes, within `seconds`."""
        assert not self._received, bytes(self._received)
        self._socket.settimeout(seconds)
        try:
            data = self._socket.recv(_READ_BYTES)
        except TimeoutError:
            return
        finally:
            self._socket.settimeout(self.timeout_s)
        raise AssertionError(f"the server said {data!r}" if data else "the server closed")

    def read_head(self, *, within_s: float | None = None) -> tuple[int, Headers]:
        """The head of a response whose body is read in steps: status and headers."""
        self._socket.settimeout(self.timeout_s if within_s is None else within_s)
        return self._read_head()

    def read_chunk(self, *, within_s: float) -> bytes:
        """The next chunk of a chunked body; nothing at its end."""
        self._socket.settimeout(within_s)
        end = self._received.find(b"\r\n")
        while end < 0 or len(self._received) < end + 4 + int(self._received[:end], 16):
            self._fill()
            end = self._received.find(b"\r\n")
        chunk = self._take(int(self._read_past(b"\r\n"), 16))
        self._take(2)
        return chunk

    def read_until_closed(self, *, within_s: float = 10.0) -> bytes:
        """Everything that still comes before the server closes; TimeoutError if it does not."""
        self._socket.settimeout(within_s)
        try:
            while data := self._socket.recv(_READ_BYTES):
                self._received += data
        except ConnectionResetError:
            pass
        rest = bytes(self._received)
        self._received.clear()
        return rest

    def read_some(self, most: int = _READ_BYTES) -> bytes:
        """What comes next, at least a byte of it; b"" if the server closed."""
        self._socket.settimeout(self.timeout_s)
        return self._socket.recv(most)

    def unread(self) -> bytes:
        """What came and was no whole response: after its head, as much of a body as there was."""
        rest = bytes(self._received)
        self._received.clear()
        return rest

    def _read_head(self) -> tuple[int, Headers]:
        head = self._read_past(b"\r\n\r\n").decode("latin-1")
        status_line, *lines = head.removesuffix("\r\n\r\n").split("\r\n")
        version, status = status_line.split(" ", 2)[:2]
        assert version == "HTTP/1.1", status_line
        pairs = (line.partition(":") for line in lines)
        return int(status), Headers(tuple((name, value.strip()) for name, _, value in pairs))

    def _read_body(self, headers: Headers) -> bytes:
        if "chunked" in headers.tokens("Transfer-Encoding"):
            return self._read_chunks()
        length = headers.get("Content-Length")
        if length is None:
            return self.read_until_closed(within_s=self.timeout_s)
        return self._take(int(length))

    def _read_chunks(self) -> bytes:
        body = b""
        while size := int(self._read_past(b"\r\n").split(b";")[0], 16):
            body += self._take(size)
            self._take(2)
        self._read_past(b"\r\n")
        return body

    def _read_past(self, mark: bytes) -> bytes:
        while (end := self._received.find(mark)) < 0:
            assert len(self._received) < _HEAD_MAX_BYTES, "no end of a response head"
            self._fill()
        return self._take(end + len(mark))

    def _take(self, count: int) -> bytes:
        while len(self._received) < count:
            self._fill()
        taken = bytes(self._received[:count])
        del self._received[:count]
        return taken

    def _fill(self) -> None:
        data = self._socket.recv(_READ_BYTES)
        if not data:
            raise ConnectionEnded(f"after {bytes(self._received)!r}")
        self._received += data
