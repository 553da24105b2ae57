"""What S3 answers to a request of ours, read from the bytes of a connection. No I/O.

Strict and small on purpose: whatever is not plainly an answer is an error, and the caller leaves
the call to the SDK.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import httptools

from tusd_s3 import limits

ANSWER_MAX_BYTES: Final = 64 * limits.KIB
"""Of one answer, head and body. S3's head has less than 2 KiB, an error document some hundred
bytes more."""

_BODILESS: Final = frozenset({204, 304})
_SWITCHING_PROTOCOLS: Final = 101


class ExchangeError(Exception):
    """There is no usable answer. What was sent may have been acted upon, or not."""


class DisconnectedError(ExchangeError):
    """The connection ended before the answer did. answered: whether a byte of it had come."""

    def __init__(self, *, answered: bool) -> None:
        self.answered = answered
        super().__init__("the connection ended")


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer. headers: names in lower case; of one that is repeated, the last.

    is_framed: whether its end was announced. If not, it went on until the connection ended, and may
    have been cut short. keeps_alive: whether another request may follow on the connection.
    """

    status: int
    headers: dict[str, str]
    body: bytes
    is_framed: bool
    keeps_alive: bool


@dataclass(frozen=True, slots=True)
class Head:
    """What stands before the body of an answer. size: of the body in bytes, None if its end is told
    in another way. The others: see `Answer`."""

    status: int
    headers: dict[str, str]
    size: int | None
    keeps_alive: bool


@dataclass(slots=True, eq=False)
class AnswerReader:
    """Takes the bytes of a connection until they make an answer; interim ones (1xx) are skipped.

    has_surplus: whether anything came behind the answer, which nobody asked for.
    has_begun: whether anything came at all.
    """

    has_surplus: bool = False
    _parser: httptools.HttpResponseParser | None = None
    _headers: dict[str, str] = field(default_factory=dict)
    _body: list[bytes] = field(default_factory=list)
    _taken_bytes: int = 0
    _has_head: bool = False
    _answer: Answer | None = None

    def __post_init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)

    @property
    def has_begun(self) -> bool:
        return self._taken_bytes > 0

    def head(self) -> Head | None:
        """The head of the final answer, once it is there; not after the whole was."""
        if not self._has_head or self._parser is None or self._status < 200:
            return None
        length = self._headers.get("content-length", "")
        is_plain = length.isdigit() and "transfer-encoding" not in self._headers
        return Head(
            status=self._status,
            headers=self._headers,
            size=int(length) if is_plain else None,
            keeps_alive=self._parser.should_keep_alive(),
        )

    def begun_body(self) -> bytes:
        """What came of the body so far."""
        return b"".join(self._body)

    def feed(self, data: bytes) -> Answer | None:
        """The answer, once it is whole. Raises ExchangeError for what is none, or is too long."""
        self._taken_bytes += len(data)
        if self._parser is None or self._taken_bytes > ANSWER_MAX_BYTES:
            raise ExchangeError(f"the answer is longer than {ANSWER_MAX_BYTES} bytes")
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as error:
            raise ExchangeError("the answer changes the protocol") from error
        except httptools.HttpParserError as error:
            if self._answer is None:
                raise ExchangeError("the answer is not HTTP") from error
            self.has_surplus = True
        if self._answer is not None:
            self._parser = (
                None  # it refers to this object, which would otherwise need the collector
            )
        return self._answer

    def end(self) -> Answer | None:
        """The connection ended: the answer if that was how its end was to be told."""
        if self._answer is None and self._has_head and not self._is_framed:
            return self._finished(is_framed=False)
        return None

    # Called by the parser.

    def on_message_begin(self) -> None:
        self.has_surplus = self._answer is not None

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self._has_head = True

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        if self._answer is not None:
            return
        if self._status < 200:
            self._has_head = False
            self._headers.clear()
            return
        self._answer = self._finished(is_framed=True)

    @property
    def _status(self) -> int:
        assert self._parser is not None
        return self._parser.get_status_code()

    @property
    def _is_framed(self) -> bool:
        # RFC 9112, 6.3: what tells where the body of an answer ends.
        return (
            self._status in _BODILESS
            or "content-length" in self._headers
            or self._headers.get("transfer-encoding", "").lower().endswith("chunked")
        )

    def _finished(self, *, is_framed: bool) -> Answer:
        assert self._parser is not None
        return Answer(
            status=self._status,
            headers=self._headers,
            body=b"".join(self._body),
            is_framed=is_framed,
            keeps_alive=is_framed and self._parser.should_keep_alive(),
        )
