"""The lease: the right to write one upload, kept alive while somebody holds it.

A lease is a key with a TTL that holds a token. Taking it raises the upload's fence; every write
carries the fence and is refused inside Redis once a later one exists. The TTL is therefore not
what keeps two writers apart, the fence is. The TTL only says how long a dead holder blocks the
upload, and the fence makes it safe to be short.

Three ways a holder learns that it must stop:
- a newcomer publishes `release <id>` on the holder's channel (milliseconds);
- a renewal answers `wanted` (the message was lost; a third of the TTL) or `lost` (fenced);
- renewals failed for so long that the lease may run out: the holder is told before it does, so
  that it stops sending parts which somebody else may be sending too. If Redis comes back in time,
  and nobody took the upload meanwhile, the lease is taken up again and the holder goes on.

A waiting newcomer is told `free <id>` on its own channel, and asks again now and then in case that
message was lost.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tusd_s3 import errors
from tusd_s3.model.upload import UploadId
from tusd_s3.ports import Held, StopReason
from tusd_s3.stores.redis import scripts
from tusd_s3.stores.redis.channel import WorkerChannel
from tusd_s3.stores.redis.client import Client, run_script_for_each
from tusd_s3.stores.redis.keys import Keys

logger = logging.getLogger("tusd_s3.leases")

_RENEWALS_PER_TTL = 4
"""Renewals are due this often within a TTL: two may fail before the holder must stop."""

_RENEWALS_AT_ONCE = 500
"""Leases renewed in one round trip; more would make the answers to others wait."""


@dataclass(frozen=True, slots=True)
class LeaseOptions:
    """ttl_s: life of a lease without renewal. wait_s: how long a newcomer waits for a holder.
    outage_s: how long a holder waits for a Redis that is away."""

    ttl_s: float
    wait_s: float
    outage_s: float

    @property
    def ttl_ms(self) -> int:
        """TTL in whole milliseconds, as Redis takes it."""
        return max(1, round(self.ttl_s * 1000))

    @property
    def wait_ms(self) -> int:
        """Wait in whole milliseconds."""
        return max(1, round(self.wait_s * 1000))


class LeaseKeeper:
    """Renews the leases of this worker, and passes messages between holders and newcomers."""

    def __init__(
        self, client: Client, keys: Keys, options: LeaseOptions, channel: WorkerChannel
    ) -> None:
        self.worker = channel.worker
        self.options = options
        self._client = client
        self._keys = keys
        self._serial = 0
        self._renewed_at_s: dict[Held, float] = {}
        self._by_id: dict[UploadId, Held] = {}
        self._waiting: dict[UploadId, set[asyncio.Event]] = {}
        channel.on("release", self._asked_to_let_go)
        channel.on("free", self._told_free)

    def new_token(self) -> str:
        """A token no other acquisition has. The worker's name in it tells where to ask."""
        self._serial += 1
        return f"{self.worker}.{self._serial}"

    def watch(self, held: Held, acquired_at_s: float) -> None:
        """Keep this lease alive. acquired_at_s: monotonic time *before* it was asked for."""
        self._renewed_at_s[held] = acquired_at_s
        self._by_id[held.upload.id] = held

    def unwatch(self, held: Held) -> None:
        """Let this lease go its way."""
        held.released = True
        self._renewed_at_s.pop(held, None)
        if self._by_id.get(held.upload.id) is held:
            del self._by_id[held.upload.id]

    def lose(self, held: Held) -> None:
        """Somebody else has this lease, or may have it: the holder must stop."""
        self.unwatch(held)
        held.stop(StopReason.LEASE_LOST)

    @contextmanager
    def told_when_free(self, upload_id: UploadId) -> Iterator[asyncio.Event]:
        """An event that is set whenever a holder of this upload lets go."""
        event = asyncio.Event()
        self._waiting.setdefault(upload_id, set()).add(event)
        try:
            yield event
        finally:
            events = self._waiting[upload_id]
            events.discard(event)
            if not events:
                del self._waiting[upload_id]

    async def renew_forever(self) -> None:
        """Renew what is watched, for as long as the worker runs."""
        interval_s = self.options.ttl_s / _RENEWALS_PER_TTL
        while True:
            began_s = time.monotonic()
            await self._renew_all(interval_s)
            self._stop_the_overdue(interval_s)
            await asyncio.sleep(max(0.0, began_s + interval_s - time.monotonic()))

    async def _renew_all(self, within_s: float) -> None:
        due = list(self._renewed_at_s)
        for first in range(0, len(due), _RENEWALS_AT_ONCE):
            batch = due[first : first + _RENEWALS_AT_ONCE]
            asked_at_s = time.monotonic()
            try:
                answers = await self._renew(batch, within_s)
            except errors.StateUnavailable:
                logger.warning("leases could not be renewed")
                return
            failed = sum(isinstance(answer, errors.StateUnavailable) for answer in answers)
            if failed:
                logger.warning("%d of %d leases could not be renewed", failed, len(batch))
            for held, answer in zip(batch, answers, strict=True):
                self._renewed(held, answer, asked_at_s)

    async def _renew(
        self, batch: list[Held], within_s: float
    ) -> list[bytes | errors.StateUnavailable]:
        """One round trip for all of them: a worker may hold thousands. A server of a cluster that
        is away costs its own leases only."""
        ttl_ms = self.options.ttl_ms
        calls = [(self._keys.all_of(held.upload.id), (held.token, ttl_ms)) for held in batch]
        return await run_script_for_each(self._client, scripts.RENEW, calls, within_s=within_s)

    def _renewed(
        self, held: Held, answer: bytes | errors.StateUnavailable, asked_at_s: float
    ) -> None:
        if isinstance(answer, errors.StateUnavailable):
            return
        if held not in self._renewed_at_s:  # released while the renewal was under way
            return
        if answer == b"lost":
            self.lose(held)
            return
        self._renewed_at_s[held] = asked_at_s
        held.secure(True)
        if answer == b"wanted":
            held.stop(StopReason.RELEASE_REQUESTED)

    def _stop_the_overdue(self, margin_s: float) -> None:
        expires_before_s = time.monotonic() + margin_s
        for held, renewed_at_s in list(self._renewed_at_s.items()):
            overdue_s = expires_before_s - (renewed_at_s + self.options.ttl_s)
            if overdue_s > self.options.outage_s:
                logger.warning("lease on upload %s could not be kept", held.upload.id)
                self.lose(held)
            elif overdue_s > 0:
                held.secure(False)

    def _asked_to_let_go(self, upload_id: str) -> None:
        held = self._by_id.get(UploadId(upload_id))
        if held is not None:
            held.stop(StopReason.RELEASE_REQUESTED)

    def _told_free(self, upload_id: str) -> None:
        for event in self._waiting.get(UploadId(upload_id), ()):
            event.set()
