"""The clients of one example, and what they have uploaded so far."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from tests.campaign.arena import Arena
from tests.campaign.choices import SIZES, SLOTS, share
from tests.campaign.client import Answer, Client, Sending
from tests.campaign.ledger import Violation, Writer
from tests.campaign.lifetime import Lifetime
from tests.campaign.report import Report
from tests.campaign.subject import BUSY, Subject, body_for
from tests.support.checksums import with_checksum
from tests.support.tus import path_of

_ASK_AGAIN_S = 0.25
_GONE_WITHIN_S = 30.0
"""Longer than any fault lasts: while one does, whether an upload is there cannot be answered."""


class Play:
    """What the steps are made of. note: for the journal. lifetime_s: of uploads; None: for ever."""

    def __init__(
        self,
        arena: Arena,
        report: Report,
        note: Callable[[str], None],
        *,
        lifetime_s: float | None,
    ) -> None:
        self._arena = arena
        self._report = report
        self._note = note
        self._lifetime_s = lifetime_s
        self._slots: list[Subject | None] = [None] * SLOTS
        self._created = 0
        self._losses = 0
        self.client = Client(arena.workers)
        self.subjects: list[Subject] = []
        self.lost_creations: list[bytes] = []

    def lose(self, loss: Callable[[], None]) -> None:
        """Run a loss of data. What is acknowledged between the two notes may be lost or not."""
        floors = {subject: subject.floor() for subject in list(self.subjects)}
        self._losses += 1
        for subject, floor in floors.items():
            subject.lost(floor)
        loss()
        self._losses += 1
        for subject in list(self.subjects):
            subject.lost(floors.get(subject, 0))
        self._note("    (Redis lost data)")

    def present(self, slot: int) -> Subject | None:
        """The upload in a slot, in whatever state it is."""
        return self._slots[slot]

    def subject(self, slot: int) -> Subject:
        """The upload in a slot; a new one if there is none any more."""
        subject = self._slots[slot]
        if subject is None or subject.ended or subject.terminated:
            size = SIZES[(self._created * 5 + slot * 3) % len(SIZES)]
            deferred = self._created % 3 == 2
            for _ in range(20):
                if self.create(slot, size, "none", slot % 2, deferred=deferred, end="answer"):
                    break
                time.sleep(0.25)  # a client's own pause before it tries again
            else:
                self._arena.mend()
                if not self.create(slot, size, "none", 0, deferred=deferred, end="answer"):
                    raise Violation("all is well, and no upload can be created")
        subject = self._slots[slot]
        assert subject is not None
        return subject

    def create(
        self, slot: int, size: int, body: str, who: int, *, deferred: bool, end: str
    ) -> bool:
        """POST; whether its client knows where the upload is. `end`: see `Sending`."""
        serial = self._created
        self._created += 1
        whole = body_for(serial, 0)[:size]
        first = whole[: share(body, 0, size)] if body != "none" else b""
        length, losses, sent_s = None if deferred else size, self._losses, time.time()
        if end == "answer":
            sent = first if body != "none" else None
            answer = self.client.ask(who, lambda client: client.create(length, body=sent))
        else:
            answer = self.client.create_cut(who, length, first, end)
        self._note(f"    POST {size}{' deferred' if deferred else ''} + {len(first)}: {answer}")
        if answer.status != 201:
            self.lost_creations.append(first)
            if answer.status not in BUSY | {0}:
                raise Violation(f"POST was answered {answer}")
            return False
        assert answer.response is not None
        path = path_of(answer.response)
        lifetime = Lifetime(self._lifetime_s)
        subject = Subject(serial, size, deferred, path, self._arena.bucket, self._report, lifetime)
        self._slots[slot] = subject
        self.subjects.append(subject)
        before, writer = replace(subject.asked(), sent_s=sent_s), Writer(0, len(first), 0)
        subject.sending(writer)
        if self._losses != losses:  # it may be gone already
            subject.lost(0)
        subject.created(answer, before, writer)
        return True

    def amount(self, subject: Subject, amount: str) -> int:
        """How many bytes that is for where the upload is now."""
        return share(amount, subject.at or 0, subject.total)

    def offset(self, subject: Subject, who: int) -> int | None:
        """Where the client goes on; asked for if it is not known."""
        if subject.at is None:
            self.head(subject, who)
        if subject.ended or subject.terminated:
            return None
        return subject.at

    def head(self, subject: Subject, who: int, *, patience_s: float = 6.0) -> None:
        """HEAD, asked again for a while as long as the upload is locked."""
        deadline = time.monotonic() + patience_s
        while self.head_once(subject, who).status in {0, 423} and time.monotonic() < deadline:
            time.sleep(0.1)  # a client's own pause before it tries again

    def head_once(self, subject: Subject, who: int) -> Answer:
        before = subject.asked()
        answer = self.client.head(who, subject.path)
        self._note(f"    HEAD {subject.name}: {answer}")
        subject.headed(answer, before)
        return answer

    def let_expire(self, subjects: list[Subject], who: int, *, asks: bool) -> None:
        """Leave uploads alone until they are gone; `asks` whether their clients go on asking for
        them, which must not keep them."""
        for subject in subjects:
            self.head(subject, who)
        if self._lifetime_s is None:
            return
        idle = [subject for subject in subjects if not (subject.ended or subject.terminated)]
        for subject in idle:
            self._outwait(subject, who, self._lifetime_s, asks=asks)
        for subject in idle:
            self._stays_gone(subject, who)

    def let_some_expire(self) -> None:
        """Of what is left, whole or not, when there are lifetimes at all."""
        there = [one for one in self.subjects if not (one.ended or one.terminated)]
        if self._lifetime_s is not None:
            self.let_expire([one for one in there if one.serial % 3 == 2], 0, asks=False)

    def _outwait(self, subject: Subject, who: int, lifetime_s: float, *, asks: bool) -> None:
        deadline, moved = time.time() + 3 * lifetime_s + _GONE_WITHIN_S, 0
        while not (subject.ended or subject.terminated):
            end_s, losses = subject.lifetime.promised_until_s, subject.ledger.losses
            # A sleep, because it ends by the clock alone: before that moment there is no event
            # that could be awaited, and asking earlier is another case (`asks`).
            time.sleep(max(_ASK_AGAIN_S, 0.0 if asks else end_s - time.time()))
            self.head_once(subject, who)
            if subject.lifetime.promised_until_s > end_s > 0 and subject.ledger.losses == losses:
                self._report.count("ends that moved while nothing was sent")
                moved += 1
            # A writer whose answer was lost may still have renewed it, or left parts in S3 that it
            # was then rebuilt from, once. HEADs alone do not keep it.
            if moved > 2 or time.time() > deadline:
                raise Violation(f"{subject.name} does not expire")

    def _stays_gone(self, subject: Subject, who: int) -> None:
        """Nobody can write what is over, or remove it, or see it."""
        before, writer, how = subject.asked(), Writer(subject.at or 0, 0, 0), Sending(0, 0)
        answer = self.client.patch(who, subject.path, writer.start, b"", how, {})
        self._note(f"    PATCH of {subject.name}, which is over: {answer}")
        subject.patched(answer, before, writer, how, declares=False)
        self.delete(subject, who)
        if subject.terminated and not subject.ledger.losses:
            raise Violation(f"{subject.name} was over, and was terminated")
        self.head_once(subject, 1 - who)

    def delete(self, subject: Subject, who: int) -> None:
        was_doubtful, subject.doubtful = subject.doubtful, True
        answer = self.client.delete(who, subject.path)
        self._note(f"    DELETE {subject.name}: {answer}")
        subject.doubtful = was_doubtful
        subject.deleted(answer)
        if answer.status == 204 and not subject.ledger.losses:
            subject.check_no_object()

    def patch(
        self,
        subject: Subject,
        how: Sending,
        who: int,
        *,
        declares: bool,
        meanwhile: Callable[[], object] = lambda: None,
    ) -> None:
        if (offset := self.offset(subject, who)) is None:
            return
        sent = min(how.sent, subject.total - offset)
        declared = (
            how.declared if how.declared is None else min(how.declared, subject.total - offset)
        )
        how = Sending(declared, sent, how.pause_s, how.end)
        writer = Writer(offset, offset + sent, 0)
        length = self.length_header(subject, declares=declares)
        before = subject.asked()
        subject.sending(writer)
        body = subject.body()[offset : offset + sent]
        answer = self.client.patch(who, subject.path, offset, body, how, length, meanwhile)
        self._note(f"    PATCH {subject.name} at {offset}, {sent} of {declared}: {answer}")
        subject.patched(answer, before, writer, how, declares=bool(length))

    def patch_checked(self, subject: Subject, how: Sending, who: int, *, agrees: bool) -> None:
        """A PATCH with a checksum. Where that does not agree, or the body is cut short, none of its
        bytes may ever be seen: they are those of the other variant, and the model is not told."""
        if (offset := self.offset(subject, who)) is None:
            return
        rest = subject.total - offset
        sent = min(how.sent, rest)
        declared = how.declared if how.declared is None else min(how.declared, rest)
        how = Sending(declared, sent, how.pause_s, how.end)
        agrees = agrees or not sent
        counts = agrees and how.is_whole
        body = subject.body(0 if agrees else 1)[offset : offset + sent]
        claimed = subject.body()[offset : offset + sent]
        writer, before = Writer(offset, offset + sent, 0), subject.asked()
        if counts:
            subject.sending(writer)
        answer = self.client.patch(who, subject.path, offset, body, how, with_checksum(claimed))
        kind = "" if agrees else ", which is wrong"
        self._note(f"    PATCH {subject.name} at {offset}, {sent} with checksum{kind}: {answer}")
        self._report.count("bodies with a checksum that could count", int(counts))
        self._report.count("bodies with a checksum that could not", int(not counts))
        if counts:
            subject.patched(answer, before, writer, how, declares=False)
        else:
            subject.patched_in_vain(answer, before)

    @staticmethod
    def length_header(subject: Subject, *, declares: bool) -> dict[str, str]:
        return {"Upload-Length": f"{subject.total}"} if subject.deferred and declares else {}

    def fill_slots(self) -> None:
        """An upload in every slot."""
        for slot in range(SLOTS):
            self.subject(slot)

    def all_together(self, amount: str, who: int, *, pause_s: float, end: str) -> None:
        """A PATCH of every upload at once."""
        subjects = [self.subject(slot) for slot in range(SLOTS)]

        def go(turn: int) -> None:
            size = self.amount(subjects[turn], amount)
            declared = size if end == "answer" else size + 1
            how = Sending(declared, size, pause_s=pause_s, end=end)
            self.patch(subjects[turn], how, (who + turn) % 2, declares=turn == 0)

        with ThreadPoolExecutor(SLOTS) as pool:
            list(pool.map(go, range(SLOTS)))

    def patch_wrongly(self, subject: Subject, who: int, size: int, *, beyond: bool) -> None:
        """A PATCH at an offset that the upload has passed, or has not reached."""
        before = subject.asked()
        offset = subject.ledger.sent_end + 3 if beyond else before.acknowledged - 1
        if offset < 0 or offset + size > subject.total:
            self.head(subject, who)
            return
        writer, how = Writer(offset, offset + size, 0), Sending(size, size)
        if before.losses:
            subject.sending(writer)  # after a loss it may be the right one
        body = subject.body()[offset : offset + size]
        answer = self.client.patch(who, subject.path, offset, body, how, {})
        self._note(f"    wrong PATCH of {subject.name} at {offset}: {answer}")
        if answer.status == 204 and subject.asked().losses == 0:
            raise Violation(f"a PATCH at {offset} was answered {answer}")
        if answer.status != 204 or before.losses:
            subject.patched(answer, before, writer, how, declares=False)

    def race(
        self, subject: Subject, amount: str, servers: tuple[int, int], variant: int, *, lag_s: float
    ) -> None:
        """Two PATCHes at one offset, the second with `variant` of the bytes and a little later."""
        if (offset := self.offset(subject, servers[0])) is None:
            return
        size = self.amount(subject, amount)
        how, before = Sending(size, size), subject.asked()
        length = self.length_header(subject, declares=size == subject.total - offset)
        writers = [Writer(offset, offset + size, which) for which in (0, variant)]

        def write(turn: int) -> Answer:
            time.sleep(turn * lag_s)  # how far the second is behind
            subject.sending(writers[turn])
            body = subject.body(writers[turn].variant)[offset : offset + size]
            return self.client.patch(servers[turn], subject.path, offset, body, how, length)

        with ThreadPoolExecutor(2) as pool:
            answers = list(pool.map(write, (0, 1)))
        self._note(f"    {subject.name} at {offset}, {size}: {answers[0]} | {answers[1]}")
        winners = [answer for answer in answers if answer.status == 204]
        if len(winners) == 2 and size and subject.asked().losses == before.losses:
            raise Violation(f"both writers at {offset} were told that their bytes were taken")
        pairs = sorted(zip(answers, writers, strict=True), key=lambda pair: pair[0].status != 409)
        for answer, writer in pairs:
            subject.patched(answer, before, writer, how, declares=bool(length))
