"""The end of an example: every upload arrives, is what was sent, and leaves nothing behind."""

from __future__ import annotations

import time
from collections.abc import Callable

from tests.campaign.arena import OBJECT_PREFIX, Arena
from tests.campaign.client import Answer, Client, Sending
from tests.campaign.ledger import Violation, Writer
from tests.campaign.report import Report
from tests.campaign.subject import Subject
from tests.support.tus import id_of
from tests.support.waiting import eventually

_ANSWERS_WITHIN_S = 30.0
_ARRIVES_WITHIN_S = 90.0
_CLEAN_WITHIN_S = 10.0

STRAYS = frozenset({"multipart upload", "recovery object"})
"""What nobody may know of after a crash or a loss. Only its age tells the janitor that it may go:
it stays for an upload's lifetime. Counted, and held against the servers only where told."""


class Judge:
    """Judges uploads after all faults were mended.

    sweep_within_s: the servers complete stuck uploads by themselves within so long; None: they do
    not. lifetime_s: of uploads. strays_within_s: the servers remove `STRAYS` within so long once a
    lifetime has passed; None: some may stay.
    """

    def __init__(
        self,
        arena: Arena,
        client: Client,
        report: Report,
        note: Callable[[str], None],
        *,
        sweep_within_s: float | None,
        strays_within_s: float | None,
        lifetime_s: float | None,
    ) -> None:
        self._arena = arena
        self._client = client
        self._report = report
        self._note = note
        self._sweep_within_s = sweep_within_s
        self._strays_within_s = strays_within_s
        self._lifetime_s = lifetime_s

    def judge(self, subjects: list[Subject], lost_creations: list[bytes]) -> None:
        """All uploads of an example."""
        for subject in subjects:
            subject.check_object(must_exist=subject.must_have_its_object)
            if self._sweep_within_s is not None:
                self._arrives_alone(subject, self._sweep_within_s)
        for subject in subjects:
            if subject.is_open and subject.serial % 4 != 3:
                self._finish(subject)
            if subject.must_have_its_object:
                subject.check_object(must_exist=True)
                if not subject.ledger.losses:  # an older copy brings all its keys back
                    self._leaves(subject, {"object", "record"})
            self._remove(subject)
        if self._strays_within_s is not None:
            self._nothing_stays(self._strays_within_s)
        self._check_strangers(subjects, lost_creations)

    def _finish(self, subject: Subject) -> None:
        """A client that goes on until the upload is whole."""
        deadline = time.monotonic() + _ARRIVES_WITHIN_S
        while True:
            if time.monotonic() > deadline:
                raise Violation(f"{subject.name} does not arrive")
            offset = self._head(subject)
            if offset is None or not subject.is_open:
                return
            rest = subject.total - offset
            writer, how = Writer(offset, subject.total, 0), Sending(declared=rest, sent=rest)
            subject.sending(writer)
            before = subject.asked()
            length = {"Upload-Length": f"{subject.total}"} if subject.deferred else {}
            body = subject.body()[offset:]
            answer = self._client.patch(0, subject.path, offset, body, how, length)
            self._note(f"finish {subject.name} from {offset}: {answer}")
            subject.patched(answer, before, writer, how, declares=subject.deferred)
            if answer.status not in {204, 404, 409, 423}:
                raise Violation(f"all is well, and PATCH of {subject.name} was answered {answer}")
            if answer.status == 204 and answer.offset == subject.total:
                return

    def _head(self, subject: Subject) -> int | None:
        """The offset; None when there is no such upload any more."""
        before = subject.asked()

        def answered() -> Answer | None:
            answer = self._client.head(1, subject.path)
            return None if answer.status == 423 else answer

        try:
            answer = eventually(answered, within_s=_ANSWERS_WITHIN_S)
        except Violation:
            raise
        except AssertionError:
            raise Violation(f"{subject.name} stays locked") from None
        self._note(f"head {subject.name}: {answer}")
        subject.headed(answer, before)
        if answer.status == 0:
            raise Violation(f"all is well, and HEAD of {subject.name} had no answer")
        return answer.offset

    def _remove(self, subject: Subject) -> None:
        """Terminate it; then nothing of it is left."""

        def answered() -> Answer | None:
            answer = self._client.delete(0, subject.path)
            return None if answer.status == 423 else answer

        answer = eventually(answered, within_s=_ANSWERS_WITHIN_S, what="DELETE is not 423")
        self._note(f"delete {subject.name}: {answer}")
        if answer.status == 404 and not subject.ended and not subject.terminated:
            subject.deleted(answer)
        elif answer.status not in {204, 404}:
            raise Violation(f"all is well, and DELETE of {subject.name} was answered {answer}")
        # What Redis forgot or dropped, nobody can find: the object stays, and is what was sent.
        is_out_of_sight = subject.ledger.losses > 0 or subject.is_past()
        forgotten = answer.status == 404 and not subject.terminated and is_out_of_sight
        if forgotten:
            expired = not subject.ledger.losses
            subject.check_object(must_exist=expired and subject.must_have_its_object)
        self._leaves(subject, {"object"} if forgotten else set())

    def _arrives_alone(self, subject: Subject, within_s: float) -> None:
        """An upload that has all its bytes becomes an object although nobody asks for it."""
        if not subject.is_open or not self._is_whole(subject):
            return
        self._note(f"{subject.name} is whole, and waits to be completed")

        def is_there() -> bool:
            return self._arena.bucket.get(subject.key) is not None

        eventually(
            lambda: is_there() or self._has_expired(subject),
            within_s=within_s,
            what=f"{subject.name} appears by itself",
        )
        if is_there():
            self._report.count("uploads that arrived by themselves")
            subject.check_object(must_exist=True)

    def _has_expired(self, subject: Subject) -> bool:
        return subject.is_past() and not self._arena.redis_view.record(id_of(subject.path))

    def _is_whole(self, subject: Subject) -> bool:
        """Whether the record says that every byte is durable."""
        record = self._arena.redis_view.snapshot(id_of(subject.path))
        fields = next((value for value in record.values() if isinstance(value, dict)), {})
        if not fields.get(b"length"):
            return False
        first = int(fields[b"layout"].partition(b"/")[0])
        start = min(int(fields[b"parts"]) * first, int(fields[b"length"]))
        return start + int(fields[b"tail"] or 0) == int(fields[b"length"])

    def _leaves(self, subject: Subject, may_stay: set[str]) -> None:
        """Eventually nothing but `may_stay` is left of it."""
        strays = STRAYS if self._strays_within_s is None else frozenset[str]()
        within_s = _CLEAN_WITHIN_S
        if self._strays_within_s is not None:
            within_s += self._strays_within_s + (self._lifetime_s or 0)

        def clean() -> bool:
            found = self.remains(subject)
            too_much = {kind: names for kind, names in found.items() if kind not in may_stay}
            assert not set(too_much) - strays, too_much
            return True

        try:
            eventually(clean, within_s=within_s, what=f"{subject.name} leaves nothing behind")
        except AssertionError as error:
            raise Violation(str(error)) from None
        for kind in set(self.remains(subject)) & strays:
            self._report.count(f"stray {kind}")
            self._note(f"stray {kind} of {subject.name}")

    def remains(self, subject: Subject) -> dict[str, list[str]]:
        """What is left of an upload in the bucket and in Redis, by kind."""
        upload_id = id_of(subject.path)
        found: dict[str, list[str]] = {}
        for key in self._arena.bucket.keys(OBJECT_PREFIX):
            if upload_id in key:
                kind = "object" if key == subject.key else "recovery object"
                found.setdefault(kind, []).append(key)
        for key, multipart_id in self._arena.bucket.multipart_uploads(OBJECT_PREFIX):
            if upload_id in key:
                found.setdefault("multipart upload", []).append(multipart_id)
        for key in self._arena.redis_view.keys(upload_id):
            kind = "record" if key.endswith((upload_id, upload_id + "}")) else "redis"
            found.setdefault(kind, []).append(key)
        return found

    def _nothing_stays(self, within_s: float) -> None:
        """Nor of creations whose address nobody learned, but for their objects."""

        def clean() -> bool:
            keys = self._arena.bucket.keys(OBJECT_PREFIX)
            left = [key for key in keys if "/.tus/" in key]
            left += [str(one) for one in self._arena.bucket.multipart_uploads(OBJECT_PREFIX)]
            records = self._arena.redis_view.keys("")
            left += [key for key in records if ":janitor:" not in key]
            assert not left, left
            return True

        within_s += _CLEAN_WITHIN_S + (self._lifetime_s or 0)
        try:
            eventually(clean, within_s=within_s, what="nothing stays but objects")
        except AssertionError as error:
            raise Violation(str(error)) from None

    def _check_strangers(self, subjects: list[Subject], lost_creations: list[bytes]) -> None:
        """Objects of uploads whose address no client ever learned are what was sent, too."""
        ours = {subject.key for subject in subjects} | {one.recovery_key for one in subjects}
        for key in self._arena.bucket.keys(OBJECT_PREFIX):
            if key in ours or "/.tus/" in key:
                continue
            stored = self._arena.bucket.get(key)
            if stored is not None and stored.body not in lost_creations:
                raise Violation(f"nobody sent the {len(stored.body)} bytes of {key}")
            self._report.count("objects of lost creations compared")
