"""The server under test, and the model of what it has stored.

Each message of a batch is aimed at an upload of its own, so that what changed an upload is known.
The model is short: an upload is what it was, unless its message was answered 204 or may have been
a PATCH that was cut; uploads exist if they were answered 201, or if no answer could come.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from tests.fuzz.exchange import Reply, exchange
from tests.fuzz.messages import LENGTH, OFFSET, Message
from tests.fuzz.verdict import METADATA, Answer, answers
from tests.support.bodies import body_of
from tests.support.raw import RawConnection, RawResponse
from tests.support.tus import TUS, id_of
from tests.support.waiting import eventually
from tests.support.world import World

_ID = re.compile(r"\{([A-Za-z0-9_-]{22})\}")
_NAMED = re.compile(r"creation:[0-9a-f]{64}")
_ORDINARY = re.compile(r"\d{4}-\d\d-\d\dT[0-9:.]+Z (?:DEBUG|INFO) [\w.]+: ")
_CUT = re.compile(
    r"\S+ WARNING tusd_s3\.app: (?:PATCH|POST) /files/\S*: (?:unavailable|body_timed_out)"
)
"""A body that did not come to its end: with a checksum it is `unavailable`, which nobody reads."""
_LEFT_OUT = re.compile(
    r"\S+ WARNING tusd_s3\.engine: upload [\w-]{22}: too much for its object: [ -~]+"
)
"""Metadata that an S3 object cannot carry."""
_SETTLED_WITHIN_S: Final = 10.0
_NOTE_MAX_CHARS: Final = 3000

Stored = dict[str, object]


@dataclass(frozen=True, slots=True)
class Slot:
    """An upload under test as it was made."""

    path: str
    stored: Stored

    @property
    def id(self) -> str:
        """Its id."""
        return id_of(self.path)


@dataclass(slots=True)
class Subject:
    """A running server. `check` sends a batch and fails unless all is as it must be."""

    world: World
    answered: dict[int, int] = field(default_factory=dict)
    _slots: list[Slot] = field(default_factory=list)
    _unanswered: int = 0
    _log_read: int = 0
    _was_cut: bool = False

    def check(self, batch: Sequence[Message]) -> None:
        """Send each message to an upload of its own, and judge answers, state and log."""
        try:
            self._check(batch)
        except BaseException:
            # Whatever is tried next begins with uploads that nothing happened to.
            self._slots.clear()
            self._wipe()
            self._new_log()
            raise

    def verify_bytes(self) -> None:
        """Complete the uploads that nothing changed: their bytes are what was sent."""
        body = body_of(LENGTH)
        for slot in self._slots:
            self.world.client.upload_from(slot.path, body)
            assert self.world.object_of(slot.path) == body
            assert self.world.client.delete(slot.path).status == 204
        self._slots.clear()
        self._settle(set())

    def _check(self, batch: Sequence[Message]) -> None:
        self._refill(len(batch))
        slots = self._slots[: len(batch)]
        aimed = [message.aimed(slot.id) for message, slot in zip(batch, slots, strict=True)]
        replies = asyncio.run(exchange(self.world.client.address, aimed))
        found = []
        for message, reply in zip(aimed, replies, strict=True):
            with _about(message, reply):
                found.append(answers(reply, message))
        heads = self._heads(slots)
        stored = _by_upload(self.world.redis.snapshot())
        told: set[str] = set()
        for slot, message, reply, given, head in zip(
            slots, aimed, replies, found, heads, strict=True
        ):
            self._count(given)
            told |= self._judge_creations(message, reply, given)
            with _about(message, reply):
                spent = self._judge(slot, message, reply, given, head, stored.get(slot.id, {}))
            if spent:
                self._slots.remove(slot)
                told.add(slot.id)
        self._settle(told)
        cut = any(one.may_be_cut or one.ending == "reset" for one in aimed)
        self._judge_log(cut or self._was_cut)  # a reset may be noticed late
        self._was_cut = cut

    def _refill(self, count: int) -> None:
        client = self.world.client
        paths = [
            client.new_upload(LENGTH, metadata=METADATA, body=body_of(OFFSET))
            for _ in range(count - len(self._slots))
        ]
        stored = _by_upload(self.world.redis.snapshot()) if paths else {}
        self._slots += [Slot(path, stored[id_of(path)]) for path in paths]

    def _heads(self, slots: Sequence[Slot]) -> list[RawResponse]:
        """HEAD of every upload under test, pipelined: the server goes on answering."""
        with RawConnection(self.world.client.address) as connection:
            for slot in slots:
                connection.send_head("HEAD", slot.path, TUS)
            return [connection.read_response("HEAD") for _ in slots]

    def _judge(
        self,
        slot: Slot,
        message: Message,
        reply: Reply,
        given: list[Answer],
        head: RawResponse,
        stored: Stored,
    ) -> bool:
        """Whether the upload was changed, or may yet be, by what was allowed to."""
        appended = [int(it.headers["upload-offset"]) for it in given if _is_append(it)]
        deleted = any(_is_delete(it) for it in given)
        untold = reply.cut or not given
        refused = bool(given) and given[0].status >= 400 and message.first_is_whole
        # Of several requests it is not known here which one an answer is for.
        refused |= message.data.count(b"HTTP/1.1") == 1 and any(map(_is_refusal, given))
        if head.status == 404:
            # A head may have been acted on before its body turned out to be malformed.
            unclear = untold or message.may_be_cut
            assert deleted or (message.deletes(slot.id) and unclear), f"it is gone: {given}"
            return True
        assert head.status == 200, head
        assert not deleted, f"it was answered 204 and is still there: {given}"
        if head.offset == OFFSET and stored == slot.stored:
            assert max(appended, default=OFFSET) == OFFSET, f"not stored: {given}"
            return (untold or message.may_be_cut) and (
                message.may_append(slot.id) or message.deletes(slot.id)
            )
        if appended:
            assert message.may_append(slot.id), f"that was no PATCH at the offset: {given}"
            several = message.data.count(b"PATCH") > 1
            assert head.offset == max(appended) or (several and head.offset > max(appended)), given
            return True
        assert message.may_append(slot.id), f"changed by what was no PATCH: {stored}, {given}"
        assert not refused, f"stored, and yet answered {given[0]}"
        assert OFFSET <= head.offset <= OFFSET + len(message.data), head
        return True

    def _judge_creations(self, message: Message, reply: Reply, given: list[Answer]) -> set[str]:
        """Ids that were told; and how many uploads may exist that were not."""
        created = [id_of(it.headers["location"]) for it in given if it.status == 201]
        if reply.cut or len(given) < message.creations_max or message.may_be_cut:
            self._unanswered += max(0, message.creations_max - len(created))
        return set(created)

    def _settle(self, told: set[str]) -> None:
        """What was created beside the uploads under test is what was told; it is removed, and then
        nothing else is left."""
        kept = {slot.id for slot in self._slots}
        untold: set[str] = set()

        def only_ours() -> bool:
            others = _ids(keys := self._keys()) - kept
            untold.update(others - told)
            for upload_id in others:
                self.world.client.delete(f"/files/{upload_id}")
            self._nothing_but(kept, self._keys() if others else keys)
            return True

        eventually(only_ours, within_s=_SETTLED_WITHIN_S, what="nothing is left but what was told")
        assert len(untold) <= self._unanswered, f"nobody was told of {untold}"
        self._unanswered -= len(untold)

    def _nothing_but(self, kept: set[str], keys: list[str]) -> None:
        assert _ids(keys) <= kept
        prefix = self.world.stores.redis_prefix
        others = [key.removeprefix(prefix) for key in keys]
        odd = [key for key in others if not (_ID.search(key) or _NAMED.fullmatch(key))]
        assert not odd, odd
        object_prefix = self.world.stores.object_prefix
        assert not self.world.bucket.keys(object_prefix)
        assert not self.world.bucket.multipart_uploads(object_prefix)

    def _keys(self) -> list[str]:
        view = self.world.redis
        return view.keys()

    def _judge_log(self, may_be_cut: bool) -> None:
        """No error, no unexplained warning, and no line that is not the server's."""
        new = self._new_log()
        lines = new.removesuffix("\n").split("\n") if new else []
        odd = [line for line in lines if not _ORDINARY.match(line)]
        odd = [line for line in odd if not _LEFT_OUT.fullmatch(line)]
        odd = [line for line in odd if not (may_be_cut and _CUT.fullmatch(line))]
        assert not odd, "the server logged:\n{}".format("\n".join(odd[:60]))

    def _new_log(self) -> str:
        with self.world.server.log_path.open("rb") as log:
            log.seek(self._log_read)
            new = log.read()
        self._log_read += len(new)
        return new.decode(errors="replace")

    def _wipe(self) -> None:
        for upload_id in _ids(self._keys()):
            self.world.client.delete(f"/files/{upload_id}")

    def _count(self, given: list[Answer]) -> None:
        for answer in given:
            self.answered[answer.status] = self.answered.get(answer.status, 0) + 1


