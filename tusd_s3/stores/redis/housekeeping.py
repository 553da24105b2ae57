"""What the clean-up needs of Redis: `ports_cleanup.Housekeeping`.

    p janitor:lease    string  token of the worker that cleans up, with a TTL
    p janitor:journal  hash    name -> "attempts code time" of what failed, with a TTL

Only commands that a Redis Cluster takes through the same client: single keys, a scan of all nodes,
pipelines without transactions.
"""

from __future__ import annotations

import logging
import re
import secrets
import time
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from tusd_s3 import errors, limits
from tusd_s3.model.upload import Upload, UploadId, parse_upload_id
from tusd_s3.ports_cleanup import Failure, Listing, Memory
from tusd_s3.stores.redis import scripts, serialize
from tusd_s3.stores.redis.client import Client, run_script_for_each, translated
from tusd_s3.stores.redis.cluster import ClusterClient
from tusd_s3.stores.redis.keys import Keys

logger = logging.getLogger("tusd_s3.records")

BATCH_RECORDS: Final = 200
"""Records read in one round trip: some milliseconds of work for Redis and for the event loop."""

_ANSWER_MAX_S: Final = 60.0
"""Far beyond what the client waits for one answer, repeats included."""

_SCANNED_KEYS: Final = 1000
"""Keys that one step of SCAN looks at: well below a millisecond of Redis' time."""

JOURNAL_MAX: Final = 1000
"""Entries in the journal. A store that is away makes everything fail; nobody reads more."""

JOURNAL_LIFE_S: Final = 7 * 86400
"""An entry that was not touched for so long is of something that went away by other means."""

_LEAD = """
-- KEYS: lease. ARGV: token, ttl (ms)
local owner = redis.call('GET', KEYS[1])
if owner and owner ~= ARGV[1] then return 0 end
-- At maxmemory Redis refuses SET, unless the script wrote before; PEXPIRE it takes. The janitor is
-- needed most just then.
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""

_RESIGN = """
-- KEYS: lease. ARGV: token
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""

_ENTRY = re.compile(r"(\d{1,9}) (\w+) (\d{1,12})", re.ASCII)


