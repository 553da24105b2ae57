"""Server-Sent Events as they come in, read by hand from a socket (HTML, "Server-sent events")."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.support.raw import HeaderItems, Headers, RawConnection
from tests.support.tus import RawClient


@dataclass(frozen=True, slots=True)
class Event:
    """One event, and when it came (seconds of a clock that never goes back)."""

    name: str
    data: dict[str, Any]
    id: str
    at_s: float


@dataclass(slots=True)
class EventStream:
    """A stream that is open. Every wait is bounded."""

    connection: RawConnection
    headers: Headers
    retry_ms: int | None = None
    comments: int = 0
    seen: list[Event] = field(default_factory=list)
    _text: str = ""

    def next(self, *, within_s: float = 10.0) -> Event | None:
        """The next event; None when the stream has ended. TimeoutError if neither comes in time."""
        deadline_s = time.monotonic() + within_s
        while True:
            while "\r\n\r\n" not in self._text:
                piece = self.connection.read_chunk(
                    within_s=max(0.01, deadline_s - time.monotonic())
                )
                if not piece:
                    assert not self._text, self._text
                    return None
                self._text += piece.decode()
            block, _, self._text = self._text.partition("\r\n\r\n")
            if (event := self._event(block)) is not None:
                self.seen.append(event)
                return event

    def until(self, *names: str, within_s: float = 15.0, **data: object) -> Event:
        """The next event of one of these names, with this data; others on the way are kept."""
        deadline_s = time.monotonic() + within_s
        while True:
            event = self.next(within_s=max(0.01, deadline_s - time.monotonic()))
            assert event is not None, f"ended without {names}: {self.seen}"
            if event.name in names and data.items() <= event.data.items():
                return event

    def rest(self, *, within_s: float = 15.0) -> list[Event]:
        """Everything up to the end of the stream."""
        deadline_s = time.monotonic() + within_s
        found = []
        while (event := self.next(within_s=max(0.01, deadline_s - time.monotonic()))) is not None:
            found.append(event)
        return found

    def _event(self, block: str) -> Event | None:
        fields: dict[str, str] = {}
        for line in block.split("\r\n"):
            name, _, value = line.partition(":")
            if not name:
                self.comments += 1
            elif name == "retry":
                self.retry_ms = int(value)
            else:
                assert name not in fields, block
                fields[name] = value.removeprefix(" ")
        if not fields:
            return None
        data = json.loads(fields["data"])
        return Event(fields["event"], data, fields["id"], time.monotonic())


@contextmanager
def watching(client: RawClient, path: str, headers: HeaderItems = ()) -> Iterator[EventStream]:
    """Watch the upload at `path`, as a browser does."""
    with client.connect() as connection:
        yield open_stream(connection, path, headers)


def open_stream(connection: RawConnection, path: str, headers: HeaderItems = ()) -> EventStream:
    """Ask over this connection."""
    asked = {"Accept": "text/event-stream"} | dict(headers)
    connection.send_head("GET", f"{path}/progress", asked)
    status, answered = connection.read_head()
    assert status == 200, (status, answered)
    return EventStream(connection, answered)