@contextmanager
def _about(message: Message, reply: Reply) -> Iterator[None]:
    """Tell which of a batch it was."""
    try:
        yield
    except AssertionError as error:
        error.add_note(f"sent: {message}"[:_NOTE_MAX_CHARS])
        error.add_note(f"came: {reply}"[:_NOTE_MAX_CHARS])
        raise


def _ids(keys: list[str]) -> set[str]:
    return {match[1] for key in keys if (match := _ID.search(key)) is not None}


def _by_upload(snapshot: object) -> dict[str, Stored]:
    """What is stored of each upload."""
    assert isinstance(snapshot, dict)
    found: dict[str, Stored] = {}
    for key, value in snapshot.items():
        if (match := _ID.search(key)) is not None:
            found.setdefault(match[1], {})[key] = value
    return found


def _is_refusal(answer: Answer) -> bool:
    """Whether it says that nothing of the body was kept, however much of it came."""
    invalid = answer.status == 400 and answer.code != "bad_request"
    return invalid or answer.status in (409, 412, 415, 460)


def _is_append(answer: Answer) -> bool:
    return answer.status == 204 and "upload-offset" in answer.headers


def _is_delete(answer: Answer) -> bool:
    headers = answer.headers
    return answer.status == 204 and "upload-offset" not in headers and "tus-version" not in headers
