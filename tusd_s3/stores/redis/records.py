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
from functools import partial
from typing import Any, TypeVar

from tusd_s3 import errors, limits
from tusd_s3.blocks import Blocks
from tusd_s3.deadlines import Deadlines
from tusd_s3.gate import Gate
from tusd_s3.model.chunk import Chunk
from tusd_s3.model.upload import Upload, UploadId
from tusd_s3.ports import Changes, Held
from tusd_s3.stores.redis import scripts, serialize
from tusd_s3.stores.redis.channel import WorkerChannel
from tusd_s3.stores.redis.client import (
    Client,
    call_script,
    run_script,
    translated,
    with_scripts,
)
from tusd_s3.stores.redis.keys import Keys
from tusd_s3.stores.redis.leases import LeaseKeeper, LeaseOptions
from tusd_s3.stores.redis.tails import TailCommand, fetch, store_and_run
from tusd_s3.waiting import event_or_timeout

logger = logging.getLogger("tusd_s3.records")

T = TypeVar("T")

_ASK_AGAIN_S = 0.25
"""A newcomer asks again after this long although nobody told it: the message may be lost."""

_LISTENING_WITHIN_S = 2.0
"""How long a starting worker waits for its channel."""

_TRY_AGAIN_S = 0.25
"""Between attempts to reach a Redis that is away."""

_ATTEMPT_MIN_S = 2.0
"""What an attempt may take however little patience is left: a busy Redis is not an absent one."""

_TAILS_AT_ONCE_BYTES = 8 * limits.MIB
"""Bytes of tails on their way to Redis: more than a network takes within one round trip.

Hundreds of uploads may have to give up their memory in the same moment, each over a connection
that holds what the network does not take at once; in a cluster, a tail is joined and packed on its
way and so in memory three times. The way out of a shortage must not be paved with memory."""

_EXPIRED_GRACE_S = 0.01
"""Beyond a lease's remaining TTL, so that the next attempt finds it gone."""


