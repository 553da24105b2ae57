"""Beside those who watch: one look for all, what is shown of it, and who is let in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest

from tests.unit.progress.test_state import LENGTH, an_upload
from tusd_s3 import errors
from tusd_s3.model.upload import Upload, UploadId, UploadState, new_upload_id
from tusd_s3.ports_progress import Sighting
from tusd_s3.progress import seats, watching
from tusd_s3.progress.seats import Seat
from tusd_s3.progress.state import Phase, Progress
from tusd_s3.progress.watching import WATCHERS_MAX, WATCHERS_PER_UPLOAD_MAX, Watching


@dataclass
class World:
    """What there is to be seen. lost: uploads that only S3 knows."""

    uploads: dict[UploadId, Upload] = field(default_factory=dict)
    lost: dict[UploadId, Upload] = field(default_factory=dict)
    holder: str = ""
    away: bool = False
    looks: list[list[UploadId]] = field(default_factory=list)
    looked: asyncio.Event = field(default_factory=asyncio.Event)

    def add(self, **changes: object) -> Upload:
        upload = an_upload(**changes)
        self.uploads[upload.id] = upload
        return upload

    async def sight(
        self, upload_ids: Sequence[UploadId]
    ) -> list[Sighting | errors.StateUnavailable]:
        self.looks.append(list(upload_ids))
        self.looked.set()
        if self.away:
            raise errors.StateUnavailable
        return [Sighting(upload=self.uploads.get(it), holder=self.holder) for it in upload_ids]

    async def bring_back(self, upload_id: UploadId) -> None:
        if upload_id not in self.lost:
            raise errors.UploadNotFound
        self.uploads[upload_id] = self.lost[upload_id]

    async def next_look(self) -> None:
        self.looked.clear()
        await asyncio.wait_for(self.looked.wait(), 5)


@asynccontextmanager
async def watched(world: World) -> AsyncIterator[Watching]:
    service = Watching(world, world.bring_back, now_unix_s=lambda: 1_000_000_000.0)
    try:
        yield service
    finally:
        await service.aclose()


@pytest.fixture(autouse=True)
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "LOOK_EVERY_S", 0.004)
    monkeypatch.setattr(watching, "LOOK_PAUSE_S", 0.001)
    monkeypatch.setattr(seats, "SHOW_EVERY_S", 0.001)


async def shown(seat: Seat, mark: str = "") -> AsyncIterator[Progress]:
    async for progress in seat.changes(mark):
        yield progress


async def next_of(stream: AsyncIterator[Progress]) -> Progress:
    return await asyncio.wait_for(anext(stream), 5)


async def test_one_look_for_all_who_watch_all_uploads() -> None:
    world = World()
    one, two = world.add(), world.add()
    async with watched(world) as service:
        for upload in (one, one, one, two):
            await service.open(upload.id)
        assert world.looks == [[one.id], [two.id]]  # nobody looks again for the second and third
        await world.next_look()
        assert sorted(world.looks[-1]) == sorted([one.id, two.id])


async def test_a_change_is_shown_and_what_did_not_change_is_not() -> None:
    world = World()
    upload = world.add(tail_bytes=1)
    async with watched(world) as service:
        stream = shown(await service.open(upload.id))
        assert (await next_of(stream)).offset == 1
        waiting = asyncio.ensure_future(anext(stream))
        await world.next_look()
        await world.next_look()
        assert not waiting.done()
        world.uploads[upload.id] = replace(upload, tail_bytes=2)
        assert (await asyncio.wait_for(waiting, 5)).offset == 2


async def test_a_slow_watcher_is_shown_the_newest_and_nothing_of_before() -> None:
    world = World(holder="w")
    upload = world.add()
    async with watched(world) as service:
        stream = shown(await service.open(upload.id))
        await next_of(stream)
        for received in range(1, 100):
            service.reported("w", {upload.id: received})
        assert (await next_of(stream)).offset == 99


async def test_between_two_events_there_is_a_pause_that_only_an_end_cuts_short(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(seats, "SHOW_EVERY_S", 60.0)
    world = World(holder="w")
    upload = world.add()
    async with watched(world) as service:
        stream = shown(await service.open(upload.id))
        await next_of(stream)
        waiting = asyncio.ensure_future(anext(stream))
        service.reported("w", {upload.id: 1})
        await world.next_look()
        await world.next_look()
        assert not waiting.done()
        world.uploads[upload.id] = replace(upload, state=UploadState.COMPLETE)
        assert (await asyncio.wait_for(waiting, 5)).state is Phase.COMPLETE


async def test_reports_of_another_worker_than_the_holder_wait_for_a_look(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(seats, "REPORT_LIFE_S", 3600.0)
    world = World(holder="old")
    upload = world.add(tail_bytes=1)
    async with watched(world) as service:
        seat = await service.open(upload.id)
        stream = shown(seat)
        await next_of(stream)
        service.reported("old", {upload.id: 50})
        assert (await next_of(stream)).offset == 50
        service.reported("new", {upload.id: 20})
        assert seat.progress.offset == 50
        world.holder = "new"
        assert (await next_of(stream)).offset == 1  # what `old` had received died with it
        service.reported("new", {upload.id: 20})
        assert (await next_of(stream)).offset == 20


@pytest.mark.parametrize(
    ("expires_at_s", "phase"),
    [(2_000_000_000, Phase.TERMINATED), (1_000_000_001, Phase.EXPIRED)],
)
async def test_a_record_that_is_gone(expires_at_s: int, phase: Phase) -> None:
    world = World()
    upload = world.add(expires_at_s=expires_at_s)
    async with watched(world) as service:
        stream = shown(await service.open(upload.id))
        await next_of(stream)
        del world.uploads[upload.id]
        assert (await next_of(stream)).state is phase
        with pytest.raises(StopAsyncIteration):
            await next_of(stream)


async def test_a_record_that_redis_lost_comes_back_and_the_stream_goes_on() -> None:
    world = World()
    upload = world.add(tail_bytes=9)
    world.lost[upload.id] = replace(upload, tail_bytes=0)
    async with watched(world) as service:
        stream = shown(await service.open(upload.id))
        assert (await next_of(stream)).offset == 9
        del world.uploads[upload.id]
        found = await next_of(stream)
        assert (found.state, found.offset) == (Phase.WAITING, 0)


async def test_who_watches_stays_while_redis_is_away() -> None:
    world = World()
    upload = world.add()
    async with watched(world) as service:
        stream = shown(await service.open(upload.id))
        await next_of(stream)
        world.away = True
        await world.next_look()
        await world.next_look()
        world.uploads[upload.id] = replace(upload, state=UploadState.COMPLETE)
        world.away = False
        assert (await next_of(stream)).offset == LENGTH
        world.away = True
        with pytest.raises(errors.StateUnavailable):
            await service.open(world.add().id)


async def test_an_upload_that_is_being_removed_is_not_found() -> None:
    world = World()
    upload = world.add(state=UploadState.TERMINATING)
    async with watched(world) as service:
        with pytest.raises(errors.UploadNotFound):
            await service.open(upload.id)


async def test_an_unknown_upload_takes_no_place() -> None:
    world = World()
    async with watched(world) as service:
        for _ in range(WATCHERS_MAX + 1):
            with pytest.raises(errors.UploadNotFound):
                await service.open(new_upload_id())
        assert service._watched == {}


async def test_there_are_places_for_so_many_and_they_are_given_back() -> None:
    world = World()
    async with watched(world) as service:
        taken = [
            await service.open(upload.id)
            for upload in [world.add() for _ in range(WATCHERS_MAX // WATCHERS_PER_UPLOAD_MAX)]
            for _ in range(WATCHERS_PER_UPLOAD_MAX)
        ]
        another = world.add()
        for upload_id in (another.id, taken[0].watched.id):
            with pytest.raises(errors.TooManyWatchers):
                await service.open(upload_id)
        service.close(taken[0])
        service.close(taken[0])  # twice is once
        await service.open(another.id)
        with pytest.raises(errors.TooManyWatchers):
            await service.open(another.id)


async def test_nothing_runs_when_the_last_watcher_has_left() -> None:
    world = World()
    before = asyncio.all_tasks()
    async with watched(world) as service:
        service.close(await service.open(world.add().id))
        [task] = asyncio.all_tasks() - before
        await asyncio.wait_for(task, 5)
        await service.open(world.add().id)
        assert len(asyncio.all_tasks() - before) == 1


async def test_a_worker_that_stops_ends_streams_that_wait_and_such_as_just_begin() -> None:
    world = World()
    upload = world.add()
    async with watched(world) as service:
        waiting = shown(await service.open(upload.id))
        await next_of(waiting)
        service.begin_drain()
        late = shown(await service.open(upload.id))
        assert (await next_of(late)).state is Phase.WAITING
        for stream in (waiting, late):
            with pytest.raises(StopAsyncIteration):
                await next_of(stream)
