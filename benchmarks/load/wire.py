"""HTTP/1.1 on a blocking socket: bytes out as they are, heads of responses in."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Self

_READ_BYTES: Final = 64 * 1024
_HEAD_MAX_BYTES: Final = 64 * 1024
_BODILESS: Final = frozenset({204, 304})
_REASON_MAX_CHARS: Final = 120


class LoadError(Exception):
    """The server did not do what the workload asks of it; the message is for the report."""


@dataclass(frozen=True, slots=True)
class Response:
    """A final response. Names of headers are in lower case."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes

    @property
    def closes(self) -> bool:
        """Whether the server closes the connection after it."""
        return self.headers.get(b"connection", b"").lower() == b"close"

    def number(self, name: bytes) -> int | None:
        """A header's value as a number; None where it is missing or something else."""
        value = self.headers.get(name, b"")
        return int(value) if value.isdigit() else None

    def __str__(self) -> str:
        text = " ".join(self.body.decode("utf-8", "replace").split())
        return f"{self.status} {text[:_REASON_MAX_CHARS]}".strip()


class Wire:
    """One connection to the server. It is opened anew when the server has closed it.

    timeout_s: for each single wait on the socket.
    """

    def __init__(self, port: int, timeout_s: float) -> None:
        self._address = ("127.0.0.1", port)
        self._timeout_s = timeout_s
        self._socket: socket.socket | None = None
        self._received = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def send(self, buffers: Iterable[bytes | memoryview]) -> None:
        """Send all of it. A server that hangs up early is found out by `response`."""
        connection = self.open()
        try:
            for buffer in buffers:
                connection.sendall(buffer)
        except (BrokenPipeError, ConnectionResetError):
            return  # it may have answered before it closed, and that answer says more
        except TimeoutError:
            raise LoadError(f"took no bytes for {self._timeout_s:.0f} s") from None

    def response(self, method: str) -> Response:
        """The next final response. Raises: LoadError."""
        try:
            response = self._response(method)
        except TimeoutError:
            raise LoadError(f"no answer to {method} within {self._timeout_s:.0f} s") from None
        except ConnectionError:
            raise LoadError(f"the connection broke during {method}") from None
        if response.closes:
            self.close()
        return response

    def begin(self, method: str) -> Response:
        """The head of the next final response, without its body, which `read_into` is to read.
        Raises: LoadError."""
        try:
            return self._head_of_response()
        except TimeoutError:
            raise LoadError(f"no answer to {method} within {self._timeout_s:.0f} s") from None
        except ConnectionError:
            raise LoadError(f"the connection broke during {method}") from None

    def read_into(self, room: memoryview) -> int:
        """The next bytes of a body, as many as there are. Raises: LoadError."""
        if self._received:
            size = min(len(room), len(self._received))
            room[:size], self._received = self._received[:size], self._received[size:]
            return size
        try:
            size = self.open().recv_into(room)
        except (TimeoutError, ConnectionError) as error:
            raise LoadError(f"a body broke off: {type(error).__name__}") from None
        if not size:
            raise LoadError("a body ended too early")
        return size

    def open(self) -> socket.socket:
        """The socket, connected."""
        if self._socket is None:
            self._received = b""
            self._socket = socket.create_connection(self._address, self._timeout_s)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._socket

    def close(self) -> None:
        """Close it as a program that ends does: what was sent still arrives."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _response(self, method: str) -> Response:
        head = self._head_of_response()
        if method == "HEAD" or head.status in _BODILESS:
            return head
        return Response(head.status, head.headers, self._body(head.headers))

    def _head_of_response(self) -> Response:
        while True:
            status, headers = self._head()
            if status >= 200:
                return Response(status, headers, b"")

    def _head(self) -> tuple[int, dict[bytes, bytes]]:
        status_line, *lines = self._until(b"\r\n\r\n").split(b"\r\n")
        pairs = (line.partition(b":") for line in lines)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        return int(status_line.split(b" ", 2)[1]), headers

    def _body(self, headers: dict[bytes, bytes]) -> bytes:
        if headers.get(b"transfer-encoding", b"").lower() == b"chunked":
            return self._chunks()
        if (length := headers.get(b"content-length")) is not None:
            return self._take(int(length))
        return b""

    def _chunks(self) -> bytes:
        body = b""
        while size := int(self._until(b"\r\n").split(b";")[0], 16):
            body += self._take(size)
            self._take(2)
        self._until(b"\r\n")
        return body

    def _until(self, mark: bytes) -> bytes:
        while (end := self._received.find(mark)) < 0:
            if len(self._received) > _HEAD_MAX_BYTES:
                raise LoadError("a response without an end of its head")
            self._fill()
        found = self._received[:end]
        self._received = self._received[end + len(mark) :]
        return found

    def _take(self, count: int) -> bytes:
        while len(self._received) < count:
            self._fill()
        taken, self._received = self._received[:count], self._received[count:]
        return taken

    def _fill(self) -> None:
        data = self.open().recv(_READ_BYTES)
        if not data:
            raise ConnectionResetError
        self._received += data
