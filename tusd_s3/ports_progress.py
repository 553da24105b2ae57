"""What watching uploads needs of the world besides `ports`, whose rules hold here too.

Two sides, which may be in different processes: who watches an upload, and who receives its bytes.
The first tells the second that it watches whenever it looks; the second reports for as long as it
was told lately. So nothing is kept anywhere, and an upload that nobody watches costs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from tusd_s3.errors import StateUnavailable
from tusd_s3.model.upload import Upload, UploadId


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """An upload as its record has it at a moment, whoever writes it.

    upload: None if there is no record. holder: names the worker that writes it, empty for none.
    """

    upload: Upload | None
    holder: str = ""


class Sightings(Protocol):
    """Looks at uploads without a lease; who writes them is not disturbed."""

    async def sight(self, upload_ids: Sequence[UploadId]) -> list[Sighting | StateUnavailable]:
        """The uploads in the same order; an error in the place of each that cannot be looked at.

        Their holders are told that this worker watches; what they report comes to it from now on,
        for a few seconds. Raises StateUnavailable if nothing can be looked at.
        """
        ...


Positions = Mapping[UploadId, int | None]
"""Of uploads: where the next byte goes that is received; None when the body has ended, and what
became of it is in the record."""


class Reports(Protocol):
    """Tells who watches how far uploads are. Nothing is kept, and a report may be lost."""

    async def report(self, watcher: str, positions: Positions) -> None:
        """Tell the worker `watcher`, as from this one. Raises StateUnavailable."""
        ...
