"""Chores: each fails alone, and what failed is left in peace for longer every time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Mapping, Sequence

import pytest

from tusd_s3 import errors
from tusd_s3.engine.chores import RETRY_MAX_S, Chore, Crew, Deed, Duty, Journal, Outcome
from tusd_s3.model.upload import UploadId, new_upload_id
from tusd_s3.ports_cleanup import Failure, Listing, Memory


class JournalInMemory:
    """The journal's part of `ports_cleanup.Housekeeping`; with `is_away`, as a Redis that is."""

    def __init__(self) -> None:
        self.entries: dict[str, Failure] = {}
        self.is_away = False

    async def lead(self, ttl_s: float) -> bool:
        raise NotImplementedError(ttl_s)

    async def resign(self) -> None:
        raise NotImplementedError

    def scan(self) -> AsyncIterator[Sequence[Listing]]:
        raise NotImplementedError

    async def look_up(self, upload_ids: Collection[UploadId]) -> Mapping[UploadId, Listing]:
        raise NotImplementedError(upload_ids)

    async def memory(self) -> Memory:
        raise NotImplementedError

    async def failures(self) -> Mapping[str, Failure]:
        return self.entries

    async def note_failure(self, name: str, failure: Failure) -> None:
        if self.is_away:
            raise errors.StateUnavailable
        self.entries[name] = failure

    async def forget_failures(self, names: Collection[str]) -> None:
        if self.is_away:
            raise errors.StateUnavailable
        for name in names:
            self.entries.pop(name, None)


class Work:
    """Chores that note when they are done, and a crew for them."""

    def __init__(self, *, at_once: int = 2, dry_run: bool = False, patient: bool = True) -> None:
        self.store = JournalInMemory()
        self.journal = Journal(self.store, interval_s=60)
        self.outcomes: list[Outcome] = []
        self.done: list[UploadId] = []
        self.running = 0
        self.most_running = 0
        self.crew = Crew(
            self.journal, self.outcomes.append, at_once=at_once, dry_run=dry_run, patient=patient
        )

    def chore(self, error: Exception | None = None, *, needed: bool = True) -> Chore:
        upload_id = new_upload_id()

        async def do() -> bool:
            self.running += 1
            self.most_running = max(self.most_running, self.running)
            await asyncio.sleep(0.01)
            self.running -= 1
            if error is not None:
                raise error
            self.done.append(upload_id)
            return needed

        async def look() -> Deed:
            return Deed(duty=Duty.EXPIRED, age_s=1, size_bytes=2, do=do)

        return Chore(duty=Duty.EXPIRED, upload_id=upload_id, look=look)

    async def do(self, *chores: Chore, error: Exception | None = None) -> int:
        async def found() -> AsyncGenerator[Chore, None]:
            for chore in chores:
                yield chore
            if error is not None:
                raise error

        return await self.crew.do_all(found())


async def test_a_few_are_done_at_a_time() -> None:
    work = Work(at_once=3)
    assert await work.do(*(work.chore() for _ in range(10))) == 10
    assert len(work.done) == 10
    assert work.most_running == 3


async def test_one_that_fails_fails_alone_and_is_noted(caplog: pytest.LogCaptureFixture) -> None:
    work = Work()
    failing, broken, fine = (
        work.chore(errors.StorageUnavailable()),
        work.chore(ZeroDivisionError()),
        work.chore(),
    )
    assert await work.do(failing, broken, fine) == 1
    assert work.done == [fine.upload_id]
    codes = {name: entry.code for name, entry in work.store.entries.items()}
    assert codes == {failing.name: "storage_unavailable", broken.name: "internal_error"}
    assert f"{failing.upload_id} (2 bytes, 1 s old): failed: storage_unavailable" in caplog.text


async def test_what_is_no_longer_needed_is_no_failure() -> None:
    work = Work()
    gone = [work.chore(errors.UploadNotFound()), work.chore(errors.UploadLocked())]
    assert await work.do(*gone, work.chore(needed=False)) == 0
    assert work.outcomes == []
    assert work.store.entries == {}


async def test_what_failed_rests_for_twice_as_long_every_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    work = Work()
    now_s = 1e9
    monkeypatch.setattr("tusd_s3.engine.chores.time.time", lambda: now_s)
    chore = work.chore(errors.StorageUnavailable())
    rests: list[float] = []
    for _ in range(10):
        await work.do(chore)
        before_s = now_s
        while not work.journal.is_due(chore.name):
            now_s += 30
        rests.append(now_s - before_s)
    assert rests == [60, 120, 240, 480, 960, 1920, *[RETRY_MAX_S] * 4]
    attempts = work.store.entries[chore.name].attempts
    await work.do(chore)
    assert work.store.entries[chore.name].attempts == attempts + 1
    await work.do(chore)
    assert work.store.entries[chore.name].attempts == attempts + 1  # too early


async def test_the_impatient_try_at_once_and_success_clears_the_journal() -> None:
    work = Work(patient=False)
    chore = work.chore()
    await work.journal.failed(chore.name, "x")
    assert await work.do(chore) == 1
    assert work.store.entries == work.journal.entries == {}


async def test_a_journal_that_cannot_be_written_stops_nothing() -> None:
    work = Work()
    work.store.is_away = True
    failing = work.chore(errors.StorageUnavailable())
    assert await work.do(failing, work.chore()) == 1
    assert not work.journal.is_due(failing.name)  # this worker remembers by itself
    await work.journal.succeeded(failing.name)
    assert work.journal.is_due(failing.name)


async def test_a_dry_run_does_nothing_and_tells_all() -> None:
    work = Work(dry_run=True)
    assert await work.do(work.chore(), work.chore(errors.StorageUnavailable())) == 2
    assert work.done == []
    assert work.store.entries == {}
    assert [outcome.code for outcome in work.outcomes] == [None, None]


async def test_a_list_that_breaks_off_lets_what_was_begun_end() -> None:
    work = Work()
    with pytest.raises(errors.StorageUnavailable):
        await work.do(work.chore(), work.chore(), error=errors.StorageUnavailable())
    assert len(work.done) == 2


async def test_cancelled_nothing_goes_on() -> None:
    work = Work(at_once=5)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.001):
            await work.do(*(work.chore() for _ in range(6)))
    await asyncio.sleep(0.05)
    assert work.done == []
