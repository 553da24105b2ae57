"""`tusd-s3 gc`: the clean-up on demand, beside servers that do not clean up by themselves."""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import tusd_s3
from tests.conftest import StartServer
from tests.support.bodies import KIB, MIB, PART_BYTES, body_of
from tests.support.faults import Answer
from tests.support.s3_calls import S3Call
from tests.support.s3_proxy import S3Proxy
from tests.support.server import StoreSettings
from tests.support.stores import Bucket, RedisView
from tests.support.tus import id_of
from tests.support.waiting import eventually
from tests.support.world import World

LENGTH = 3 * PART_BYTES
BODY = body_of(LENGTH)
LIFETIME = "2s"
RUN_MAX_S = 60.0


@pytest.fixture
def world(
    stores: StoreSettings, s3_proxy: S3Proxy, start_server: StartServer, bucket: Bucket
) -> Iterator[World]:
    """A server whose uploads expire within two seconds, with stores of its own."""
    name = secrets.token_hex(4)
    own = replace(
        stores,
        object_prefix=f"{name}/",
        redis_prefix=f"{name}:",
        s3_endpoint=s3_proxy.endpoint,
    )
    server = start_server(over=own, upload_lifetime=LIFETIME, s3_timeout="2s", lease_ttl="1s")
    yield World(server, bucket, RedisView(own.redis_url, own.redis_prefix))
    s3_proxy.rules.clear()


def gc(stores: StoreSettings, *flags: str) -> tuple[int, list[str]]:
    """The exit status of the command, and the lines that it prints."""
    options = [word for name, value in stores.options().items() for word in (f"--{name}", value)]
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "TUSD_"))}
    root = str(Path(tusd_s3.__file__).resolve().parents[1])
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tusd_s3", "gc", *options, *flags],
        env=kept | stores.environment() | {"PYTHONPATH": root, "TUSD_S3_UPLOAD_LIFETIME": LIFETIME},
        capture_output=True,
        text=True,
        timeout=RUN_MAX_S,
        check=False,
    )
    assert "Traceback" not in ended.stderr, ended.stderr
    return ended.returncode, ended.stdout.splitlines()


def without_ages(lines: list[str]) -> list[str]:
    """What two runs in a row both print, in no order."""
    return sorted(re.sub(r"\d+ s old|\d+ s ago", "", line) for line in lines)


def expire(world: World, *paths: str) -> None:
    """Wait until a run would find them all."""

    def found() -> bool:
        status, lines = gc(world.stores, "--dry-run")
        assert status == 0, lines
        text = "\n".join(lines)
        return all(id_of(path) in text for path in paths)

    eventually(found, within_s=30.0, what="gc finds the uploads")


def test_a_dry_run_tells_what_a_run_does_and_changes_nothing(world: World) -> None:
    bucket, prefix = world.bucket, world.stores.object_prefix
    expired, dropped, orphaned = (world.client.new_upload(LENGTH) for _ in range(3))
    world.client.patch(expired, 0, BODY[: PART_BYTES + MIB])
    world.client.patch(dropped, 0, BODY[:PART_BYTES])
    [multipart] = bucket.multipart_uploads(world.key_of(dropped))
    bucket.abort(*multipart)
    world.client.upload_from(orphaned, BODY)
    bucket.start_multipart(world.key_of(orphaned))  # as if its id had never been recorded
    foreign = f"{prefix}backup.tar"
    bucket.start_multipart(foreign)
    expire(world, expired, dropped, orphaned)
    with world.unchanged():
        status, promised = gc(world.stores, "--dry-run")
    assert (status, promised[-1]) == (0, "3 to do, 0 failed")
    status, done = gc(world.stores)
    assert (status, done[-1]) == (0, "3 done, 0 failed")
    assert without_ages(done[:-1]) == without_ages(promised[:-1])
    for path in (expired, dropped):
        assert world.traces_of(path) == []
    assert world.traces_of(orphaned) == [world.key_of(orphaned)]
    assert world.object_of(orphaned) == BODY
    assert [key for key, _ in bucket.multipart_uploads(prefix)] == [foreign]
    assert gc(world.stores) == (0, ["0 done, 0 failed"])


def test_stuck_completions_and_idle_tails_are_seen_to(
    world: World, s3_proxy: S3Proxy, start_server: StartServer
) -> None:
    server = start_server(over=world.stores, s3_timeout="2s", network_timeout="60s")
    world = replace(world, server=server)
    stuck, idle, busy = (world.client.new_upload(MIB) for _ in range(3))
    s3_proxy.fail(S3Call.PUT_OBJECT, Answer(503), times=3, key_part=id_of(stuck))
    assert world.client.patch(stuck, 0, BODY[:MIB]).status == 503
    world.client.patch(idle, 0, BODY[:KIB])
    flags = ("--upload-lifetime", "24h", "--tail-idle", "1s")
    with world.client.begin_patch(busy, 0, BODY[:KIB], declared=MIB) as connection:
        eventually(
            lambda: len(gc(world.stores, "--dry-run", *flags)[1]) == 3, what="the tail is idle"
        )
        status, lines = gc(world.stores, *flags)
        assert (status, lines[-1]) == (0, "2 done, 0 failed")
        connection.send(BODY[KIB:MIB])
        assert connection.read_response().status == 204  # nobody took the upload from it
    assert world.object_of(stuck) == BODY[:MIB]
    assert [key for key in world.traces_of(idle) if key.endswith(".tail")]
    world.client.upload_from(idle, BODY[:MIB])
    assert world.object_of(idle) == world.object_of(busy) == BODY[:MIB]


def test_what_fails_is_told_and_done_by_the_next_run(world: World, s3_proxy: S3Proxy) -> None:
    path = world.client.new_upload(LENGTH)
    world.client.patch(path, 0, BODY[:PART_BYTES])
    expire(world, path)
    s3_proxy.fail(S3Call.ABORT_MULTIPART, Answer(503), times=None, key_part=id_of(path))
    status, lines = gc(world.stores)
    assert (status, lines[-1]) == (1, "0 done, 1 failed")
    assert lines[-2].startswith(f"remove expired upload {id_of(path)} (")
    assert lines[-2].endswith(": failed: storage_unavailable")
    s3_proxy.rules.clear()
    status, lines = gc(world.stores)
    assert (status, lines[-1]) == (0, "1 done, 0 failed")
    assert re.fullmatch(
        rf"failed 1 times so far, \d+ s ago: expired {id_of(path)}: storage_unavailable", lines[0]
    )
    assert world.traces_of(path) == []
    assert gc(world.stores) == (0, ["0 done, 0 failed"])


def test_a_store_that_cannot_be_listed_is_a_failure_and_the_rest_is_done(
    world: World, s3_proxy: S3Proxy
) -> None:
    # The first call on the bucket is the check before the run.
    s3_proxy.fail(S3Call.BUCKET, Answer(403, "AccessDenied"), nth=3, times=1)
    status, lines = gc(world.stores)
    assert status == 1
    assert lines == ["list multipart uploads: failed: storage_refused", "0 done, 1 failed"]


def test_stores_that_cannot_be_used_are_one_line_and_a_failure(stores: StoreSettings) -> None:
    assert gc(replace(stores, bucket="no-such-bucket")) == (1, [])
    assert gc(replace(stores, redis_url="redis://127.0.0.1:1/0")) == (1, [])


def test_wrong_usage_is_told_apart(stores: StoreSettings) -> None:
    assert gc(stores, "--dry") == (2, [])
    assert gc(stores, "--port", "80") == (2, [])
    assert gc(stores, "--tail-idle", "soon") == (2, [])
