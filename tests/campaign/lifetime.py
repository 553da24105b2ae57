"""Until when an upload must live, by what the servers announced of it.

Moments are Unix times: servers and Redis go by the clock of this very machine. Each request is
known by when it went out and when its answer was there; what the server did lies in between.
"""

from __future__ import annotations

from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from pydantic import TypeAdapter

from tests.campaign.ledger import Violation
from tests.support.raw import RawResponse
from tusd_s3.config.types import Seconds


def seconds_of(duration: str | None) -> float | None:
    """What an option such as `8s` says; None if it is left out."""
    return None if duration is None else TypeAdapter[float](Seconds).validate_python(duration)


def announced_in(response: RawResponse) -> float | None:
    """The moment in `Upload-Expires`, if there is one."""
    text = response.headers.get("Upload-Expires")
    return None if text is None else parsedate_to_datetime(text).timestamp()


@dataclass(slots=True)
class Lifetime:
    """The model of one upload's end.

    seconds: `upload-lifetime`; None when no upload ends within the run. promised_until_s: the
    latest end that was announced since Redis last lost data.
    """

    seconds: float | None
    promised_until_s: float = 0.0

    def is_over(self, now_s: float) -> bool:
        """Whether nothing that was announced keeps the upload alive any more."""
        return self.seconds is not None and now_s >= self.promised_until_s

    def heard(
        self,
        announced_s: float | None,
        sent_s: float,
        answered_s: float,
        *,
        renews: bool,
        counts: bool = True,
    ) -> None:
        """The upload was answered for.

        announced_s: None with a complete upload, whose record has an end like any other. renews:
        whether the request must have moved the end. counts: whether nothing was lost meanwhile.
        """
        if self.seconds is None:
            return
        earliest_s = int(sent_s + self.seconds)  # the servers cut off fractions, too
        if announced_s is None:
            announced_s = float(earliest_s) if renews else 0.0
        elif announced_s <= sent_s:
            raise Violation(f"it was over {sent_s - announced_s:.2f} s ago, and was answered for")
        elif announced_s > answered_s + self.seconds:
            raise Violation(f"its end is {announced_s - answered_s:.2f} s away, beyond a lifetime")
        elif renews and announced_s < earliest_s:
            raise Violation(
                f"what was sent {answered_s - sent_s:.2f} s ago did not renew it: its end is"
                f" {announced_s - sent_s:.2f} s from then"
            )
        if counts:
            self.promised_until_s = max(self.promised_until_s, announced_s)

    def lost(self) -> None:
        """Redis lost data: an older copy has an earlier end."""
        self.promised_until_s = 0.0