class RedisRecords:
    """See `ports.UploadRecords`. Use inside `running()`.

    bulk: a client with connections of its own, for tails. Megabytes on their way must not make a
    renewal wait: a lease that is renewed too late is lost. blocks: what tails are read into.
    channel: of this worker; others may listen on it too.
    """

    def __init__(
        self, client: Client, bulk: Client, prefix: str, options: LeaseOptions, blocks: Blocks
    ) -> None:
        self._blocks = blocks
        self._client = client
        self._bulk = bulk
        self._keys = Keys(prefix)
        self.channel = WorkerChannel(client, self._keys)
        self._keeper = LeaseKeeper(client, self._keys, options, self.channel)
        self._options = options
        self._gate = Gate(_TAILS_AT_ONCE_BYTES)
        self._deadlines = Deadlines()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keep leases alive and listen for messages, for the time of the block.

        A Redis that does not answer yet is waited for, but not for long: a worker that is
        restarted while Redis is away must come up, or the whole server would go down with it.
        """
        listening = asyncio.Event()
        tasks = [
            asyncio.create_task(self._keeper.renew_forever(), name="tusd-s3 lease renewal"),
            asyncio.create_task(self.channel.listen_forever(listening), name="tusd-s3 channel"),
        ]
        await event_or_timeout(listening, _LISTENING_WITHIN_S)
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def create(self, upload: Upload) -> None:
        """See `ports.UploadRecords.create`."""
        await self._create(upload, (), token="")

    async def create_held(self, upload: Upload) -> Held:
        """See `ports.UploadRecords.create_held`."""
        asked_at_s, token = time.monotonic(), self._keeper.new_token()
        await self._create(upload, (), token=token)
        return self._hold(upload, token, asked_at_s)

    async def claim(
        self, name: str, upload: Upload, *, instead_of: UploadId | None = None
    ) -> UploadId:
        """See `ports.UploadRecords.claim`."""
        args = (upload.id, upload.expires_at_s * 1000, instead_of or "")
        keys = [self._keys.creation(name)]
        answer: bytes = await self._outlast(
            lambda: run_script(self._client, scripts.CLAIM, keys, *args), self._options.wait_s
        )
        return UploadId(answer.decode())

    async def named(self, name: str) -> UploadId | None:
        """See `ports.UploadRecords.named`."""

        async def call() -> object:
            with translated():
                return await self._client.get(self._keys.creation(name))

        found = await self._outlast(call, self._options.wait_s)
        return UploadId(found.decode()) if isinstance(found, bytes) else None

    async def restore(self, upload: Upload, etags: Sequence[str]) -> None:
        """See `ports.UploadRecords.restore`."""
        await self._create(upload, etags, token="")

    async def _create(self, upload: Upload, etags: Sequence[str], *, token: str) -> None:
        args: list[str | int] = [upload.expires_at_s * 1000, token, self._options.ttl_ms]
        args += [len(etags), *etags, *serialize.dump(upload)]
        keys = self._keys.all_of(upload.id)
        await self._outlast(
            lambda: run_script(self._client, scripts.CREATE, keys, *args), self._options.wait_s
        )

    async def acquire(self, upload_id: UploadId, *, disturb: bool = True) -> Held:
        """See `ports.UploadRecords.acquire`."""
        token = self._keeper.new_token()
        args = (token, self._options.ttl_ms, upload_id, *self._newcomer, int(disturb))

        async def attempt() -> tuple[float, list[Any]]:
            # The lease runs from some moment after this one: counting from here errs safely.
            asked_at_s = time.monotonic()
            return asked_at_s, await run_script(
                self._client, scripts.ACQUIRE, self._keys.all_of(upload_id), *args
            )

        if disturb:
            asked_at_s, answer = await self._patiently(upload_id, attempt)
        else:
            asked_at_s, answer = await attempt()
        if answer[0] == b"held":
            raise errors.UploadLocked
        return self._hold(self._load(upload_id, answer), token, asked_at_s)

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
        return self._load(upload_id, answer)

    async def peek(self, upload_id: UploadId) -> Upload | None:
        """See `ports.UploadRecords.peek`."""
        with translated():
            fields: Any = await self._client.hgetall(self._keys.record(upload_id))
        if not fields:
            return None
        pairs = [item for pair in fields.items() for item in pair]
        return self._load(upload_id, [b"ok", pairs, limits.REDIS_STRING_MAX_BYTES, b""])

    async def commit(self, held: Held, changes: Changes, *, release: bool = False) -> None:
        """See `ports.UploadRecords.commit`."""
        before, after = held.upload, serialize.apply(held.upload, changes)
        append_at = serialize.append_at(before, changes)
        tail_bytes = append_at + sum(map(len, changes.tail))
        fields = serialize.dump_changes(changes, after)
        base, expire_at_ms = after.parts_bytes, after.expires_at_s * 1000
        step = held.next_step()
        args: list[str | int] = [held.token, held.step, step, base, tail_bytes, after.parked or ""]
        args += [expire_at_ms, int(release), int(changes.verified), before.id, self._keys.prefix]
        args += [before.parts + 1, len(changes.etags), *changes.etags, *fields]
        keys = self._keys.all_of(before.id)

        async def call(*, begins: bool) -> bytes:
            if not changes.tail:
                alone: bytes = await call_script(self._client, scripts.COMMIT, keys, *args)
                return alone
            async with self._gate.passing(sum(map(len, changes.tail))):
                return await send(begins=begins)

        async def send(*, begins: bool) -> bytes:
            tail, key = changes.tail, self._keys.tail(before.id, held.token, base)
            command = TailCommand(("SETRANGE", key, append_at), tail)
            if begins:
                # With its end from the first moment on: the script may never come to run. If the
                # key is there, an earlier try of ours wrote what this one would, or less.
                life_ms = max(1, expire_at_ms - int(time.time() * 1000))
                command = TailCommand(("SET", key), tail, ("PX", life_ms, "NX"))
            script = ("EVALSHA", scripts.COMMIT.sha, len(keys), *keys, *args)
            answer = await store_and_run(self._bulk, command, script)
            assert isinstance(answer, bytes)
            return answer

        begins = bool(changes.tail) and append_at == 0
        answer = await self._outlast_held(held, partial(call, begins=begins))
        if begins and answer == b"short":
            answer = await self._outlast_held(held, partial(call, begins=False))
        self._committed(held, answer, after, step, release=release)

    async def rebuild(self, held: Held, upload: Upload, etags: Sequence[str]) -> None:
        """See `ports.UploadRecords.rebuild`."""
        step, expire_at_ms = held.next_step(), upload.expires_at_s * 1000
        args: list[str | int] = [held.token, held.step, step, expire_at_ms]
        args += [len(etags), *etags, *serialize.dump(upload)]
        keys = self._keys.all_of(upload.id)

        async def call() -> bytes:
            answer: bytes = await call_script(self._client, scripts.REBUILD, keys, *args)
            return answer

        answer = await self._outlast_held(held, call)
        self._committed(held, answer, upload, step, release=False)

    def _committed(
        self, held: Held, answer: bytes, after: Upload, step: int, *, release: bool
    ) -> None:
        if answer == b"fenced":
            self._keeper.lose(held)
            raise errors.LeaseLost
        if answer != b"ok":
            logger.error("upload %s: Redis lost the tail (%r)", held.upload.id, answer)
            raise errors.StateUnavailable
        held.upload = after
        held.step = step
        if release:
            self._keeper.unwatch(held)

    async def read_tail(self, held: Held) -> list[Chunk]:
        """See `ports.UploadRecords.read_tail`. Raises StateUnavailable if Redis lost the tail."""
        upload = held.upload
        if upload.tail_bytes == 0:
            return []
        key = self._keys.tail(upload.id, held.token, upload.parts_bytes)

        async def call() -> list[Chunk]:
            return await fetch(self._bulk, key, upload.tail_bytes, self._blocks)

        tail = await self._outlast_held(held, call)
        if sum(map(len, tail)) != upload.tail_bytes:
            logger.error("upload %s: Redis lost the tail", upload.id)
            raise errors.StateUnavailable
        return tail

    async def etags(self, held: Held) -> list[str]:
        """See `ports.UploadRecords.etags`. Raises StateUnavailable if Redis lost some."""
        numbers = [str(number) for number in range(1, held.upload.parts + 1)]
        if not numbers:
            return []
        parts = self._keys.parts(held.upload.id)
        found = await self._outlast_held(held, lambda: self._client.hmget(parts, numbers))
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
            held.token,
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
        asked_at_s, answer = await self._outlast(attempt, self._options.wait_s)
        if answer[0] != b"held":
            return asked_at_s, answer
        with self._keeper.told_when_free(upload_id) as freed:
            while answer[0] == b"held":
                left_s = deadline_s - time.monotonic()
                if left_s <= 0:
                    raise errors.UploadLocked
                expires_in_s = max(0, answer[1]) / 1000 + _EXPIRED_GRACE_S
                await event_or_timeout(freed, min(left_s, expires_in_s, _ASK_AGAIN_S))
                freed.clear()
                asked_at_s, answer = await self._outlast(attempt, max(left_s, _ASK_AGAIN_S))
        return asked_at_s, answer

    async def _outlast_held(self, held: Held, call: Callable[[], Awaitable[T]]) -> T:
        """`call` for the holder of a lease, which waits for an absent Redis as long as the lease
        may still be ours when it is back."""

        async def translated_call() -> T:
            with translated():
                return await with_scripts(self._client, call)

        return await self._outlast(translated_call, self._options.outage_s, held)

    async def _outlast(
        self, call: Callable[[], Awaitable[T]], patience_s: float, held: Held | None = None
    ) -> T:
        """Repeat `call` while Redis is away, for at most `patience_s`."""
        deadline_s = time.monotonic() + patience_s
        while True:
            try:
                left_s = deadline_s - time.monotonic()
                with self._deadlines.within(max(_ATTEMPT_MIN_S, left_s)):
                    return await call()
            except TimeoutError as error:
                raise errors.StateUnavailable from error
            except errors.StateUnavailable:
                if (held is not None and held.released) or time.monotonic() >= deadline_s:
                    raise
            await asyncio.sleep(_TRY_AGAIN_S)

    def _load(self, upload_id: UploadId, answer: list[Any]) -> Upload:
        if answer[0] == b"missing":
            raise errors.UploadNotFound
        try:
            return serialize.load(upload_id, answer[1], answer[2], answer[3])
        except serialize.UnreadableRecordError as error:
            logger.error("upload %s: the record in Redis cannot be read", upload_id)
            raise errors.StateUnavailable from error

    def _hold(self, upload: Upload, token: str, asked_at_s: float) -> Held:
        held = Held(upload=upload, token=token)
        self._keeper.watch(held, asked_at_s)
        return held
