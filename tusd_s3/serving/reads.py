"""How much is read of a connection at once.

A transport that delivers bytes reads up to 256 KiB whenever there is something to read. A thousand
connections that nobody has asked for anything would so fill the memory of a whole budget. A
transport that is given a buffer reads no more than fits it.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from tusd_s3.budget import READ_MAX_BYTES
from tusd_s3.serving.http1 import BoundedHttpProtocol

_BUFFER: Final = memoryview(bytearray(READ_MAX_BYTES))
"""Of all connections: what is read is copied out of it before anything else is read. It stays in
the processor's cache, which makes reading cheaper than into fresh memory."""


class MeasuredReads(asyncio.BufferedProtocol):
    """`BoundedHttpProtocol`, which says before each read how much it may be."""

    def __init__(self, **arguments: Any) -> None:  # noqa: ANN401 - uvicorn's, passed on
        self._http = BoundedHttpProtocol(**arguments)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See asyncio."""
        self._http.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio."""
        self._http.connection_lost(exc)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - a buffer of our own choice
        """Where the next read goes to; it is over before another one begins."""
        return _BUFFER[: self._http.read_bytes]

    def buffer_updated(self, nbytes: int) -> None:
        """So many bytes were read."""
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
