"""uvicorn's HTTP/1.1 protocol, with five things closed that it leaves open.

- *What is not body has no bound*, in size or time: a client may send headers, trailers or a
  request line for ever, and they are kept in memory. Here they are counted and timed.
- *A body behind an offered upgrade is read as the next request.* The parser stops at the head of a
  request that offers another protocol (Java's HttpClient offers h2c with every first request), and
  uvicorn lets it go on with whatever follows. We speak no other protocol, so the offer is declined:
  the head is parsed again without it (RFC 9110, 7.8: a server may ignore Upgrade).
- *Trailers are added to the request's headers*, where a late `Upload-Offset` would be taken for the
  one that was checked. Here they are kept apart, and only the one that we know the meaning of (RFC
  9110, 6.5.1: only what is known to be safe may be merged).
- *What it has read of a body when the connection ends is dropped*, up to 320 KiB of it, and a body
  is copied four times on its way to the application. Here an `Inbox` takes the pieces as they are,
  and the connection is read only while the application waits for more.
- *A client that sends a request and then closes its sending side gets no response.* Here it does:
  a half-closed connection is as good as a whole one for that (RFC 9112, 9.6).
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import math
import socket
from typing import TYPE_CHECKING, Any, Final, cast

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tusd_s3 import limits
from tusd_s3.app.body import TRAILERS_KEY
from tusd_s3.app.inbox import BUDGET_KEY, INBOX_KEY, PACE_KEY, Inbox
from tusd_s3.app.outlet import TRANSPORT_KEY
from tusd_s3.app.streaming import STREAM_KEY
from tusd_s3.blocks import LARGE_BLOCK_BYTES
from tusd_s3.budget import READ_MAX_BYTES, MemoryBudget
from tusd_s3.model.chunk import Chunk
from tusd_s3.pace import Pace
from tusd_s3.ports import BodyEnd
from tusd_s3.protocol import checksum
from tusd_s3.serving.refusals import HEAD_MAX_BYTES, MALFORMED, TOO_LONG

if TYPE_CHECKING:
    from uvicorn._types import (
        ASGI3Application,
        ASGIReceiveCallable,
        ASGIReceiveEvent,
        ASGISendCallable,
        HTTPScope,
    )
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

LINGER_MAX_S: Final = 1.0
"""How long a connection with a refused head stays open, its bytes unread: one that is closed with
bytes on the way is reset, and a reset takes the response along."""

HEAD_MAX_S: Final = 30.0
"""From the opening of a connection, or the first byte of a further request, to its last header."""


_TRAILER: Final = checksum.FIELD.lower().encode("ascii")
UNASKED_MAX_BYTES: Final = 16 * limits.KIB
"""Most that is read at once while no body is waited for: a head, and what comes along with it."""

STREAM_BUFFER_BYTES: Final = 4 * limits.KIB
"""What is kept of a stream that its client does not take, here and again by the system: some ten
events. What comes later is newer, so that there is no use in keeping more."""

_OFFER_HEADERS: Final = frozenset({b"upgrade", b"connection", b"http2-settings"})


class _Transport:
    """A transport that drops what is written to it once it is closing.

    uvloop's raises then, until the end of the connection was announced; an application that
    answers in just that moment would seem to have failed.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport

    def write(self, data: bytes) -> None:
        if data and not self._transport.is_closing():
            self._transport.write(data)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - all else is the transport's own
        return getattr(self._transport, name)


def _inbox_of(cycle: RequestResponseCycle) -> Inbox | None:
    return cast("Inbox | None", cycle.scope.get(INBOX_KEY))


async def _run(
    app: ASGI3Application, scope: HTTPScope, receive: ASGIReceiveCallable, send: ASGISendCallable
) -> None:
    """`app`, which may belong to a host that knows of no inbox and reads bodies as ASGI has it."""
    inbox = cast("Inbox | None", scope.get(INBOX_KEY))
    if inbox is None:
        await app(scope, receive, send)
        return

    async def receive_from_inbox() -> ASGIReceiveEvent:
        item = await inbox.read()
        if item is BodyEnd.DISCONNECTED:
            return {"type": "http.disconnect"}
        if item is BodyEnd.COMPLETE:
            return await receive()  # says so once, and then waits for the end of the connection
        inbox.account.release(len(item))
        return {"type": "http.request", "body": bytes(item), "more_body": True}

    try:
        await app(scope, receive_from_inbox, send)
    finally:
        inbox.close()


