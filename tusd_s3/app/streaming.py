"""What a stream that may go on for ever asks of the connection it goes out on.

Our own HTTP server offers it in the scope. Elsewhere there is none: a watcher that has left, or
stopped reading, is noticed there when the server's and the system's buffers are full.
"""

from __future__ import annotations

from typing import Final, Protocol

from starlette.types import Scope

STREAM_KEY: Final = "tusd_s3.stream"
"""Scope key of the `StreamConnection`, of GET requests."""


class StreamConnection(Protocol):
    """The connection of a request."""

    def begin_stream(self, stall_max_s: float) -> None:
        """The response is a stream of little pieces. From now on little is kept of what the client
        does not take; one that takes nothing for `stall_max_s`, or sends FIN, is gone; and the
        connection ends with the response."""
        ...

    def abort(self) -> None:
        """Cut it, whatever was not taken yet."""
        ...


def stream_of(scope: Scope) -> StreamConnection | None:
    """The request's connection, if the server offers it."""
    connection: StreamConnection | None = scope.get(STREAM_KEY)
    return connection
