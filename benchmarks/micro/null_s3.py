"""An S3 that keeps nothing: what is measured over it is not bound by a store."""

from __future__ import annotations

import asyncio
import multiprocessing
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import uvloop

from tusd_s3.devstack.free_ports import LOOPBACK
from tusd_s3.limits import KIB

_HEAD: Final = re.compile(rb"([A-Z]+) (\S+) HTTP/1\.1\r\n(?:.+\r\n)*\r\n")
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)
_HEAD_MAX_BYTES: Final = 64 * KIB
_BUFFER_BYTES: Final = 512 * KIB

_CREATED: Final = (
    b"<InitiateMultipartUploadResult><UploadId>one</UploadId></InitiateMultipartUploadResult>"
)
_COMPLETED: Final = (
    b'<CompleteMultipartUploadResult><ETag>"e"</ETag></CompleteMultipartUploadResult>'
)
_NOTHING: Final = b"<Error><Code>NoSuchKey</Code><Message>It keeps nothing.</Message></Error>"


class NullS3(asyncio.BufferedProtocol):
    """Takes requests one after another, and says that all went well."""

    def __init__(self) -> None:
        self._buffer = memoryview(bytearray(_BUFFER_BYTES))
        self._unparsed = b""
        self._request = (b"", b"")
        self._body_left: int | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See asyncio."""
        self._transport = transport

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - it is the same for all
        """See asyncio."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Bytes of a body only count."""
        if self._body_left is not None and nbytes <= self._body_left:
            self._body_left -= nbytes
        else:
            self._unparsed += self._buffer[:nbytes]
        while self._advance():
            pass

    def _advance(self) -> bool:
        """One step through what came; whether there may be another."""
        if self._body_left is None:
            if (head := _HEAD.match(self._unparsed)) is None:
                assert len(self._unparsed) < _HEAD_MAX_BYTES, "no end of a head"
                return False
            self._request = head[1], head[2]
            length = _LENGTH.search(head[0])
            self._body_left = int(length[1]) if length else 0
            self._unparsed = self._unparsed[head.end() :]
        taken = min(len(self._unparsed), self._body_left)
        self._body_left -= taken
        self._unparsed = self._unparsed[taken:]
        if self._body_left:
            return False
        self._body_left = None
        self._transport.write(_answer(*self._request))
        return bool(self._unparsed)


def _answer(method: bytes, target: bytes) -> bytes:
    status, fields, body = b"200 OK", b'ETag: "e"\r\n', b""
    if method == b"POST":
        body = _COMPLETED if b"uploadId=" in target else _CREATED
    elif method == b"DELETE":
        status = b"204 No Content"
    elif method == b"GET":
        status, body = b"404 Not Found", _NOTHING
    return b"HTTP/1.1 %s\r\n%sContent-Length: %d\r\n\r\n%s" % (status, fields, len(body), body)


@contextmanager
def null_s3() -> Iterator[str]:
    """One in a process of its own; its endpoint."""
    listener = socket.create_server((LOOPBACK, 0))
    process = multiprocessing.get_context("fork").Process(
        target=_serve, args=(listener,), daemon=True
    )
    process.start()
    try:
        yield f"http://{LOOPBACK}:{listener.getsockname()[1]}"
    finally:
        process.kill()
        process.join()
        listener.close()


def _serve(listener: socket.socket) -> None:
    async def serve() -> None:
        loop = asyncio.get_running_loop()
        await (await loop.create_server(NullS3, sock=listener)).serve_forever()

    uvloop.run(serve())
