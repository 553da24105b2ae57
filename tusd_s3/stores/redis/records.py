"""Records, tails and leases: `ports.UploadRecords` on Redis.

Round trips: create 1, acquire 1 (uncontended), inspect 1, commit 1 (tail, record and release
together), read_tail 1. A small PATCH is an acquire and a commit.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from tusd_s3 import errors
from tusd_s3.model.upload import Upload, UploadId
from tusd_s3.ports import Changes, Held
from tusd_s3.stores.redis import scripts, serialize
from tusd_s3.stores.redis.client import (
    Client,
    run_script,
    translated,
    with_scripts,
)
from tusd_s3.stores.redis.keys import Keys
from tusd_s3.stores.redis.leases import LeaseKeeper, LeaseOptions

logger = logging.getLogger("tusd_s3.records")

_ASK_AGAIN_S = 0.25
"""A newcomer asks again after this long although nobody told it: the message may be lost."""

_LISTENING_WITHIN_S = 2.0
"""How long a starting worker waits for its channel."""

_EXPIRED_GRACE_S = 0.01
"""Beyond a lease's remaining TTL, so that the next attempt finds it gone."""


class RedisRecords:
    """See `ports.UploadRecords`. Use inside `running()`.

    bulk: a client with connections of its own, for tails. Megabytes on their way must not make a
    renewal wait: a lease that is renewed too late is lost.
    """

    def __init__(self, client: Client, bulk: Client, prefix: str, options: LeaseOptions) -> None:
        self._client = client
        self._bulk = bulk
        self._keys = Keys(prefix)
        self._keeper = LeaseKeeper(client, self._keys, options)
        self._options = options

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keep leases alive and listen for messages, for the time of the block.

        A Redis that does not answer yet is waited for, but not for long: a worker that is
        restarted while Redis is away must come up, or the whole server would go down with it.
        """
        listening = asyncio.Event()
        tasks = [
            asyncio.create_task(self._keeper.renew_forever(), name="tusd-s3 lease renewal"),
            asyncio.create_task(self._keeper.listen_forever(listening), name="tusd-s3 channel"),
        ]
        await _event_or_timeout(listening, _LISTENING_WITHIN_S)
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def create(self, upload: Upload) -> None:
        """See `ports.UploadRecords.create`."""
        with translated():
            await self._new(upload, fence=0).execute()

    async def create_held(self, upload: Upload) -> Held:
        """See `ports.UploadRecords.create_held`."""
        asked_at_s, token = time.monotonic(), self._keeper.new_token()
        with translated():
            calls = self._new(upload, fence=1)
            calls.hset(self._keys.record(upload.id), "holder", token)
            calls.set(self._keys.lease(upload.id), token, px=self._options.ttl_ms)
            await calls.execute()
        return self._hold(upload, 1, token, asked_at_s)

    def _new(self, upload: Upload, *, fence: int) -> Any:  # noqa: ANN401 - redis' pipeline type
        calls = self._client.pipeline(transaction=True)
        record = self._keys.record(upload.id)
        fields = serialize.dump_new(upload, fence)
        calls.hset(record, items=[text for pair in fields.items() for text in pair])
        calls.pexpireat(record, upload.expires_at_s * 1000)
        return calls

    async def restore(self, upload: Upload, etags: Sequence[str]) -> None:
        """See `ports.UploadRecords.restore`."""
        # Fences handed out before the loss are unknown; beginning far above keeps them fenced out.
        fields = serialize.dump_new(upload, fence=int(time.time() * 1000))
        flat = [text for pair in fields.items() for text in pair]
        await run_script(
            self._client,
            scripts.RESTORE,
            self._keys.all_of(upload.id),
            upload.expires_at_s * 1000,
            len(etags),
            *etags,
            *flat,
        )

    async def acquire(self, upload_id: UploadId) -> Held:
        """See `ports.UploadRecords.acquire`."""
        token = self._keeper.new_token()
        args = (token, self._options.ttl_ms, upload_id, *self._newcomer)

        async def attempt() -> tuple[float, list[Any]]:
            # The lease runs from some moment after this one: counting from here errs safely.
            asked_at_s = time.monotonic()
            return asked_at_s, await run_script(
                self._client, scripts.ACQUIRE, self._keys.all_of(upload_id), *args
            )

        asked_at_s, answer = await self._patiently(upload_id, attempt)
        upload, fence = self._load(upload_id, answer)
        return self._hold(upload, fence, token, asked_at_s)

    async def inspect(self, upload_id: UploadId) -> Upload:
        """See `ports.UploadRecords.inspect`."""

        async def attempt() -> tuple[float, list[Any]]:
            return 0.0, await run_script(
                self._client,
                scripts.INSPECT,
                self._keys.all_of(upload_id),
                upload_id,
                *self._newcomer,
            )

        _, answer = await self._patiently(upload_id, attempt)
        return self._load(upload_id, answer)[0]

    async def commit(self, held: Held, changes: Changes, *, release: bool = False) -> None:
        """See `ports.UploadRecords.commit`."""
        before, after = held.upload, serialize.apply(held.upload, changes)
        base, tail_end = after.parts_bytes, sum(map(len, changes.tail))
        append_at = 0 if changes.etags else before.tail_bytes
        fields = serialize.dump_changes(changes, after)
        args: list[str | int] = [held.fence, held.token, base, append_at + tail_end]
        args += [after.expires_at_s * 1000, int(release), before.id, self._keys.prefix]
        args += [before.parts + 1, len(changes.etags), *changes.etags, *fields]

        async def call() -> bytes:
            client = self._bulk if changes.tail else self._client
            calls = client.pipeline(transaction=bool(changes.tail))
            if changes.tail:
                key = self._keys.tail(before.id, held.fence, base)
                calls.setrange(key, append_at, b"".join(changes.tail))
            keys = self._keys.all_of(before.id)
            calls.evalsha(scripts.COMMIT.sha, len(keys), *keys, *args)
            answer: bytes = (await calls.execute())[-1]
            return answer

        with translated():
            answer = await with_scripts(self._client, call)
        self._committed(held, answer, after, release=release)

    def _committed(self, held: Held, answer: bytes, after: Upload, *, release: bool) -> None:
        if answer == b"fenced":
            self._keeper.unwatch(held)
            raise errors.LeaseLost
        if answer != b"ok":
            logger.error("upload %s: Redis lost the tail (%r)", held.upload.id, answer)
            raise errors.StateUnavailable
        held.upload = after
        if release:
            self._keeper.unwatch(held)

    async def read_tail(self, held: Held) -> bytes:
        """See `ports.UploadRecords.read_tail`. Raises StateUnavailable if Redis lost the tail."""
        upload = held.upload
        if upload.tail_bytes == 0:
            return b""
        key = self._keys.tail(upload.id, held.fence, upload.parts_bytes)
        with translated():
            tail = await self._bulk.getrange(key, 0, upload.tail_bytes - 1)
        if not isinstance(tail, bytes) or len(tail) != upload.tail_bytes:
            logger.error("upload %s: Redis lost the tail", upload.id)
            raise errors.StateUnavailable
        return tail

    async def etags(self, held: Held) -> list[str]:
        """See `ports.UploadRecords.etags`. Raises StateUnavailable if Redis lost some."""
        numbers = [str(number) for number in range(1, held.upload.parts + 1)]
        if not numbers:
            return []
        with translated():
            found = await self._client.hmget(self._keys.parts(held.upload.id), numbers)
        etags = [etag.decode() for etag in found if isinstance(etag, bytes)]
        if len(etags) != len(numbers):
            logger.error("upload %s: Redis lost part ETags", held.upload.id)
            raise errors.StateUnavailable
        return etags

    async def release(self, held: Held) -> None:
        """See `ports.UploadRecords.release`."""
        self._keeper.unwatch(held)
        try:
            await run_script(
                self._client,
                scripts.RELEASE,
                self._keys.all_of(held.upload.id),
                held.token,
                held.upload.id,
                self._keys.prefix,
            )
        except errors.StateUnavailable:
            logger.warning("lease on upload %s is left to its TTL", held.upload.id)

    async def forget(self, held: Held) -> None:
        """See `ports.UploadRecords.forget`."""
        answer = await run_script(
            self._client,
            scripts.FORGET,
            self._keys.all_of(held.upload.id),
            held.fence,
            held.upload.id,
            self._keys.prefix,
        )
        self._keeper.unwatch(held)
        if answer == b"fenced":
            raise errors.LeaseLost

    @property
    def _newcomer(self) -> tuple[str, str, int]:
        return self._keeper.worker, self._keys.prefix, self._options.wait_ms

    async def _patiently(
        self, upload_id: UploadId, attempt: Callable[[], Awaitable[tuple[float, list[Any]]]]
    ) -> tuple[float, list[Any]]:
        """Repeat `attempt` until no other holder is in the way; raises UploadLocked in the end."""
        deadline_s = time.monotonic() + self._options.wait_s
        asked_at_s, answer = await attempt()
        if answer[0] != b"held":
            return asked_at_s, answer
        with self._keeper.told_when_free(upload_id) as freed:
            while answer[0] == b"held":
                left_s = deadline_s - time.monotonic()
                if left_s <= 0:
                    raise errors.UploadLocked
                expires_in_s = max(0, answer[1]) / 1000 + _EXPIRED_GRACE_S
                await _event_or_timeout(freed, min(left_s, expires_in_s, _ASK_AGAIN_S))
                freed.clear()
                asked_at_s, answer = await attempt()
        return asked_at_s, answer

    def _load(self, upload_id: UploadId, answer: list[Any]) -> tuple[Upload, int]:
        if answer[0] == b"missing":
            raise errors.UploadNotFound
        try:
            return serialize.load(upload_id, answer[1], answer[2])
        except serialize.UnreadableRecordError as error:
            logger.error("upload %s: the record in Redis cannot be read", upload_id)
            raise errors.StateUnavailable from error

    def _hold(self, upload: Upload, fence: int, token: str, asked_at_s: float) -> Held:
        held = Held(upload=upload, fence=fence, token=token)
        self._keeper.watch(held, asked_at_s)
        return held


async def _event_or_timeout(event: asyncio.Event, timeout_s: float) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            await event.wait()
    except TimeoutError:
        pass
