"""One upload under test: what its client knows, and what the server may say to that."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.campaign.arena import OBJECT_PREFIX
from tests.campaign.client import Answer, Sending
from tests.campaign.ledger import Ledger, Violation, Writer
from tests.campaign.lifetime import Lifetime, announced_in
from tests.campaign.report import Report
from tests.support.bodies import PART_BYTES, body_of
from tests.support.stores import Bucket
from tests.support.tus import id_of

_LONGEST_BYTES = 16 * 1024 * 1024
_BODIES = 8

BUSY = frozenset({423, 500, 503})
"""Statuses that ask a client to try again."""


@dataclass(frozen=True, slots=True)
class Asked:
    """How things stood when a request went out: its answer is held against that.

    sent_s: Unix time.
    """

    acknowledged: int
    losses: int
    terminated: bool
    sent_s: float


@dataclass(slots=True, eq=False)
class Subject:
    """An upload and its model.

    at: the offset its client goes on from; None when it has to ask.
    doubtful: a DELETE went out whose answer is not known. ended: the server said 404, rightly.
    """

    serial: int
    total: int
    deferred: bool
    path: str
    bucket: Bucket
    report: Report
    lifetime: Lifetime
    ledger: Ledger = field(default_factory=Ledger)
    at: int | None = 0
    complete: bool = False
    terminated: bool = False
    doubtful: bool = False
    ended: bool = False
    declared_at_loss: int | None = None
    lock: threading.RLock = field(default_factory=threading.RLock)

    @property
    def key(self) -> str:
        """Of its object."""
        return OBJECT_PREFIX + id_of(self.path)

    @property
    def recovery_key(self) -> str:
        """Of its recovery object."""
        return f"{OBJECT_PREFIX}.tus/{id_of(self.path)}.json"

    @property
    def is_open(self) -> bool:
        """Whether its client would go on with it."""
        return not (self.complete or self.terminated or self.ended)

    @property
    def must_have_its_object(self) -> bool:
        """Whether it was completed, and nobody may have removed it since."""
        return self.complete and not (self.terminated or self.doubtful)

    @property
    def name(self) -> str:
        """For the journal."""
        return f"upload {self.serial} ({id_of(self.path)[:6]})"

    def body(self, variant: int = 0) -> bytes:
        """All bytes of one variant."""
        return body_for(self.serial, variant)[: self.total]

    def asked(self) -> Asked:
        """Call before a request goes out."""
        with self.lock:
            told, losses = self.ledger.acknowledged, self.ledger.losses
            return Asked(told, losses, self.terminated, time.time())

    def sending(self, writer: Writer) -> None:
        """Call before a request goes out that may write."""
        with self.lock:
            self.ledger.send(writer)

    # --- what answers mean --------------------------------------------------------------------

    def created(self, answer: Answer, before: Asked, writer: Writer) -> None:
        """POST was answered 201. Of a body that was interrupted it may have taken a part."""
        offset = -1 if answer.offset is None else answer.offset
        if not 0 <= offset <= writer.end:
            raise Violation(f"{writer.end} bytes came with the POST, and it was answered {answer}")
        self._lives(answer, before, renews=True)
        with self.lock:
            self.ledger.acknowledge(writer, offset, losses_before=before.losses)
            # It may have taken more than it says: all bytes, of which no object could be made.
            self.ledger.send(Writer(offset, writer.end, writer.variant))
        self.at = offset
        if offset == self.total and not self.deferred:
            self._completed(before)

    def headed(self, answer: Answer, before: Asked) -> None:
        """HEAD was answered."""
        if answer.status == 200:
            assert answer.response is not None
            self._alive(answer, before)
            declared = answer.response.headers.get("Upload-Length")
            self._check_length(declared, before)
            self._learn(answer, before)
            self._lives(answer, before, renews=False)
            if declared is not None and answer.offset == self.total:
                self._completed(before)
        elif answer.status == 404:
            self._not_found()
        elif answer.status not in {0, 423}:
            raise Violation(f"HEAD of {self.name} was answered {answer}")

    def patched(
        self, answer: Answer, before: Asked, writer: Writer, how: Sending, *, declares: bool
    ) -> None:
        """PATCH was answered, or its connection broke."""
        self.report.count("PATCHes")
        self.report.count(f"PATCH answered {answer.status or 'not at all'}")
        if answer.status == 204:
            self._alive(answer, before)
            self._took(answer, before, writer, how)
            self._lives(answer, before, renews=True)
            if declares:
                self.declared_at_loss = before.losses
            if answer.offset == self.total and (declares or not self.deferred):
                self._completed(before)
        elif answer.status == 409:
            with self.lock:
                self.ledger.refused(writer)
            self._learn(answer, before)
        elif answer.status == 404:
            self._not_found()
        elif answer.status in BUSY or answer.status == 0:
            self.at = None
            if answer.offset is not None:
                self._learn(answer, before)
                self.at = None
        else:
            raise Violation(f"PATCH of {self.name} was answered {answer}")

    def patched_in_vain(self, answer: Answer, before: Asked) -> None:
        """A PATCH whose bytes must not count was answered, or its connection broke."""
        self.at = None
        if answer.status == 404:
            self._not_found()
        elif answer.status not in BUSY | {0, 409, 413, 460}:
            raise Violation(f"PATCH of {self.name} with a wrong checksum was answered {answer}")
        elif answer.offset is not None:
            self._learn(answer, before)

    def deleted(self, answer: Answer) -> None:
        """DELETE was answered, or its connection broke."""
        if answer.status == 204:
            self.terminated = True
        elif answer.status == 404:
            self._not_found()
        elif answer.status in BUSY or answer.status == 0:
            self.doubtful = True
        else:
            raise Violation(f"DELETE of {self.name} was answered {answer}")

    def lost(self, floor: int) -> None:
        """Redis lost data."""
        with self.lock:
            self.ledger.lose(floor)
            self.lifetime.lost()

    def is_past(self) -> bool:
        """Whether it may have come to its end by itself: nothing announced keeps it any more."""
        with self.lock:
            return self.lifetime.is_over(time.time())

    # --- what S3 has, asked behind the server's back ------------------------------------------

    def parts_in_a_row(self) -> int:
        """Bytes of whole parts that S3 has in a row and that the recovery object leads to."""
        parts = self._parts()
        whole = {number for number, size in parts or () if size == PART_BYTES}
        whole -= {number for number, size in parts or () if size != PART_BYTES}
        number = 1
        while number in whole:
            number += 1
        return (number - 1) * PART_BYTES

    def floor(self) -> int:
        """What is left when Redis forgets everything: the whole parts in S3. All that was
        acknowledged is in them, but for one part that may wait in Redis."""
        before = self.asked()
        stored = self.parts_in_a_row()
        may_be_gone = self.terminated or self.doubtful or self.ended or before.losses
        may_be_gone = may_be_gone or self.is_past()
        enough = stored >= before.acknowledged - PART_BYTES or may_be_gone
        if not enough and self.bucket.get(self.key) is None:
            raise Violation(
                f"of {before.acknowledged} acknowledged bytes of {self.name}, S3 could give back"
                f" {stored}"
            )
        return stored

    def is_recoverable(self) -> bool:
        """Whether S3 has what it takes to rebuild the record, of an upload that is not over."""
        fields = self._recovery()
        is_over = fields is not None and self.lifetime.seconds and self._is_over(fields)
        return not is_over and self._parts() is not None

    @staticmethod
    def _is_over(fields: Mapping[str, Any]) -> bool:
        # A part that came later is a later sign of life, but not one that clients were told of.
        return bool(fields["expires_at_s"] <= time.time())

    def _recovery(self) -> Mapping[str, Any] | None:
        document = self.bucket.get(self.recovery_key)
        return None if document is None else json.loads(document.body)

    def _parts(self) -> list[tuple[int, int]] | None:
        """Of the multipart upload that the recovery object names, where that vouches for parts
        those it vouches for; None if there is none."""
        if (fields := self._recovery()) is None:
            return None
        multipart_id, vouched = fields["multipart_id"], fields["vouched"]
        if multipart_id is None or self.bucket.parts(self.key, multipart_id) is None:
            return None
        listed = self.bucket.client.list_parts(
            Bucket=self.bucket.name, Key=self.key, UploadId=multipart_id
        )
        return [
            (part["PartNumber"], part["Size"])
            for part in listed.get("Parts", ())
            if vouched is None or [part["ETag"]] == vouched[part["PartNumber"] - 1 :][:1]
        ]

    def check_object(self, *, must_exist: bool) -> None:
        """The object, if it is there, is what the client sent."""
        stored = self.bucket.get(self.key)
        if stored is None:
            if must_exist:
                raise Violation(f"{self.name} is complete, but its object is missing")
            return
        self.report.count("objects compared")
        with self.lock:
            if not any(stored.body == body for body in self.ledger.bodies(self.total, self.body)):
                raise Violation(
                    f"the object of {self.name} has {len(stored.body)} of {self.total} bytes and"
                    f" {_difference(stored.body, self.body())}"
                )

    def check_no_object(self) -> None:
        """It was terminated."""
        if self.bucket.get(self.key) is not None:
            raise Violation(f"{self.name} was terminated, and its object is there")

    # --- within ---------------------------------------------------------------------------------

    def _alive(self, answer: Answer, before: Asked) -> None:
        if (before.terminated or self.ended) and not self.ledger.losses:
            raise Violation(f"{self.name} was gone, and then it was answered {answer}")

    def _lives(self, answer: Answer, before: Asked, *, renews: bool) -> None:
        """It was answered for, perhaps with its end."""
        assert answer.response is not None
        announced_s = announced_in(answer.response)
        with self.lock:
            counts = before.losses == self.ledger.losses
            self.lifetime.heard(
                announced_s, before.sent_s, time.time(), renews=renews, counts=counts
            )

    def _learn(self, answer: Answer, before: Asked) -> None:
        if answer.offset is None:
            raise Violation(f"{answer} came without Upload-Offset")
        if self.terminated:
            return
        with self.lock:
            if answer.offset < before.acknowledged and self.is_past():
                # Redis dropped it, and it was rebuilt from S3, which had a later sign of life.
                self.report.count("uploads brought back after their end")
                self.ledger.lose(answer.offset)
            self._grew(answer.offset)
            self.ledger.observe(
                answer.offset, told_before=before.acknowledged, losses_before=before.losses
            )
        self.at = answer.offset

    def _took(self, answer: Answer, before: Asked, writer: Writer, how: Sending) -> None:
        # A body that does not end is as good as whole when it brought the upload's last byte.
        whole = how.is_whole or answer.offset == self.total
        if answer.offset != writer.start + how.sent or not whole:
            raise Violation(
                f"{how.sent} bytes were sent at {writer.start}, and it was answered {answer}"
            )
        with self.lock:
            self._grew(answer.offset)
            self.ledger.acknowledge(writer, answer.offset, losses_before=before.losses)
        self.at = answer.offset

    def _grew(self, offset: int) -> None:
        self.report.count("bytes acknowledged", max(0, offset - self.ledger.acknowledged))

    def _check_length(self, declared: str | None, before: Asked) -> None:
        if declared is not None and int(declared) != self.total:
            raise Violation(f"Upload-Length of {self.name} is {declared}, not {self.total}")
        known = not self.deferred or self.declared_at_loss == self.ledger.losses
        if declared is None and known and before.losses == self.ledger.losses:
            raise Violation(f"{self.name} forgot its length")

    def _completed(self, before: Asked) -> None:
        with self.lock:
            gone = self.doubtful or self.terminated
            certain = before.losses == self.ledger.losses and not gone
        self.complete = self.complete or certain
        self.check_object(must_exist=certain)

    def _not_found(self) -> None:
        may_be = self.terminated or self.doubtful or self.ended
        if not may_be and self.ledger.losses:
            may_be = not self.is_recoverable()
        elif not may_be and self.is_past():
            may_be = True
            self.report.count("uploads that expired")
        if not may_be:
            left_s = self.lifetime.promised_until_s - time.time()
            until = f", {left_s:.2f} s before its end" if self.lifetime.seconds else ""
            raise Violation(f"{self.name} was answered 404{until}")
        self.ended = True


def body_for(serial: int, variant: int) -> bytes:
    """The longest body of an upload."""
    return body_of(_LONGEST_BYTES, (serial * 2 + variant) % _BODIES)


def _difference(found: bytes, meant: bytes) -> str:
    at = next((i for i, (a, b) in enumerate(zip(found, meant, strict=False)) if a != b), None)
    return "is right up to its end" if at is None else f"differs first at {at}"
