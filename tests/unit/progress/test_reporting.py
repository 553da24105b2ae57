"""Beside those who receive: who is told what, by a clock that the test sets."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from tusd_s3 import errors
from tusd_s3.model.upload import UploadId, new_upload_id
from tusd_s3.ports import Reception
from tusd_s3.ports_progress import Positions
from tusd_s3.progress import reporting
from tusd_s3.progress.reporting import AUDIENCES_MAX, TOLD_FOR_S, Audiences, Reporter

UPLOAD = new_upload_id()


@dataclass
class Reports:
    """Keeps what is reported; stands for no store."""

    told: list[tuple[str, dict[UploadId, int | None]]] = field(default_factory=list)
    fails: bool = False
    again: asyncio.Event = field(default_factory=asyncio.Event)

    async def report(self, watcher: str, positions: Positions) -> None:
        self.told.append((watcher, dict(positions)))
        self.again.set()
        if self.fails:
            raise errors.StateUnavailable

    async def next(self) -> tuple[str, dict[UploadId, int | None]]:
        self.again.clear()
        await asyncio.wait_for(self.again.wait(), 5)
        return self.told[-1]


@dataclass
class Clock:
    now_s: float = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture(autouse=True)
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reporting, "REPORT_EVERY_S", 0.001)


async def test_nobody_is_told_while_nobody_watches() -> None:
    reports = Reports()
    reporter = Reporter(reports, now_s=Clock())
    reception = Reception(UPLOAD, lambda: 5)
    before = asyncio.all_tasks()
    reporter.began(reception)
    reporter.ended(reception)
    await asyncio.sleep(0)
    assert (asyncio.all_tasks(), reports.told) == (before, [])


async def test_who_watches_is_told_until_it_has_been_silent_for_a_while() -> None:
    reports, clock, offset = Reports(), Clock(), 5
    reporter = Reporter(reports, now_s=clock)
    reporter.began(Reception(UPLOAD, lambda: offset))
    reporter.watched(UPLOAD, "w1")
    assert await reports.next() == ("w1", {UPLOAD: 5})
    offset = 6
    assert await reports.next() == ("w1", {UPLOAD: 6})
    [task] = [task for task in asyncio.all_tasks() if task.get_name() == "tusd-s3 reports"]
    clock.now_s += TOLD_FOR_S
    await asyncio.wait_for(task, 5)
    told = len(reports.told)
    reporter.watched(UPLOAD, "w2")
    assert await reports.next() == ("w2", {UPLOAD: 6})
    assert {watcher for watcher, _ in reports.told[told:]} == {"w2"}
    await reporter.aclose()


async def test_the_end_of_a_body_is_told_and_a_newer_body_stays() -> None:
    reports = Reports()
    reporter = Reporter(reports, now_s=Clock())
    old, new = Reception(UPLOAD, lambda: 1), Reception(UPLOAD, lambda: 2)
    reporter.began(old)
    reporter.watched(UPLOAD, "w")
    await reports.next()
    reporter.began(new)
    reporter.ended(old)  # it let go of the upload before it said so
    assert await reports.next() == ("w", {UPLOAD: 2})
    reporter.ended(new)
    assert await reports.next() == ("w", {UPLOAD: None})
    await reporter.aclose()


async def test_a_report_that_is_lost_is_followed_by_others() -> None:
    reports = Reports(fails=True)
    reporter = Reporter(reports, now_s=Clock())
    reporter.began(Reception(UPLOAD, lambda: 1))
    reporter.watched(UPLOAD, "w")
    await reports.next()
    await reports.next()
    await reporter.aclose()


def test_audiences_are_bounded() -> None:
    audiences = Audiences()
    for number in range(AUDIENCES_MAX):
        audiences.add(UploadId(f"{number}"), "w", 0.0)
    audiences.add(UploadId("more"), "w", 0.0)
    assert UploadId("more") not in audiences
    audiences.add(UploadId("0"), "w2", 0.0)
    assert audiences.by_watcher(1.0)["w2"] == ["0"]
    assert audiences.by_watcher(TOLD_FOR_S) == {}
    audiences.add(UploadId("more"), "w", 0.0)
    assert UploadId("more") in audiences
