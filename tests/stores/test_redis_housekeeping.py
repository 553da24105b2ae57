"""Redis as the clean-up sees it: what `Housekeeping` promises, on one server and on a cluster."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from tests.support.memory import blocks
from tests.support.redis_topologies import ClusterTopology
from tests.support.server import StoreSettings
from tusd_s3 import limits
from tusd_s3.model.concat import PARTIAL
from tusd_s3.model.layout import PartLayout
from tusd_s3.model.upload import Upload, UploadId, UploadState, new_upload_id
from tusd_s3.ports import Changes
from tusd_s3.ports_cleanup import Failure, Listing
from tusd_s3.stores.redis import RedisOptions, RedisRecords, open_redis
from tusd_s3.stores.redis.client import Client
from tusd_s3.stores.redis.housekeeping import (
    BATCH_RECORDS,
    JOURNAL_LIFE_S,
    JOURNAL_MAX,
    RedisHousekeeping,
)
from tusd_s3.stores.redis.leases import LeaseOptions


@pytest.fixture(scope="module", params=["server", "cluster"])
def url(
    request: pytest.FixtureRequest,
    all_stores: StoreSettings,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[str]:
    if request.param == "server":
        yield all_stores.redis_url
        return
    with ClusterTopology(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster.url


@pytest.fixture
async def client(url: str) -> AsyncIterator[Client]:
    async with open_redis(RedisOptions(url=url, prefix="", timeout_s=5)) as client:
        yield client


@pytest.fixture
def prefix() -> str:
    return f"{secrets.token_hex(4)}:"


@pytest.fixture
def housekeeping(client: Client, prefix: str) -> RedisHousekeeping:
    return RedisHousekeeping(client, prefix)


@asynccontextmanager
async def records_of(url: str, prefix: str) -> AsyncIterator[RedisRecords]:
    options = RedisOptions(url=url, prefix=prefix, timeout_s=5)
    async with open_redis(options) as client, open_redis(options) as bulk:
        leases = LeaseOptions(ttl_s=5.0, wait_s=1.0, outage_s=0.0)
        records = RedisRecords(client, bulk, prefix, leases, blocks())
        async with records.running():
            yield records


def an_upload() -> Upload:
    return Upload(
        id=new_upload_id(),
        key="k",
        length=100,
        metadata="filename Zg==",
        expires_at_s=int(time.time()) + 600,
        layout=PartLayout(limits.S3_PART_SIZE_MIN_BYTES),
    )


async def scanned(housekeeping: RedisHousekeeping) -> dict[UploadId, Listing]:
    found: dict[UploadId, Listing] = {}
    async for batch in housekeeping.scan():
        assert len(batch) <= BATCH_RECORDS
        found |= {listing.upload_id: listing for listing in batch}
    return found


async def test_a_scan_finds_every_record_as_it_is(
    url: str, prefix: str, housekeeping: RedisHousekeeping
) -> None:
    uploads = [an_upload() for _ in range(3 * BATCH_RECORDS + 1)]
    async with records_of(url, prefix) as records:
        for upload in uploads:
            await records.create(upload)
        held = await records.acquire(uploads[0].id)
        await records.commit(held, Changes(tail=[b"12345"]))
        found = await scanned(housekeeping)
        assert found.keys() == {upload.id for upload in uploads}
        assert {listing.upload_id for listing in found.values() if listing.is_held} == {
            uploads[0].id
        }
        first = found[uploads[0].id].upload
        assert first is not None
        assert replace(first, is_doubtful=False) == replace(uploads[0], tail_bytes=5)


async def test_a_scan_leaves_out_the_finished_but_not_finished_pieces(
    url: str, prefix: str, housekeeping: RedisHousekeeping
) -> None:
    open_one, complete, partial, going = (
        an_upload(),
        replace(an_upload(), state=UploadState.COMPLETE),
        replace(an_upload(), state=UploadState.COMPLETE, concat=PARTIAL),
        replace(an_upload(), state=UploadState.TERMINATING),
    )
    async with records_of(url, prefix) as records:
        for upload in (open_one, complete, partial, going):
            await records.create(upload)
    found = await scanned(housekeeping)
    assert found.keys() == {open_one.id, partial.id, going.id}
    looked_up = await housekeeping.look_up([open_one.id, complete.id])
    assert looked_up.keys() == {open_one.id, complete.id}
    assert looked_up[complete.id].upload == complete


@pytest.mark.parametrize("odd", ["*", "[ab]", "a?b", "back\\slash", "^-]"])
async def test_a_scan_stays_below_its_prefix(url: str, client: Client, odd: str) -> None:
    name = secrets.token_hex(4)
    upload, other = an_upload(), an_upload()
    async with records_of(url, f"{name}{odd}:") as records:
        await records.create(upload)
    async with records_of(url, f"{name}xx:") as records:
        await records.create(other)
    found = await scanned(RedisHousekeeping(client, f"{name}{odd}:"))
    assert found.keys() == {upload.id}
    assert (await scanned(RedisHousekeeping(client, f"{name}xx:"))).keys() == {other.id}


async def test_looking_up_tells_those_that_are_there(
    url: str, prefix: str, client: Client, housekeeping: RedisHousekeeping
) -> None:
    upload, gone, odd = an_upload(), new_upload_id(), new_upload_id()
    await client.hset(f"{prefix}{{{odd}}}", "v", "another form")
    async with records_of(url, prefix) as records:
        await records.create(upload)
        found = await housekeeping.look_up([upload.id, gone, odd])
    assert found.keys() == {upload.id, odd}
    assert found[odd].upload is None  # there is one, and nobody may think that there is none
    assert await housekeeping.look_up([]) == {}


async def test_the_lease_has_one_owner_until_it_ends_or_is_given_up(
    client: Client, prefix: str, housekeeping: RedisHousekeeping
) -> None:
    other = RedisHousekeeping(client, prefix)
    assert await housekeeping.lead(60)
    assert await housekeeping.lead(60)
    assert not await other.lead(60)
    await other.resign()
    assert not await other.lead(60)
    await housekeeping.resign()
    assert await other.lead(60)
    assert not await housekeeping.lead(60)
    assert 0 < await client.pttl(f"{prefix}janitor:lease") <= 60_000


async def test_the_journal_keeps_what_it_is_told(housekeeping: RedisHousekeeping) -> None:
    failure = Failure(attempts=3, code="storage_unavailable", at_s=float(int(time.time())))
    await housekeeping.note_failure("expired x", failure)
    await housekeeping.note_failure("tail y z", replace(failure, attempts=1))
    await housekeeping.note_failure("tail y z", replace(failure, attempts=2))
    assert await housekeeping.failures() == {
        "expired x": failure,
        "tail y z": replace(failure, attempts=2),
    }
    await housekeeping.forget_failures(["expired x", "never there"])
    await housekeeping.forget_failures([])
    assert (await housekeeping.failures()).keys() == {"tail y z"}


async def test_the_journal_is_bounded_in_size_and_time(
    client: Client, prefix: str, housekeeping: RedisHousekeeping
) -> None:
    now_s = time.time()
    old = Failure(attempts=9, code="x", at_s=now_s - JOURNAL_LIFE_S - 1)
    await housekeeping.note_failure("old", old)
    await client.hset(f"{prefix}janitor:journal", "odd", "not an entry")
    for number in range(JOURNAL_MAX):
        failure = Failure(attempts=1, code="x", at_s=now_s)
        await housekeeping.note_failure(f"{number}", failure)
    assert await client.hlen(f"{prefix}janitor:journal") == JOURNAL_MAX
    kept = await housekeeping.failures()
    assert len(kept) == JOURNAL_MAX - 2
    assert "old" not in kept
    assert await client.hlen(f"{prefix}janitor:journal") == JOURNAL_MAX - 2
    assert 0 < await client.pttl(f"{prefix}janitor:journal") <= JOURNAL_LIFE_S * 1000


async def test_memory_and_its_bound_are_told(housekeeping: RedisHousekeeping) -> None:
    memory = await housekeeping.memory()
    assert memory.used_bytes > 100_000
    assert memory.most_bytes is None
