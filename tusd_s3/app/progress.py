"""The progress of an upload: a stream of events (HTML, "Server-sent events"), or one snapshot.

    retry: how long to wait before coming back
    snapshot     what is true now
    progress     what has changed, at most four a second
    complete | terminated | expired      the end; the stream ends behind it

All carry the same JSON (see `progress.Progress`). An event's id says what it shows: a browser that
comes back names the last one that it has seen, and is told only what is new. Behind an end it gets
204, which is what makes an EventSource stop coming back.

A watcher that does not read is cut, so that it keeps no place from others: `app.streaming`.
"""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Final, cast

from anyio import Event
from sse_starlette.event import ServerSentEvent
from sse_starlette.sse import EventSourceResponse, SendTimeoutError
from starlette.types import Receive, Scope, Send

from tusd_s3 import errors
from tusd_s3.app.body import AsgiBody
from tusd_s3.app.endpoints import Endpoint, requested_upload
from tusd_s3.app.streaming import stream_of
from tusd_s3.budget import MemoryBudget
from tusd_s3.engine import Uploads
from tusd_s3.progress import Phase, Progress, Seat, Watching
from tusd_s3.progress.state import ENDS
from tusd_s3.protocol.accept import preferred
from tusd_s3.protocol.fields import Fields
from tusd_s3.protocol.message import Response

logger = logging.getLogger("tusd_s3.app")

EVENTS: Final = "text/event-stream"
JSON: Final = "application/json"

PING_EVERY_S: Final = 15.0
"""Between two comments while there is nothing to tell: proxies drop connections that are silent for
30 or 60 s."""

RETRY_MIN_MS: Final = 1_000
RETRY_SPREAD_MS: Final = 2_000
"""After how long those whose stream broke come back. Not all at once: a worker that stops sends all
its watchers to the others."""

FAREWELL_S: Final = 1.0
"""What a stream has to end by itself when the server stops; it needs one turn of the event loop."""

_HEADERS: Final = (
    ("Cache-Control", "no-store"),
    ("Vary", "Accept"),
    ("X-Content-Type-Options", "nosniff"),
)


class ProgressResource(Endpoint):
    """The progress of one upload. stall_max_s: a watcher that takes nothing for so long is cut."""

    allow = ("GET", "OPTIONS")

    def __init__(
        self,
        uploads: Callable[[], Uploads],
        watching: Callable[[], Watching],
        max_upload_bytes: int,
        budget: MemoryBudget,
        stall_max_s: float,
    ) -> None:
        super().__init__(uploads, max_upload_bytes, budget)
        self._watching = watching
        self._stall_max_s = stall_max_s

    async def handle(
        self, _method: str, /, scope: Scope, fields: Fields, body: AsgiBody
    ) -> Response:
        """GET."""
        if body.is_pending:
            raise errors.InvalidHeader("Content-Length", "expected no body with a GET")
        seen = fields.get("Last-Event-ID") or ""
        upload_id = requested_upload(scope)
        try:
            seat = await self._watching().open(upload_id)
        except errors.UploadNotFound:
            if seen not in ENDS:
                raise
            return Response(204, _HEADERS)
        if preferred(fields.get_list("Accept"), (EVENTS, JSON)) == EVENTS:
            return self._events(seat, seen)
        try:
            return _as_json(await seat.settled())
        finally:
            self._watching().close(seat)

    def _events(self, seat: Seat, seen: str) -> Response:
        if seat.progress.is_end and seen == seat.progress.mark:
            self._watching().close(seat)
            return Response(204, _HEADERS)
        return _Stream(200, seat=seat, seen=seen)

    async def send(
        self, response: Response, scope: Scope, receive: Receive, body: AsgiBody, send: Send
    ) -> None:
        """See `Endpoint.send`."""
        if isinstance(response, _Stream):
            await self._stream(response, scope, receive, send)
        else:
            await super().send(response, scope, receive, body, send)

    async def _stream(self, stream: _Stream, scope: Scope, receive: Receive, send: Send) -> None:
        response = EventSourceResponse(
            events(stream.seat, stream.seen),
            headers=dict(_HEADERS),
            ping=PING_EVERY_S,
            ping_message_factory=lambda: ServerSentEvent(comment=""),
            send_timeout=self._stall_max_s,
            shutdown_event=cast("Event", _Farewell(stream.seat)),
            shutdown_grace_period=FAREWELL_S,
        )
        if (connection := stream_of(scope)) is not None:
            connection.begin_stream(self._stall_max_s)
        try:
            await response(scope, receive, send)
        except SendTimeoutError:
            logger.info("a watcher that does not read was cut")
            if connection is not None:
                connection.abort()
        finally:
            self._watching().close(stream.seat)


@dataclass(frozen=True, slots=True)
class _Stream(Response):
    """A response whose events are still to come. seen: what the client says it saw last."""

    seat: Seat = field(kw_only=True)
    seen: str = field(kw_only=True)


class _Farewell:
    """What the library sets when it sees that uvicorn stops: also a host's, which tells us nothing.
    Without it a stream would be torn, and one that has just begun, too."""

    def __init__(self, seat: Seat) -> None:
        self._seat = seat

    def set(self) -> None:
        """The stream is to end."""
        self._seat.wake(is_last=True)


async def events(seat: Seat, seen: str) -> AsyncIterator[ServerSentEvent]:
    """What one watcher is sent."""
    yield ServerSentEvent(retry=RETRY_MIN_MS + secrets.randbelow(RETRY_SPREAD_MS))
    name = "snapshot"
    async for progress in seat.changes(seen):
        if not progress.is_end or name == "snapshot":
            yield _event(name, progress)
        if progress.is_end:
            yield _event(progress.state, progress)
        name = "progress"


def _event(name: str, progress: Progress) -> ServerSentEvent:
    return ServerSentEvent(data=_dump(progress), event=name, id=progress.mark)


def _as_json(progress: Progress) -> Response:
    if progress.state in {Phase.TERMINATED, Phase.EXPIRED}:
        raise errors.UploadNotFound
    body = _dump(progress).encode()
    length = ("Content-Length", str(len(body)))
    return Response(200, (("Content-Type", JSON), length, *_HEADERS), body)


def _dump(progress: Progress) -> str:
    return json.dumps(progress.as_json(), separators=(",", ":"))
