"""What is shown of an upload: no more than HEAD shows, and how fast it moves.

Two offsets, because two things are true while a body arrives. `durable` is what the record has and
HEAD would answer; `offset` also counts what the server has received and not recorded yet, which is
what a bar on a screen should follow. `offset` may go back: when a server dies, what it had not
recorded has to be sent again. Neither reaches the length before the upload is complete: until its
object exists, the last byte does not count.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Self

from tusd_s3.model.upload import Upload, UploadState


class Phase(StrEnum):
    """Where an upload is. The last three are ends: nothing follows."""

    WAITING = "waiting"
    """Nobody sends."""
    RECEIVING = "receiving"
    """Somebody sends; or did until a moment ago, and went without a word."""
    FINISHING = "finishing"
    """All bytes are here; the object is being made."""
    COMPLETE = "complete"
    TERMINATED = "terminated"
    EXPIRED = "expired"


ENDS = frozenset({Phase.COMPLETE, Phase.TERMINATED, Phase.EXPIRED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """An upload at a moment.

    offset, durable: bytes, see the module; None for a final upload that is not whole.
    length: total in bytes, None while deferred.
    rate: bytes per second, the mean over the last seconds; 0 before enough was seen.
    """

    state: Phase
    offset: int | None
    durable: int | None
    length: int | None
    rate: int = 0

    @classmethod
    def of(cls, upload: Upload, received: int | None, *, is_held: bool) -> Self:
        """received: offset that its holder reports, None if none does. is_held: whether there is
        a holder."""
        phase = _phase(upload, received, is_held=is_held)
        if upload.is_final and phase is not Phase.COMPLETE:
            return cls(state=phase, offset=None, durable=None, length=upload.length)
        most = upload.length if phase is Phase.COMPLETE else _short_of(upload.length)
        durable = _at_most(upload.offset, most)
        offset = durable if received is None else max(durable, _at_most(received, most))
        return cls(state=phase, offset=offset, durable=durable, length=upload.length)

    @property
    def is_end(self) -> bool:
        """Whether nothing follows."""
        return self.state in ENDS

    @property
    def mark(self) -> str:
        """Names what is shown, but for the rate: two that are the same say the same. Of an end, the
        end itself."""
        if self.is_end:
            return self.state
        return "-".join(map(_text, (self.state, self.offset, self.durable, self.length)))

    def as_json(self) -> dict[str, object]:
        """As it is sent."""
        return asdict(self)


def _phase(upload: Upload, received: int | None, *, is_held: bool) -> Phase:
    if upload.state is UploadState.TERMINATING:
        return Phase.TERMINATED
    if upload.state is UploadState.COMPLETE or (upload.is_whole and not upload.awaits_completion):
        return Phase.COMPLETE  # the latter: a short partial upload, which gets no object
    if upload.is_final or upload.is_whole or (received is not None and received == upload.length):
        return Phase.FINISHING
    return Phase.RECEIVING if is_held else Phase.WAITING


def _short_of(length: int | None) -> int | None:
    return None if length is None else max(0, length - 1)


def _at_most(offset: int, most: int | None) -> int:
    return offset if most is None else min(offset, most)


def _text(value: object) -> str:
    return "" if value is None else str(value)
