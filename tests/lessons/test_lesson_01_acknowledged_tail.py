"""Lesson 1: an acknowledged tail outlives whatever kills the process that replaces it."""

from __future__ import annotations

import pytest

from tests.conftest import StartServer
from tests.lessons.client import assert_ends_well
from tests.lessons.conftest import PATIENT
from tests.lessons.sweep import Casualty, Errand, Sweep
from tests.support.bodies import PART_BYTES, body_of
from tests.support.redis_proxy import RedisProxy
from tests.support.s3_proxy import S3Proxy
from tests.support.server import StoreSettings
from tests.support.world import World

ERRANDS = {
    "tail grows": Errand(body_of(5000), acknowledged=1000, sent=1000),
    "tail meets its length": Errand(body_of(3000), acknowledged=1000, sent=2000, deferred=True),
    "tail becomes the object": Errand(body_of(3000), acknowledged=1000, sent=2000),
    "tail becomes a part and another tail": Errand(
        body_of(2 * PART_BYTES), acknowledged=PART_BYTES - 1000, sent=3000
    ),
    "tail becomes the last part": Errand(
        body_of(PART_BYTES + 9000), acknowledged=PART_BYTES + 1000, sent=8000
    ),
}


@pytest.fixture(scope="module")
def casualties(
    world: World,
    through: StoreSettings,
    start_module_server: StartServer,
    s3_proxy: S3Proxy,
    redis_proxy: RedisProxy,
) -> dict[str, list[tuple[Casualty, int]]]:
    """Every errand at every step when the one process died, and what HEAD says after that."""
    victim = start_module_server(over=through, s3_connections=256, **PATIENT)
    with Sweep(world, victim, s3_proxy, redis_proxy) as sweep:
        killed = {what: sweep.hold_at_every_step(errand) for what, errand in ERRANDS.items()}
        sweep.kill()
    seen = {
        what: [(one, world.client.offset_of(one.path)) for one in each]
        for what, each in killed.items()
    }
    sweep.let_go()
    return seen


@pytest.mark.parametrize("what", ERRANDS)
def test_lesson_01_no_kill_takes_an_acknowledged_tail_back(
    world: World, casualties: dict[str, list[tuple[Casualty, int]]], what: str
) -> None:
    """A kill between any two steps of replacing a tail leaves HEAD at or above the offset that
    was acknowledged, and what the dead process had sent may still arrive without doing harm."""
    errand = ERRANDS[what]
    for casualty, offset in casualties[what]:
        assert errand.acknowledged <= offset <= errand.acknowledged + errand.sent, casualty
        assert_ends_well(world, casualty.path, errand.body)