class BoundedHttpProtocol(HttpToolsProtocol):
    """See the module's text."""

    _overhead_bytes = 0
    _progressed = False
    _awaits_head = True
    _offered_upgrade = False
    _refused = False
    _head_timer: asyncio.TimerHandle | None = None
    _budget: MemoryBudget | None = None
    _pace: Pace
    _inbox: Inbox | None = None
    _pieces: list[Chunk]
    _is_stream = False
    _body_left = 0
    """Bytes of a body of known length that are still to come."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """The first head is due from now on."""
        super().connection_made(transport)
        # What is written goes to the kernel now. uvloop would else hold it until it has polled its
        # sockets once more: a millisecond or two where large bodies come in.
        transport.set_write_buffer_limits(high=0)
        self.transport = cast("asyncio.Transport", _Transport(transport))
        self._budget = self.app_state.get(BUDGET_KEY)
        self._pace = self.app_state.get(PACE_KEY) or Pace()
        self.app = functools.partial(_run, self.app)
        self._pieces = []
        self._arm_head_timer()

    @property
    def read_bytes(self) -> int:
        """How much may be read at once: of what nobody asked for, not more than a head."""
        inbox = self._inbox
        if inbox is None or self._budget is None or not inbox.is_wanted:
            return UNASKED_MAX_BYTES
        return inbox.room_bytes or self._budget.read_bytes

    def connection_lost(self, exc: Exception | None) -> None:
        """No head is due any more; what was read of a body is left for the application."""
        self._disarm_head_timer()
        for cycle, _ in self.pipeline:  # nobody will ever look at these
            if (unseen := _inbox_of(cycle)) is not None:
                unseen.close()
        if self._inbox is not None:
            self._inbox.end(BodyEnd.DISCONNECTED)
        super().connection_lost(exc)

    def eof_received(self) -> bool | None:  # type: ignore[override]
        """The client sends no more; while a whole request is being answered, that is fine."""
        cycle = self._last_cycle
        if cycle is None or cycle.more_body or cycle.response_complete or self._is_stream:
            return None
        cycle.keep_alive = False
        return True

    def data_received(self, data: Chunk) -> None:
        """Parse, and count what was neither a body nor the end of a head or message. Nothing of
        `data` is needed any more when it returns."""
        if self._refused:
            return
        self._unset_keepalive_if_required()
        self._progressed = False
        if self._body_left:
            data = self._take_body(data)
        if data:
            self._feed(bytes(data))
        self._hand_over()
        self._overhead_bytes = 0 if self._progressed else self._overhead_bytes + len(data)
        if self._overhead_bytes > HEAD_MAX_BYTES:
            self._refuse(TOO_LONG)
        elif self._awaits_head and self._overhead_bytes and self._head_timer is None:
            self._arm_head_timer()

    def body_buffer(self) -> memoryview | None:
        """Where bytes may be read to of which all belong to a body; `body_received` is told then.
        None: what is read is for `data_received`."""
        if not self._body_left or self._inbox is None or self._refused:
            return None
        return self._inbox.buffer(self._body_left)

    def body_received(self, nbytes: int) -> None:
        """So many bytes of the body were read into its buffer."""
        assert self._inbox is not None
        self._overhead_bytes = 0
        self._inbox.filled(nbytes)
        if self._body_left > nbytes:
            self.flow.pause_reading()
        self._pass_body(nbytes)

    def _take_body(self, data: Chunk) -> Chunk:
        """Take bytes of a body of known length, which need no parser; what follows it."""
        self._progressed = True
        size = min(len(data), self._body_left)
        self._pieces.append(data[:size])
        self._pass_body(size)
        return data[size:]

    def _pass_body(self, size: int) -> None:
        """So many bytes of the body were taken past the parser."""
        self._body_left -= size
        if self._body_left == 0:
            self._new_parser()  # the old one still waits for the body
            self.on_message_complete()

    def _hand_over(self, *, is_all: bool = False) -> None:
        """Give the application what came of the body, and read on only when it asks."""
        if not self._pieces:
            return
        pieces, self._pieces = self._pieces, []
        if self._inbox is not None:
            self._inbox.push(pieces[0] if len(pieces) == 1 else b"".join(pieces))
            if not is_all:
                self.flow.pause_reading()

    def _new_parser(self) -> None:
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's

    def _feed(self, data: bytes) -> None:
        rest = data
        while rest:
            rest = self._parse(rest)

    def _parse(self, data: bytes) -> bytes:
        """Parse up to an offer that has to be declined, which is parsed again without it; what is
        still to be parsed."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            if (head := self._head_without_offer()) is not None:
                self._offered_upgrade = False
                self._new_parser()
                return head + data[offer.args[0] :]
            self._refuse(MALFORMED)
        except httptools.HttpParserError:
            self._refuse(MALFORMED)
        return b""

    def _head_without_offer(self) -> bytes | None:
        """The request's head again; None for CONNECT, whose body is another protocol's."""
        method = self.parser.get_method()
        if method == b"CONNECT":
            return None
        lines = [method + b" " + self.url + b" HTTP/" + self.parser.get_http_version().encode()]
        lines += [
            name + b": " + value for name, value in self.headers if name not in _OFFER_HEADERS
        ]
        return b"\r\n".join([*lines, b"", b""])

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header; or, after the head, a trailer."""
        if self._awaits_head:
            super().on_header(name, value)
        elif name.lower() == _TRAILER:
            trailers: list[tuple[bytes, bytes]]
            trailers = self.scope.setdefault(TRAILERS_KEY, [])  # type: ignore[typeddict-item] # ours
            trailers.append((_TRAILER, value))

    def on_headers_complete(self) -> None:
        """A head is whole. One with an offer will come again without it."""
        self._progressed = True
        if self.parser.should_upgrade():
            self._offered_upgrade = True
            return
        self._awaits_head = False
        self._disarm_head_timer()
        super().on_headers_complete()
        self._open_inbox()
        if self.scope["method"] == "GET":
            self.scope[STREAM_KEY] = self  # type: ignore[typeddict-unknown-key] # ours

    def begin_stream(self, stall_max_s: float) -> None:
        """See `StreamConnection`. The system times what was sent and not acknowledged, also by a
        client that is no longer there (tcp(7), TCP_USER_TIMEOUT)."""
        self._is_stream = True
        self.cycle.keep_alive = False
        if self.transport.is_closing():  # the client has left already; nothing can be set any more
            return
        self.transport.set_write_buffer_limits(high=STREAM_BUFFER_BYTES)
        connection = self.transport.get_extra_info("socket")
        with contextlib.suppress(OSError):  # no TCP
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, STREAM_BUFFER_BYTES)
            if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
                stall_max_ms = math.ceil(stall_max_s * 1000)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, stall_max_ms)

    def abort(self) -> None:
        """See `StreamConnection`."""
        self.transport.abort()

    def _open_inbox(self) -> None:
        """For the body that the head announces, if it does."""
        fields = dict(self.headers)
        length = int(fields.get(b"content-length", b"0"))
        chunked = b"transfer-encoding" in fields
        if length <= READ_MAX_BYTES and not chunked:
            self._pace.hurry()
        self._inbox = None
        self._body_left = 0
        self.scope[TRANSPORT_KEY] = self.transport  # type: ignore[typeddict-unknown-key] # ours
        if self._budget is not None and (length or chunked):
            self._body_left = 0 if chunked else length
            resume = functools.partial(self._resume, self.cycle)
            self._inbox = Inbox(self._budget, resume)
            self.scope[INBOX_KEY] = self._inbox  # type: ignore[typeddict-unknown-key] # ours

    def _resume(self, cycle: RequestResponseCycle) -> None:
        """Somebody waits for more of this request's body."""
        if cycle.waiting_for_100_continue and not self.transport.is_closing():
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            cycle.waiting_for_100_continue = False
        if self._inbox is not None and self._inbox.is_fast:
            self._pace.run(LARGE_BLOCK_BYTES, functools.partial(self._read_on, cycle))
        else:
            self._read_on(cycle)

    def _read_on(self, cycle: RequestResponseCycle) -> None:
        if not cycle.disconnected and not cycle.response_complete:
            self.flow.resume_reading()

    def on_body(self, body: bytes) -> None:
        """Bytes of a body came; they are bounded by whoever reads them."""
        self._progressed = True
        if self._inbox is None:
            super().on_body(body)
        else:
            self._body_left = max(0, self._body_left - len(body))
            self._pieces.append(body)

    def on_message_complete(self) -> None:
        """The next bytes begin another head."""
        self._progressed = True
        if self._offered_upgrade:
            return
        self._awaits_head = True
        if self._inbox is not None:
            self._hand_over(is_all=True)
            self._inbox.end(BodyEnd.COMPLETE)
        super().on_message_complete()

    @property
    def _last_cycle(self) -> RequestResponseCycle | None:
        # uvicorn declares it as never None, which it is before the first head.
        return cast("RequestResponseCycle | None", self.cycle)

    def _refuse(self, response: bytes) -> None:
        """Answer and close. What still comes is dropped."""
        if self.transport.is_closing():
            return
        self._refused = True
        self._disarm_head_timer()
        cycle = self._last_cycle
        if cycle is None or cycle.response_complete:
            self.transport.write(response)
            self._head_timer = self.loop.call_later(LINGER_MAX_S, self._close)
            return
        if not cycle.more_body:
            # What is due is the answer to the whole request that came before; it may be at work.
            cycle.keep_alive = False
            return
        # In the middle of a body: the application must learn at once that no more will come.
        if not cycle.response_started and not self.pipeline:
            self.transport.write(response)
        self.transport.close()

    def _arm_head_timer(self) -> None:
        self._head_timer = self.loop.call_later(HEAD_MAX_S, self._close)

    def _disarm_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _close(self) -> None:
        self._head_timer = None
        if not self.transport.is_closing():
            self.transport.close()
