"""How much is read of a connection at once.

A transport that delivers bytes reads up to 256 KiB whenever there is something to read. A thousand
connections that nobody has asked for anything would so fill the memory of a whole budget. A
transport that is given a buffer reads no more than fits it. And it reads to where we want it: a
body that comes fast goes from the kernel straight to where it stays.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from tusd_s3.budget import READ_MAX_BYTES
from tusd_s3.serving.http1 import BoundedHttpProtocol

_BUFFER: Final = memoryview(bytearray(READ_MAX_BYTES))
"""Of all connections: what is read is copied out of it before anything else is read."""


class MeasuredReads(asyncio.BufferedProtocol):
    """`BoundedHttpProtocol`, which says before each read how much it may be."""

    def __init__(self, **arguments: Any) -> None:  # noqa: ANN401 - uvicorn's, passed on
        self._http = BoundedHttpProtocol(**arguments)
        self._is_body = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See asyncio."""
        self._http.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio."""
        self._http.connection_lost(exc)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - a buffer of our own choice
        """Where the next read goes to; it is over before another one begins."""
        body = self._http.body_buffer()
        self._is_body = body is not None
        return _BUFFER[: self._http.read_bytes] if body is None else body

    def buffer_updated(self, nbytes: int) -> None:
        """So many bytes were read."""
        if self._is_body:
            self._http.body_received(nbytes)
        else:
            self._http.data_received(_BUFFER[:nbytes])

    def eof_received(self) -> bool | None:
        """See asyncio."""
        return self._http.eof_received()

    def pause_writing(self) -> None:
        """See asyncio."""
        self._http.pause_writing()

    def resume_writing(self) -> None:
        """See asyncio."""
        self._http.resume_writing()
