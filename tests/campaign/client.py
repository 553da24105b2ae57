"""A client as the model needs it: one request, and either its answer or a broken connection."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.campaign.ledger import Violation
from tests.campaign.worker import Worker
from tests.support.raw import RawConnection, RawResponse
from tests.support.tus import OCTET_STREAM, TUS, RawClient, patch_headers
from tests.support.waiting import eventually

ANSWER_WITHIN_S = 45.0
"""Longer than any fault lasts and any wait of the server: more is a hang."""

_PIECE_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; None when the connection broke, and whether the server had been ended."""

    response: RawResponse | None
    broke_by_us: bool = False

    @property
    def status(self) -> int:
        """0 when the connection broke."""
        return 0 if self.response is None else self.response.status

    @property
    def offset(self) -> int | None:
        """`Upload-Offset`, if it is there."""
        if self.response is None or "Upload-Offset" not in self.response.headers:
            return None
        return self.response.offset

    def __str__(self) -> str:
        if self.response is None:
            return "no answer"
        code = f" {self.response.code}" if self.response.body else ""
        at = "" if self.offset is None else f" at {self.offset}"
        return f"{self.status}{code}{at}"


@dataclass(frozen=True, slots=True)
class Sending:
    """How a body goes out.

    declared: bytes announced with Content-Length; None for a chunked body.
    sent: bytes that really go out. pause_s: between pieces. end: what follows them: `answer`,
    `reset`, `fin`, `close`, `silence`.
    """

    declared: int | None
    sent: int
    pause_s: float = 0.0
    end: str = "answer"

    @property
    def is_whole(self) -> bool:
        """Whether the body goes out as announced."""
        return self.end == "answer" or self.sent == self.declared


class Client:
    """Reaches the uploads through any server that is up."""

    def __init__(self, workers: list[Worker]) -> None:
        self._workers = workers

    def ask(self, who: int, send: Callable[[RawClient], RawResponse]) -> Answer:
        """One request without much of a body. A connection that breaks although nobody ended the
        server is a violation."""
        worker = self._reachable(who)
        deaths = worker.deaths
        try:
            return Answer(send(_client_of(worker)))
        except TimeoutError:
            raise Violation(f"no answer within {ANSWER_WITHIN_S} s") from None
        except OSError as error:
            if worker.is_up and worker.deaths == deaths:
                raise Violation(f"the connection broke by itself: {error!r}") from error
            return Answer(None, broke_by_us=True)

    def head(self, who: int, path: str) -> Answer:
        """HEAD."""
        return self.ask(who, lambda client: client.head(path))

    def delete(self, who: int, path: str) -> Answer:
        """DELETE."""
        return self.ask(who, lambda client: client.delete(path))

    def create_cut(self, who: int, length: int | None, body: bytes, end: str) -> Answer:
        """POST whose connection is cut behind `body`, with more announced if there can be more."""
        kind = {"Upload-Defer-Length": "1"} if length is None else {"Upload-Length": f"{length}"}
        announced = len(body) + (length is None or len(body) < length)
        headers = {**TUS, **kind, "Content-Type": OCTET_STREAM, "Content-Length": f"{announced}"}
        try:
            with _client_of(self._reachable(who)).connect() as connection:
                connection.send_head("POST", "/files/", headers)
                how = Sending(announced, len(body), end=end)
                _send(connection, body, how)
                return _ended(connection, how)
        except TimeoutError:
            raise Violation(f"no answer within {ANSWER_WITHIN_S} s") from None
        except OSError:
            return Answer(None)

    def patch(
        self,
        who: int,
        path: str,
        offset: int,
        body: bytes,
        how: Sending,
        headers: dict[str, str],
        meanwhile: Callable[[], object] = lambda: None,
    ) -> Answer:
        """PATCH; `meanwhile` runs when all that is to go out is out, before its end."""
        sent = body[: how.sent]
        try:
            with _client_of(self._reachable(who)).connect() as connection:
                fields = patch_headers(offset, how.declared, headers)
                connection.send_head("PATCH", path, fields)
                _send(connection, sent, how)
                meanwhile()
                return _ended(connection, how)
        except TimeoutError:
            raise Violation(f"no answer within {ANSWER_WITHIN_S} s") from None
        except OSError:
            return Answer(None)

    def _reachable(self, who: int) -> Worker:
        order = [self._workers[who % 2], self._workers[1 - who % 2]]
        # Both may be down for as long as a start takes.
        return eventually(
            lambda: next((worker for worker in order if worker.is_up), None),
            within_s=60.0,
            what="a server is up",
        )


def _client_of(worker: Worker) -> RawClient:
    return RawClient(("127.0.0.1", worker.server.port), timeout_s=ANSWER_WITHIN_S)


def _send(connection: RawConnection, body: bytes, how: Sending) -> None:
    try:
        for start in range(0, len(body), _PIECE_BYTES):
            piece = body[start : start + _PIECE_BYTES]
            if how.declared is None:
                connection.send_chunk(piece)
            else:
                connection.send(piece)
            if how.pause_s:
                time.sleep(how.pause_s)  # a slow client
        if how.declared is None and how.end == "answer":
            connection.end_chunks()
    except (BrokenPipeError, ConnectionResetError):
        pass  # a server that refuses may close early; its answer is what counts


def _ended(connection: RawConnection, how: Sending) -> Answer:
    if how.end == "reset":
        connection.reset()
        return Answer(None)
    if how.end == "close":
        return Answer(None)
    if how.end == "fin":
        connection.finish()
        connection.read_until_closed(within_s=ANSWER_WITHIN_S)
        return Answer(None)
    return Answer(connection.read_response())
