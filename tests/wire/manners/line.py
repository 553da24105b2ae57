"""The way of one client to the server, which breaks where a test says.

It adds nothing to a request. It holds every answer against what each client relies on, bounds the
number of requests, so that a client that would turn in circles fails its test, and keeps a record.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from typing import Final
from urllib.parse import urlsplit

import pytest

from tests.support.raw import RawConnection, RawResponse
from tests.support.world import World

REQUESTS_MAX: Final = 60
"""More than any script here needs, and nothing to a client that turns in circles."""

_GO_AHEAD_WITHIN_S: Final = 5.0
"""How long Java waits for a 100 before it sends the body all the same; curl waits one second."""


class Lost(ConnectionError):
    """The connection ended and there was no answer."""


class Fault(Enum):
    """What becomes of a request with a body. In each case the client sees no answer."""

    CUT = "cut in the body"
    HUNG_UP = "hung up behind the body"
    ANSWER_LOST = "answer lost"


each_fault = pytest.mark.parametrize("fault", Fault, ids=[fault.name.lower() for fault in Fault])


@dataclass(frozen=True, slots=True)
class Request:
    """A request as a client writes it: `headers` are all there are, in their order.

    A body goes out as `headers` frame it; a chunked one in chunks of `chunk_bytes`.
    """

    method: str
    url: str
    headers: Sequence[tuple[str, str]]
    body: bytes = b""
    chunk_bytes: int = 64 * 1024
    trailers: Sequence[tuple[str, str]] = ()

    def get(self, name: str) -> str | None:
        """A header's value."""
        found = [value for key, value in self.headers if key.lower() == name.lower()]
        return found[0] if found else None

    @property
    def meant(self) -> str:
        """The method that is meant."""
        return self.get("X-HTTP-Method-Override") or self.method

    @property
    def target(self) -> str:
        """Path and query of the URL."""
        split = urlsplit(self.url)
        return f"{split.path}?{split.query}" if split.query else split.path

    def payload(self) -> bytes:
        """The body as it goes out."""
        if self.get("Transfer-Encoding") is None:
            return self.body
        chunks = b"".join(
            b"%x\r\n%b\r\n" % (len(piece), piece)
            for start in range(0, len(self.body), self.chunk_bytes)
            for piece in [self.body[start : start + self.chunk_bytes]]
        )
        trailers = "".join(f"{name}: {value}\r\n" for name, value in self.trailers)
        return chunks + f"0\r\n{trailers}\r\n".encode()


@dataclass(slots=True)
class Line:
    """One client's connection, kept open between requests unless `keeps_alive` is false.

    record: what was asked and how it ended: `PATCH 204`, `PATCH cut in the body`.
    refused: whether the last answer came in place of a 100, the body unsent.
    """

    address: tuple[str, int]
    keeps_alive: bool = True
    record: list[str] = field(init=False, default_factory=list)
    answers: list[RawResponse] = field(init=False, default_factory=list)
    refused: bool = field(init=False, default=False)
    _faults: dict[int, Fault] = field(init=False, default_factory=dict)
    _bodies: int = field(init=False, default=0)
    _open: _Connection | None = field(init=False, default=None)

    @property
    def host(self) -> str:
        """The value of `Host`."""
        return "{}:{}".format(*self.address)

    def spoil(self, fault: Fault, *nth: int) -> None:
        """Let the nth request that has a body (the first is 1) end like that."""
        self._faults.update(dict.fromkeys(nth, fault))

    def ask(self, request: Request) -> RawResponse:
        """The answer to a request. Raises Lost."""
        assert len(self.record) < REQUESTS_MAX, f"turns in circles: {self.record[-9:]}"
        self._bodies += bool(request.body)
        fault = self._faults.pop(self._bodies, None) if request.body else None
        try:
            response = self._exchange(request, fault)
        except (OSError, AssertionError) as error:
            self.record.append(f"{request.meant} {fault.value if fault else repr(error)}")
            self.hang_up()
            raise
        self.record.append(f"{request.meant} {response.status}")
        self.answers.append(response)
        if not self.keeps_alive or "close" in response.headers.tokens("Connection"):
            self.hang_up()
        _check(request, response)
        return response

    def hang_up(self) -> None:
        """Close the connection."""
        if self._open is not None:
            self._open.close()
            self._open = None

    def _exchange(self, request: Request, fault: Fault | None) -> RawResponse:
        connection = self._open = self._open or _Connection(self.address)
        connection.send_head(request.method, request.target, request.headers)
        payload = request.payload()
        self.refused = False
        if request.get("Expect") is not None:
            refusal = connection.refusal()
            if refusal is not None:
                # The body that was announced will not come, so nothing else can follow here.
                self.refused = True
                self.hang_up()
                return refusal
        if fault is Fault.CUT:
            payload = payload[: len(payload) // 2]
        # A server that refuses may close before it has everything; its answer is what counts.
        with suppress(BrokenPipeError, ConnectionResetError):
            connection.send(payload)
        if fault in {Fault.CUT, Fault.HUNG_UP}:
            raise Lost
        response = connection.read_response(request.method)
        if fault is Fault.ANSWER_LOST:
            raise Lost
        return response


class _Connection(RawConnection):
    """A connection whose client waits for 100 before it sends a body."""

    def refusal(self) -> RawResponse | None:
        """The final answer that came instead of a 100."""
        self._socket.settimeout(_GO_AHEAD_WITHIN_S)
        status, headers = self._read_head()
        self._socket.settimeout(self.timeout_s)
        if status == 100:
            return None
        return RawResponse(status, headers, self._read_body(headers))


def _check(request: Request, response: RawResponse) -> None:
    """What no client can do without. A 2xx that did not take all of the body makes some of them
    fail, and one that took nothing makes others send it for ever."""
    assert response.headers["Tus-Resumable"] == "1.0.0"
    if not 200 <= response.status < 300:
        return
    if request.meant == "PATCH":
        start = int(request.get("Upload-Offset") or "")
        assert (response.status, response.offset) == (204, start + len(request.body))
    if request.meant == "POST":
        assert (response.status, response.offset) == (201, len(request.body))


def ranges(length: int, size: int, start: int = 0) -> Iterator[tuple[int, int]]:
    """Start and end of each piece of `size` bytes from `start` on; the last may be shorter."""
    for at in range(start, length, size):
        yield at, min(at + size, length)


def assert_whole(world: World, url: str, body: bytes) -> None:
    """The upload is complete, and its object has these bytes."""
    path = urlsplit(url).path
    head = world.client.head(path)
    assert (head.status, head.offset) == (200, len(body))
    assert head.headers["Upload-Length"] == f"{len(body)}"
    assert world.object_of(path) == body