class RedisHousekeeping:
    """See `ports_cleanup.Housekeeping`."""

    def __init__(self, client: Client, prefix: str) -> None:
        self._client = client
        self._keys = Keys(prefix)
        self._lease = f"{prefix}janitor:lease"
        self._journal = f"{prefix}janitor:journal"
        self._records = f"{_escaped(prefix)}{{*}}"
        self._token = secrets.token_hex(8)

    async def lead(self, ttl_s: float) -> bool:
        """See `Housekeeping.lead`."""
        ttl_ms = max(1, round(ttl_s * 1000))
        with translated():
            # As text, not by digest: it runs too rarely for the difference, and Redis never
            # forgets what it is told every time.
            answer: Any = await self._client.eval(_LEAD, 1, self._lease, self._token, ttl_ms)
        return bool(answer)

    async def resign(self) -> None:
        """See `Housekeeping.resign`."""
        with translated():
            await self._client.eval(_RESIGN, 1, self._lease, self._token)

    async def scan(self) -> AsyncIterator[Sequence[Listing]]:
        """See `Housekeeping.scan`."""
        names = self._client.scan_iter(match=self._records, count=_SCANNED_KEYS)
        while True:
            with translated():
                batch = await _next(names, BATCH_RECORDS)
            if not batch:
                return
            found = [self._id_in(name) for name in batch]
            ids = [upload_id for upload_id in found if upload_id is not None]
            # Most records are of finished uploads, about which there is nothing to do. They are
            # left out where they are: to fetch and read them was nearly all that a sweep cost.
            yield await self._read(ids, without_finished=True)

    async def look_up(self, upload_ids: Collection[UploadId]) -> Mapping[UploadId, Listing]:
        """See `Housekeeping.look_up`."""
        found: dict[UploadId, Listing] = {}
        ids = list(upload_ids)
        for first in range(0, len(ids), BATCH_RECORDS):
            batch = ids[first : first + BATCH_RECORDS]
            for listing in await self._read(batch, without_finished=False):
                found[listing.upload_id] = listing
        return found

    async def _read(self, ids: Sequence[UploadId], *, without_finished: bool) -> list[Listing]:
        """One round trip; in a cluster, one to each primary."""
        at_once = 1 if isinstance(self._client, ClusterClient) else BATCH_RECORDS
        groups = [ids[first : first + at_once] for first in range(0, len(ids), at_once)]
        answers = await run_script_for_each(
            self._client,
            scripts.LOOK,
            [(self._keys_of(group), [int(without_finished)]) for group in groups],
            within_s=_ANSWER_MAX_S,
        )
        found: list[Listing] = []
        for group, answer in zip(groups, answers, strict=True):
            if isinstance(answer, errors.StateUnavailable):
                raise answer
            found += [_listing(group[place - 1], pairs, held) for place, pairs, held in answer]
        return found

    def _keys_of(self, ids: Sequence[UploadId]) -> list[str]:
        return [
            key
            for upload_id in ids
            for key in (self._keys.record(upload_id), self._keys.lease(upload_id))
        ]

    async def memory(self) -> Memory:
        """See `Housekeeping.memory`. In a cluster one node stands for all: uploads are
        spread evenly over the slots."""
        with translated():
            info: dict[str, Any] = await self._client.info("memory")
        most = int(info.get("maxmemory", 0))
        return Memory(used_bytes=int(info["used_memory"]), most_bytes=most or None)

    async def failures(self) -> Mapping[str, Failure]:
        """See `Housekeeping.failures`."""
        with translated():
            fields: Any = await self._client.hgetall(self._journal)
        entries = {name.decode(): _load_failure(text.decode()) for name, text in fields.items()}
        too_old_s = time.time() - JOURNAL_LIFE_S
        kept = {
            name: entry
            for name, entry in entries.items()
            if entry is not None and entry.at_s > too_old_s
        }
        if old := entries.keys() - kept.keys():
            await self.forget_failures(old)
        return kept

    async def note_failure(self, name: str, failure: Failure) -> None:
        """See `Housekeeping.note_failure`."""
        with translated():
            if await self._client.hlen(self._journal) >= JOURNAL_MAX and not (
                await self._client.hexists(self._journal, name)
            ):
                return  # the log has it
            calls = self._client.pipeline(transaction=False)
            calls.hset(self._journal, name, _dump_failure(failure))
            calls.pexpire(self._journal, JOURNAL_LIFE_S * 1000)
            await calls.execute()

    async def forget_failures(self, names: Collection[str]) -> None:
        """See `Housekeeping.forget_failures`."""
        if names:
            with translated():
                await self._client.hdel(self._journal, *names)

    def _id_in(self, name: bytes) -> UploadId | None:
        text = name.decode(errors="replace")
        upload_id = parse_upload_id(text[len(self._keys.prefix) + 1 : -1])
        return upload_id if upload_id and self._keys.record(upload_id) == text else None


def _listing(upload_id: UploadId, pairs: Sequence[bytes], held: int) -> Listing:
    upload: Upload | None = None
    with suppress(serialize.UnreadableRecordError):
        # Whether Redis still has all of the tail is looked at by whoever takes the lease.
        upload = serialize.load(upload_id, pairs, stored_tail_bytes=limits.REDIS_STRING_MAX_BYTES)
    return Listing(upload_id=upload_id, upload=upload, is_held=bool(held))


def _dump_failure(failure: Failure) -> str:
    return f"{failure.attempts} {failure.code} {int(failure.at_s)}"


def _load_failure(text: str) -> Failure | None:
    """Inverse of `_dump_failure`; None for anything else."""
    found = _ENTRY.fullmatch(text)
    if found is None:
        return None
    return Failure(attempts=int(found[1]), code=found[2], at_s=float(found[3]))


def _escaped(text: str) -> str:
    """`text` as a pattern that matches only itself (KEYS, Redis)."""
    return re.sub(r"([\\*?\[\]^-])", r"\\\1", text)


async def _next(names: AsyncIterator[bytes], most: int) -> list[bytes]:
    taken: list[bytes] = []
    async for name in names:
        taken.append(name)
        if len(taken) == most:
            break
    return taken
