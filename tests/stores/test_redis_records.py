"""Records, tails and leases on a real Redis: what `ports.UploadRecords` promises."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.memory import blocks
from tests.support.redis_topologies import RedisServer
from tests.support.server import StoreSettings
from tusd_s3 import errors, limits
from tusd_s3.model.layout import PartLayout
from tusd_s3.model.upload import Upload, UploadState, new_upload_id
from tusd_s3.ports import Changes, Held, StopReason
from tusd_s3.stores.redis import RedisOptions, RedisRecords, open_redis, scripts
from tusd_s3.stores.redis.client import Client, run_script
from tusd_s3.stores.redis.keys import Keys
from tusd_s3.stores.redis.leases import LeaseOptions

P = limits.S3_PART_SIZE_MIN_BYTES
TTL_S = 1.0
WAIT_S = 3.0


class Workers:
    """Any number of workers over one Redis and one prefix, and a look behind their backs."""

    def __init__(self, url: str, client: Client, stack: AsyncExitStack) -> None:
        self.prefix = f"{secrets.token_hex(4)}:"
        self.redis = client
        self._url = url
        self._stack = stack

    @asynccontextmanager
    async def worker(
        self, *, ttl_s: float = TTL_S, wait_s: float = WAIT_S, outage_s: float = 0
    ) -> AsyncIterator[RedisRecords]:
        options = RedisOptions(url=self._url, prefix=self.prefix, timeout_s=5)
        async with open_redis(options) as client, open_redis(options) as bulk:
            leases = LeaseOptions(ttl_s=ttl_s, wait_s=wait_s, outage_s=outage_s)
            records = RedisRecords(client, bulk, self.prefix, leases, blocks())
            async with records.running():
                yield records

    async def start(self, *, ttl_s: float = TTL_S, wait_s: float = WAIT_S) -> RedisRecords:
        return await self._stack.enter_async_context(self.worker(ttl_s=ttl_s, wait_s=wait_s))

    async def keys(self) -> list[str]:
        return sorted([key.decode() async for key in self.redis.scan_iter(f"{self.prefix}*")])


@pytest.fixture
async def workers(all_stores: StoreSettings) -> AsyncIterator[Workers]:
    async with AsyncExitStack() as stack:
        options = RedisOptions(url=all_stores.redis_url, prefix="", timeout_s=5)
        client = await stack.enter_async_context(open_redis(options))
        yield Workers(all_stores.redis_url, client, stack)


@pytest.fixture
async def records(workers: Workers) -> RedisRecords:
    return await workers.start()


def new_upload(*, length: int | None = 20 * P) -> Upload:
    return Upload(
        id=new_upload_id(),
        key="key",
        length=length,
        metadata="filename Zg==",
        expires_at_s=int(time.time()) + 100,
        layout=PartLayout(P),
    )


def ignore(_: bool) -> None:
    """For holders that send nothing."""


async def made(records: RedisRecords, *, length: int | None = 20 * P) -> Upload:
    upload = new_upload(length=length)
    await records.create(upload)
    return upload


@pytest.mark.parametrize("length", [None, 0, 20 * P])
async def test_what_was_created_is_read(records: RedisRecords, length: int | None) -> None:
    upload = await made(records, length=length)
    assert await records.inspect(upload.id) == upload
    held = await records.acquire(upload.id)
    assert held.upload == upload
    await records.release(held)


async def test_an_unknown_upload_is_not_found(records: RedisRecords) -> None:
    for call in (records.inspect, records.acquire):
        with pytest.raises(errors.UploadNotFound):
            await call(new_upload_id())


async def test_the_tail_grows_by_commits_and_is_read_back(records: RedisRecords) -> None:
    held = await records.create_held(new_upload())
    await records.commit(held, Changes(tail=[b"ab", b"c"]))
    await records.commit(held, Changes(tail=[b"de"]))
    assert b"".join(await records.read_tail(held)) == b"abcde"
    assert held.upload.offset == 5
    await records.commit(held, Changes(), release=True)
    again = await records.acquire(held.upload.id)
    assert b"".join(await records.read_tail(again)) == b"abcde"


async def test_parts_swallow_the_tail_and_begin_a_new_one(
    records: RedisRecords, workers: Workers
) -> None:
    held = await records.create_held(new_upload())
    await records.commit(held, Changes(tail=[b"old"], multipart_id="m", recovery_stored=True))
    await records.commit(held, Changes(etags=['"a"', '"b"'], tail=[b"new"]))
    assert held.upload.offset == 2 * P + 3
    assert b"".join(await records.read_tail(held)) == b"new"
    assert await records.etags(held) == ['"a"', '"b"']
    assert len([key for key in await workers.keys() if ":tail:" in key]) == 1
    await records.commit(held, Changes(etags=['"c"']), release=True)
    assert not [key for key in await workers.keys() if ":tail:" in key]
    read = await records.inspect(held.upload.id)
    assert read == held.upload
    assert (read.parts, read.tail_bytes, read.multipart_id, read.recovery_stored) == (
        3, 0, "m", True,
    )  # fmt: skip


async def test_completion_keeps_the_record_only(records: RedisRecords, workers: Workers) -> None:
    held = await records.create_held(new_upload(length=3))
    await records.commit(held, Changes(tail=[b"abc"]))
    await records.commit(held, Changes(state=UploadState.COMPLETE), release=True)
    assert (await records.inspect(held.upload.id)).offset == 3
    assert await workers.keys() == [f"{workers.prefix}{{{held.upload.id}}}"]


async def test_everything_of_an_upload_expires_with_it(
    records: RedisRecords, workers: Workers
) -> None:
    held = await records.create_held(new_upload())
    await records.commit(held, Changes(multipart_id="m"))
    await records.commit(held, Changes(etags=['"a"'], tail=[b"x"], expires_at_s=4_000_000_000))
    for key in await workers.keys():
        if not key.endswith(":lease"):
            expires_at_s = time.time() + await workers.redis.ttl(key)
            assert expires_at_s == pytest.approx(4_000_000_000, abs=3), key


async def test_forgetting_leaves_nothing(records: RedisRecords, workers: Workers) -> None:
    held = await records.create_held(new_upload())
    await records.commit(held, Changes(etags=['"a"'], tail=[b"x"]))
    await records.forget(held)
    assert await workers.keys() == []


async def test_a_newcomer_gets_the_upload_as_soon_as_the_holder_lets_go(
    records: RedisRecords, workers: Workers
) -> None:
    other = await workers.start(ttl_s=30)
    held = await other.create_held(new_upload())
    asked = asyncio.Event()
    held.listen(
        lambda reason: asked.set() if reason is StopReason.RELEASE_REQUESTED else None, ignore
    )
    acquiring = asyncio.create_task(records.acquire(held.upload.id))
    async with asyncio.timeout(1):
        await asked.wait()
        await other.commit(held, Changes(tail=[b"kept"]), release=True)
        newcomer = await acquiring
    assert newcomer.token != held.token
    assert b"".join(await records.read_tail(newcomer)) == b"kept"


async def test_inspecting_asks_the_holder_to_let_go_and_sees_what_it_committed(
    records: RedisRecords, workers: Workers
) -> None:
    other = await workers.start(ttl_s=30)
    held = await other.create_held(new_upload())
    letting_go: list[asyncio.Task[None]] = []

    def let_go(_: StopReason) -> None:
        commit = other.commit(held, Changes(tail=[b"kept"]), release=True)
        letting_go.append(asyncio.create_task(commit))

    held.listen(let_go, ignore)
    async with asyncio.timeout(1):
        assert (await records.inspect(held.upload.id)).offset == 4


async def test_a_holder_that_does_not_let_go_locks_the_upload(workers: Workers) -> None:
    stubborn = await workers.start(ttl_s=30)
    held = await stubborn.create_held(new_upload())
    impatient = await workers.start(wait_s=0.2)
    for call in (impatient.acquire, impatient.inspect):
        with pytest.raises(errors.UploadLocked):
            await call(held.upload.id)


async def test_a_lease_that_is_kept_alive_outlasts_its_ttl(workers: Workers) -> None:
    holder = await workers.start(ttl_s=1.5)
    held = await holder.create_held(new_upload())
    impatient = await workers.start(wait_s=4)
    with pytest.raises(errors.UploadLocked):
        await impatient.acquire(held.upload.id)
    await holder.commit(held, Changes(tail=[b"still mine"]))


async def test_a_dead_holder_blocks_the_upload_no_longer_than_the_ttl(
    records: RedisRecords, workers: Workers
) -> None:
    async with workers.worker() as doomed:
        held = await doomed.create_held(new_upload())
    began_s = time.monotonic()
    newcomer = await records.acquire(held.upload.id)
    assert newcomer.token != held.token
    assert time.monotonic() - began_s < TTL_S + 0.5


@pytest.fixture
async def overtaken(records: RedisRecords, workers: Workers) -> Held:
    """A holder that died, as far as others could see, and whose upload was taken over."""
    async with workers.worker() as frozen:
        held = await frozen.create_held(new_upload())
        await frozen.commit(held, Changes(multipart_id="m"))
        await frozen.commit(held, Changes(etags=['"a"'], tail=[b"kept"]))
    newcomer = await records.acquire(held.upload.id)
    await records.commit(newcomer, Changes(tail=[b" and more"]), release=True)
    return held


@pytest.mark.parametrize(
    "changes",
    [
        Changes(tail=[b"late"]),
        Changes(etags=['"late"'], tail=[b"late"]),
        Changes(state=UploadState.COMPLETE),
        Changes(),
    ],
)
async def test_a_fenced_holder_changes_nothing(
    records: RedisRecords, workers: Workers, overtaken: Held, changes: Changes
) -> None:
    before, keys = await records.inspect(overtaken.upload.id), await workers.keys()
    async with workers.worker() as woken:
        with pytest.raises(errors.LeaseLost):
            await woken.commit(overtaken, changes, release=True)
    assert await records.inspect(overtaken.upload.id) == before
    assert await workers.keys() == keys
    held = await records.acquire(overtaken.upload.id)
    assert b"".join(await records.read_tail(held)) == b"kept and more"
    assert await records.etags(held) == ['"a"']


async def test_a_fenced_holder_cannot_remove_the_upload(
    records: RedisRecords, workers: Workers, overtaken: Held
) -> None:
    async with workers.worker() as woken:
        with pytest.raises(errors.LeaseLost):
            await woken.forget(overtaken)
    assert (await records.inspect(overtaken.upload.id)).offset == P + 13


async def test_a_holder_whose_lease_was_taken_is_told(workers: Workers) -> None:
    holder = await workers.start(ttl_s=0.8)
    held = await holder.create_held(new_upload())
    lost = asyncio.Event()
    held.listen(lambda reason: lost.set() if reason is StopReason.LEASE_LOST else None, ignore)
    await workers.redis.set(f"{workers.prefix}{{{held.upload.id}}}:lease", "somebody.1")
    async with asyncio.timeout(2):
        await lost.wait()


async def test_a_lapsed_lease_that_nobody_took_is_taken_up_again(workers: Workers) -> None:
    holder = await workers.start(ttl_s=0.8)
    held = await holder.create_held(new_upload())
    key = f"{workers.prefix}{{{held.upload.id}}}:lease"
    await workers.redis.delete(key)
    async with asyncio.timeout(2):
        while await workers.redis.get(key) is None:  # noqa: ASYNC110 - Redis has no event for it
            await asyncio.sleep(0.01)
    await holder.commit(held, Changes(tail=[b"x"]))


@pytest.mark.parametrize("how", ["release", "commit", "forget"])
async def test_a_renewal_that_comes_after_the_release_does_not_bring_the_lease_back(
    records: RedisRecords, workers: Workers, how: str
) -> None:
    held = await records.create_held(new_upload())
    if how == "release":
        await records.release(held)
    elif how == "commit":
        await records.commit(held, Changes(), release=True)
    else:
        await records.forget(held)
    keys = Keys(workers.prefix).all_of(held.upload.id)
    assert await run_script(workers.redis, scripts.RENEW, keys, held.token, 1000) == b"lost"
    assert not [key for key in await workers.keys() if key.endswith(":lease")]


async def test_scripts_that_redis_forgot_are_loaded_again(
    records: RedisRecords, workers: Workers
) -> None:
    held = await records.create_held(new_upload())
    await records.commit(held, Changes(tail=[b"acknowledged"]))
    await workers.redis.script_flush()
    await records.commit(held, Changes(tail=[b" twice?"]))
    assert b"".join(await records.read_tail(held)) == b"acknowledged twice?"


async def test_a_repeated_commit_adds_no_bytes(records: RedisRecords) -> None:
    """A client repeats a commit whose answer it lost; the second must find nothing left to do."""
    held = await records.create_held(new_upload())
    await records.commit(held, Changes(tail=[b"first"]))
    before = replace(held)
    await records.commit(held, Changes(tail=[b" second"]))
    await records.commit(before, Changes(tail=[b" second"]))
    assert before.upload == held.upload
    assert b"".join(await records.read_tail(held)) == b"first second"


async def test_a_commit_upon_another_state_than_the_holder_believes_changes_nothing(
    records: RedisRecords, workers: Workers
) -> None:
    """Redis fell back to a copy from before the holder's last commit: the bytes of that commit are
    missing, and the next ones must not be put behind the gap."""
    held = await records.create_held(new_upload())
    await records.commit(held, Changes(tail=[b"first"]))
    record = f"{workers.prefix}{{{held.upload.id}}}"
    copy = await workers.redis.hgetall(record)
    await records.commit(held, Changes(tail=[b" lost"]))
    await workers.redis.hset(record, items=[item for pair in copy.items() for item in pair])
    with pytest.raises(errors.LeaseLost):
        await records.commit(held, Changes(tail=[b" third"]))
    newcomer = await (await workers.start()).acquire(held.upload.id)
    assert b"".join(await records.read_tail(newcomer)) == b"first"


async def test_a_commit_that_was_made_although_it_failed_is_not_taken_for_the_next_one(
    records: RedisRecords,
) -> None:
    held = await records.create_held(new_upload())
    unsure = replace(held)
    await records.commit(held, Changes(tail=[b"made"]))
    unsure.next_step()  # its answer was lost for good; the holder tries something else instead
    with pytest.raises(errors.LeaseLost):
        await records.commit(unsure, Changes(state=UploadState.TERMINATING))
    await records.release(held)
    assert (await records.inspect(held.upload.id)).state is UploadState.OPEN


async def test_parked_and_back(records: RedisRecords, workers: Workers) -> None:
    held = await records.create_held(new_upload())
    await records.commit(held, Changes(tail=[b"abc"]))
    await records.commit(held, Changes(parked="name", recovery_stored=True), release=True)
    assert not [key for key in await workers.keys() if ":tail:" in key]
    again = await records.acquire(held.upload.id)
    assert (again.upload.offset, again.upload.parked) == (3, "name")
    await records.commit(again, Changes(tail=[b"abc"], unparked=True))
    await records.commit(again, Changes(tail=[b"de"]), release=True)
    last = await records.acquire(held.upload.id)
    assert b"".join(await records.read_tail(last)) == b"abcde"
    assert last.upload.parked is None


async def test_who_must_not_disturb_gets_only_what_nobody_holds(
    records: RedisRecords, workers: Workers
) -> None:
    held = await records.create_held(new_upload())
    asked = asyncio.Event()
    held.listen(lambda _: asked.set(), ignore)
    with pytest.raises(errors.UploadLocked):
        await (await workers.start()).acquire(held.upload.id, disturb=False)
    assert not [key for key in await workers.keys() if key.endswith(":waiting")]
    await records.release(held)
    again = await records.acquire(held.upload.id, disturb=False)
    await records.release(again)
    assert not asked.is_set()


async def test_a_rebuilt_record_is_what_was_found(records: RedisRecords, workers: Workers) -> None:
    held = await records.create_held(new_upload())
    await records.commit(held, Changes(multipart_id="m"))
    await records.commit(held, Changes(etags=['"old"'], tail=[b"old tail"]))
    found = replace(held.upload, multipart_id="n", parts=3, tail_bytes=0)
    await records.rebuild(held, found, ['"a"', '"b"', '"c"'])
    assert await records.etags(held) == ['"a"', '"b"', '"c"']
    assert not [key for key in await workers.keys() if ":tail:" in key]
    await records.commit(held, Changes(tail=[b"new"]), release=True)
    again = await records.acquire(held.upload.id)
    assert again.upload == held.upload
    assert b"".join(await records.read_tail(again)) == b"new"


async def test_a_tail_that_vanished_takes_the_upload_back_to_its_parts(
    records: RedisRecords, workers: Workers
) -> None:
    held = await records.create_held(new_upload())
    await records.commit(held, Changes(multipart_id="m"))
    await records.commit(held, Changes(etags=['"a"'], tail=[b"x"]), release=True)
    [tail] = [key for key in await workers.keys() if ":tail:" in key]
    await workers.redis.delete(tail)
    assert (await records.inspect(held.upload.id)).offset == P
    again = await records.acquire(held.upload.id)
    await records.commit(again, Changes(tail=[b"y"]))
    assert b"".join(await records.read_tail(again)) == b"y"


@pytest.mark.parametrize("moves", [False, True])
async def test_a_tail_whose_commit_never_ran_goes_by_itself(tmp_path: Path, moves: bool) -> None:
    """The bytes go out just before the script; a connection may break in between."""
    async with AsyncExitStack() as stack:
        server = stack.enter_context(RedisServer(tmp_path))
        options = RedisOptions(url=server.url, prefix="", timeout_s=5)
        client = await stack.enter_async_context(open_redis(options))
        workers = Workers(server.url, client, stack)
        records = await workers.start(ttl_s=60)
        held = await records.create_held(new_upload())
        server.ask("ACL", "SETUSER", "default", "-evalsha", "-pexpireat")
        with pytest.raises(errors.StateUnavailable):
            await records.commit(held, Changes(tail=[b"abc"], etags=["e"] if moves else []))
        server.ask("ACL", "SETUSER", "default", "+@all")
        [tail] = [key for key in await workers.keys() if ":tail:" in key]
        assert await client.get(tail) == b"abc"
        assert 0 < await client.pttl(tail) <= 100_000


async def test_inspecting_a_final_upload_leaves_its_holder_alone(workers: Workers) -> None:
    """And whoever inspects it does not wait: nothing that the holder has in hand changes it."""
    holder, newcomer = await workers.start(), await workers.start(wait_s=0.1)
    final = replace(new_upload(), concat="final;/files/x")
    held = await holder.create_held(final)
    stopped: list[StopReason] = []
    held.listen(stopped.append, lambda _: None)
    assert await newcomer.inspect(final.id) == final
    with pytest.raises(errors.UploadLocked):  # which the message would have overtaken
        await newcomer.acquire(final.id, disturb=False)
    await asyncio.sleep(TTL_S / 2)  # a renewal would tell as well
    assert stopped == []
    await holder.commit(held, Changes(state=UploadState.COMPLETE), release=True)
    assert (await newcomer.inspect(final.id)).offset == final.length


async def test_a_name_is_read_without_being_claimed(records: RedisRecords) -> None:
    upload = new_upload()
    name = secrets.token_hex(8)
    assert await records.named(name) is None
    assert await records.claim(name, upload) == upload.id
    assert await records.named(name) == upload.id


async def test_a_tail_that_a_lost_try_began_is_written_to_its_end(workers: Workers) -> None:
    """The first try's bytes are there, but fewer of them, and its script never ran."""
    records = await workers.start(ttl_s=60)
    held = await records.create_held(new_upload())
    name = Keys(workers.prefix).tail(held.upload.id, held.token, 0)
    await workers.redis.set(name, b"ab", px=60_000)
    await records.commit(held, Changes(tail=[b"abcd"]))
    assert b"".join(await records.read_tail(held)) == b"abcd"


async def test_a_tail_takes_no_more_memory_than_it_has_bytes(workers: Workers) -> None:
    """Redis doubles a string that it lets grow; most tails are written once."""
    records = await workers.start(ttl_s=60)
    held = await records.create_held(new_upload())
    size = 64 * limits.KIB
    await records.commit(held, Changes(tail=[bytes(size)]))
    name = Keys(workers.prefix).tail(held.upload.id, held.token, 0)
    used_bytes = await workers.redis.memory_usage(name)
    assert used_bytes is not None
    assert size <= used_bytes < 1.5 * size
