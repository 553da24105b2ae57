"""Many uploads in one worker: what one of them waits for does not hold up what all of them need."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace

import pytest

from tests.conftest import StartServer
from tests.support.faults import Hold
from tests.support.redis_proxy import TAIL_BYTES, RedisProxy
from tests.support.server import ServerProcess, StoreSettings
from tests.support.waiting import eventually
from tests.support.world import World

UPLOADS = 80
"""More than the worker has connections for tails."""
LEASE_TTL_S = 1


@pytest.fixture
def crowded(
    stores: StoreSettings, redis_proxy: RedisProxy, start_server: StartServer
) -> Iterator[ServerProcess]:
    """A worker with a short lease that checkpoints often, behind the proxy."""
    through = replace(stores, redis_url=redis_proxy.url)
    yield start_server(
        over=through,
        lease_ttl=f"{LEASE_TTL_S}s",
        checkpoint_interval="300ms",
        redis_timeout="30s",
        network_timeout="60s",
    )
    redis_proxy.rules.clear()


def test_tails_on_their_way_to_redis_do_not_make_leases_wait(
    crowded: ServerProcess, world: World, redis_proxy: RedisProxy
) -> None:
    hold = Hold()
    rule = redis_proxy.fail(TAIL_BYTES, hold, times=None)
    paths = [crowded.client.new_upload(10) for _ in range(UPLOADS)]
    with ExitStack() as stack:
        holders = [
            stack.enter_context(crowded.client.begin_patch(path, 0, b"12345", declared=10))
            for path in paths
        ]
        eventually(lambda: rule.hits >= 60, what="every connection for tails is taken")
        # Long enough for every lease to have run out, were it not renewed.
        holders[0].assert_silent_for(3 * LEASE_TTL_S)
        assert len(world.redis.keys(":lease")) == UPLOADS
        hold.release()
        for holder in holders:
            holder.send(b"67890")
        assert {holder.read_response("PATCH").status for holder in holders} == {204}
    assert "could not be kept" not in crowded.log()
