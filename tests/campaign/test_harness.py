"""The campaign's own machinery: faults are undone where they were done, and what breaks is told."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.campaign.arena import Arena
from tests.campaign.ledger import Violation
from tests.campaign.report import Report
from tests.campaign.runner import Plan, run


class Node:
    """Stands in for a Redis."""

    url = "redis://127.0.0.1:1/0"

    def __init__(self) -> None:
        self.runs = True

    def restart(self) -> None:
        self.runs = True


@pytest.fixture
def arena(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Arena:
    def kill(node: Node) -> None:
        node.runs = False

    monkeypatch.setattr("tests.campaign.arena.LocalRedis.kill", kill)
    s3 = SimpleNamespace(
        endpoint="http://127.0.0.1:1",
        access_key="key",
        secret_key="secret",
        s3_region="",
        region="r",
    )
    pair = SimpleNamespace(primary=Node(), replica=Node())
    return Arena(cast(Any, s3), cast(Any, pair), cast(Any, None), tmp_path)


def test_a_fault_that_waited_for_a_fail_over_is_undone_where_it_was_done(arena: Arena) -> None:
    pair: Any = arena.redis
    killer = threading.Thread(target=arena.kill_redis)

    def fail_over() -> None:
        killer.start()
        killer.join(0.1)  # it waits for us, wherever it has got to
        pair.primary, pair.replica = pair.replica, pair.primary

    assert arena.lose_redis(fail_over)
    killer.join()
    assert not pair.primary.runs
    assert pair.replica.runs
    arena.revive_redis()
    assert pair.primary.runs


def test_nothing_strikes_while_all_is_mended(arena: Arena) -> None:
    with arena.striking() as may_strike:
        assert may_strike
    arena.mending.set()
    with arena.striking() as may_strike:
        assert not may_strike


def test_what_breaks_the_campaign_itself_is_told_and_is_no_success(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def opened(*_: object) -> None:
        raise ConnectionError("nobody listens")

    monkeypatch.setattr(Arena, "opened", opened)
    plan = Plan(minutes=1, seed=1, faults=frozenset(), report_folder=tmp_path)
    report = run(plan)
    assert report.exit_status == 2
    assert "ConnectionError: nobody listens" in report.summary()
    assert "Traceback" in capsys.readouterr().out


def test_a_broken_promise_is_another_kind_of_failure(tmp_path: Path) -> None:
    report = Report(tmp_path)
    assert report.exit_status == 0
    report.fail(Violation("it is gone"), [("head", {})], [], [])
    assert report.exit_status == 1
