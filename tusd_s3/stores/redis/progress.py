"""`ports_progress` on Redis: looks at records, and messages between the workers' channels.

watched ID W           to who holds an upload: the worker W watches it
progress W ID N ...    to who watches: W has received the upload up to N; `-` for N: its body
                       has ended
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Final

from tusd_s3 import errors, limits
from tusd_s3.model.upload import UploadId, parse_upload_id
from tusd_s3.ports_progress import Positions, Sighting
from tusd_s3.stores.redis import scripts, serialize
from tusd_s3.stores.redis.channel import WorkerChannel
from tusd_s3.stores.redis.client import Client, run_script, run_script_for_each
from tusd_s3.stores.redis.keys import Keys

SIGHTS_AT_ONCE: Final = 100
"""Records read in one round trip: at most a MiB, for all their metadata."""

SIGHT_WITHIN_S: Final = 2.0
"""For one round trip, repeats included. Who watches waits for nothing else, but sees old news."""

_ENDED: Final = "-"
_NUMBER: Final = re.compile(rf"[0-9]{{1,{limits.INTEGER_DIGITS_MAX}}}")


class RedisProgress:
    """See `ports_progress.Sightings` and `ports_progress.Reports`."""

    def __init__(self, client: Client, prefix: str, channel: WorkerChannel) -> None:
        self._client = client
        self._keys = Keys(prefix)
        self._channel = channel

    def listen(
        self,
        on_watched: Callable[[UploadId, str], None],
        on_report: Callable[[str, Positions], None],
    ) -> None:
        """From now on call these: with an upload and the worker that watches it, and with a worker
        and where it is with uploads that are watched here."""

        def watched(message: str) -> None:
            upload_id, _, watcher = message.partition(" ")
            if (known := parse_upload_id(upload_id)) is not None and watcher:
                on_watched(known, watcher)

        def report(message: str) -> None:
            reporter, _, rest = message.partition(" ")
            on_report(reporter, load_positions(rest))

        self._channel.on("watched", watched)
        self._channel.on("progress", report)

    async def sight(
        self, upload_ids: Sequence[UploadId]
    ) -> list[Sighting | errors.StateUnavailable]:
        """See `ports_progress.Sightings`."""
        found: list[Sighting | errors.StateUnavailable] = []
        for first in range(0, len(upload_ids), SIGHTS_AT_ONCE):
            batch = upload_ids[first : first + SIGHTS_AT_ONCE]
            calls = [(self._keys.all_of(it), self._newcomer(it)) for it in batch]
            answers = await run_script_for_each(
                self._client, scripts.SIGHT, calls, within_s=SIGHT_WITHIN_S
            )
            found += map(_sighting, batch, answers)
        return found

    async def report(self, watcher: str, positions: Positions) -> None:
        """See `ports_progress.Reports`."""
        message = f"progress {self._channel.worker} {dump_positions(positions)}"
        await run_script(self._client, scripts.TELL, [self._keys.channel(watcher)], message)

    def _newcomer(self, upload_id: UploadId) -> tuple[str, str, str]:
        return upload_id, self._keys.prefix, self._channel.worker


def dump_positions(positions: Positions) -> str:
    """Positions as words."""
    return " ".join(
        f"{upload_id} {_ENDED if offset is None else offset}"
        for upload_id, offset in positions.items()
    )


def load_positions(text: str) -> Positions:
    """Inverse of `dump_positions`; what is no position is left out."""
    words = text.split(" ")
    return {
        upload_id: None if offset == _ENDED else int(offset)
        for name, offset in zip(words[::2], words[1::2], strict=False)
        if (upload_id := parse_upload_id(name)) is not None
        and (offset == _ENDED or _NUMBER.fullmatch(offset))
    }


def _sighting(upload_id: UploadId, answer: Any) -> Sighting | errors.StateUnavailable:  # noqa: ANN401 - a script's
    if isinstance(answer, errors.StateUnavailable):
        return answer
    if not isinstance(answer, list):
        return errors.StateUnavailable()
    pairs, owner = answer
    if not pairs:
        return Sighting(upload=None)
    try:
        upload = serialize.load(upload_id, pairs, limits.REDIS_STRING_MAX_BYTES)
    except serialize.UnreadableRecordError:
        return errors.StateUnavailable()
    return Sighting(upload=upload, holder=owner.decode().partition(".")[0])
