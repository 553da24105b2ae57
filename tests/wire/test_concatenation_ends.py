"""Lines 25 and 26: final uploads that take long, whose server dies, or that nobody waits for."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import redis

from tests.conftest import StartServer
from tests.support.bodies import MIB, PART_BYTES, body_of
from tests.support.concat import (
    PARTIAL,
    assert_made_of,
    new_final,
    new_partial,
    partial_key,
    post_final,
)
from tests.support.faults import Answer, Delay, Hold, Stage
from tests.support.raw import RawResponse
from tests.support.redis_proxy import RedisProxy
from tests.support.s3_calls import S3Call
from tests.support.s3_proxy import S3Proxy
from tests.support.server import ServerProcess, StoreSettings
from tests.support.stores import Bucket, RedisView
from tests.support.tus import TUS, id_of, path_of
from tests.support.waiting import Stopwatch, eventually
from tests.support.world import World
from tusd_s3.stores.redis import scripts

P = PART_BYTES
QUICK = {"lease_ttl": "1s", "concatenation_wait": "1s", "checkpoint_interval": "100ms"}
CLEAN_WITHIN_S = 40.0
BODIES = [body_of(2 * P + 5, 1), body_of(MIB, 2), body_of(P + 77, 3), body_of(3 * P, 4)]
COPIES = 2
"""That S3 is asked for by a final upload of `BODIES`. Two more parts pass through the server: the
second body and what is around it."""


@pytest.fixture
def elsewhere(stores: StoreSettings, s3_proxy: S3Proxy) -> StoreSettings:
    """Stores behind the proxy, with prefixes of a single test."""
    name = secrets.token_hex(4)
    return replace(
        stores,
        s3_endpoint=s3_proxy.endpoint,
        object_prefix=f"{name}/",
        redis_prefix=f"{name}:",
    )


@pytest.fixture(autouse=True)
def _mended(s3_proxy: S3Proxy) -> Iterator[None]:
    yield
    s3_proxy.rules.clear()


def world_of(server: ServerProcess, bucket: Bucket) -> World:
    stores = server.stores
    return World(server, bucket, RedisView(stores.redis_url, stores.redis_prefix))


def partials_of(world: World) -> list[str]:
    return [new_partial(world.client, body) for body in BODIES]


def assert_goes(world: World, path: str) -> None:
    def gone() -> bool:
        assert world.traces_of(path) == []
        return True

    eventually(gone, within_s=CLEAN_WITHIN_S, what=f"nothing is left of {path}")


def assert_only_finished_objects(world: World, paths: list[str]) -> None:
    """Of all that the server had in S3, the objects of these uploads are left."""
    wanted = sorted(world.key_of(path) for path in paths)

    def only_those() -> bool:
        assert world.bucket.keys(world.stores.object_prefix) == wanted
        assert world.bucket.multipart_uploads(world.stores.object_prefix) == []
        return True

    eventually(only_those, within_s=CLEAN_WITHIN_S, what="only finished objects are left")


# --- long ones


def test_line_25_a_slow_final_is_answered_before_it_is_whole(
    elsewhere: StoreSettings, s3_proxy: S3Proxy, start_server: StartServer, bucket: Bucket
) -> None:
    world = world_of(start_server(over=elsewhere, **QUICK), bucket)
    paths = partials_of(world)
    hold = Hold()
    s3_proxy.fail(S3Call.COPY_PART, hold, nth=2)
    watch = Stopwatch()
    created = post_final(world.client, paths)
    assert 0.9 < watch.elapsed_s < 5.0
    assert created.status == 201
    assert "Upload-Offset" not in created.headers
    final = path_of(created)
    head = world.client.head(final)
    assert head.status == 200
    assert "Upload-Offset" not in head.headers
    assert head.headers["Upload-Length"] == f"{sum(map(len, BODIES))}"
    assert head.headers["Upload-Concat"] == f"final;{' '.join(paths)}"
    assert new_final(world.client, paths) == final, "also while it is being made"
    hold.release()
    assert_made_of(world, final, BODIES)


def test_line_25_another_process_answers_head_without_disturbing(
    elsewhere: StoreSettings, s3_proxy: S3Proxy, start_server: StartServer, bucket: Bucket
) -> None:
    world, other = (world_of(start_server(over=elsewhere, **QUICK), bucket) for _ in range(2))
    hold = Hold()
    paths = partials_of(world)
    s3_proxy.fail(S3Call.COPY_PART, hold)
    final = new_final(world.client, paths)
    hold.wait_until_reached()
    for _ in range(3):
        head = other.client.head(final)
        assert head.status == 200
        assert "Upload-Offset" not in head.headers
    assert new_final(other.client, paths) == final
    hold.release()
    assert_made_of(other, final, BODIES)
    assert s3_proxy.counts(id_of(final))[S3Call.COPY_PART] == COPIES, "nothing was done twice"


def test_line_24_a_patch_in_between_is_403_and_the_work_goes_on(
    elsewhere: StoreSettings, s3_proxy: S3Proxy, start_server: StartServer, bucket: Bucket
) -> None:
    world = world_of(start_server(over=elsewhere, **QUICK), bucket)
    hold = Hold()
    paths = partials_of(world)
    s3_proxy.fail(S3Call.COPY_PART, hold)
    final = new_final(world.client, paths)
    hold.wait_until_reached()
    refused = world.client.patch(final, 0, b"abc")
    assert (refused.status, refused.code) == (403, "final_upload")
    hold.release()
    assert_made_of(world, final, BODIES)


def test_line_22_a_final_is_terminated_while_it_is_made(
    elsewhere: StoreSettings, s3_proxy: S3Proxy, start_server: StartServer, bucket: Bucket
) -> None:
    world = world_of(start_server(over=elsewhere, **QUICK), bucket)
    paths = partials_of(world)
    s3_proxy.fail(S3Call.COPY_PART, Delay(8.0), nth=2)
    final = new_final(world.client, paths)
    watch = Stopwatch()
    assert world.client.delete(final).status == 204
    assert watch.elapsed_s < 4.0
    assert_goes(world, final)
    assert world.client.head(final).status == 404
    second = new_final(world.client, paths)
    assert second != final
    assert_made_of(world, second, BODIES)


def test_line_25_a_final_whose_partial_is_terminated_is_gone_without_a_trace(
    elsewhere: StoreSettings, s3_proxy: S3Proxy, start_server: StartServer, bucket: Bucket
) -> None:
    world = world_of(start_server(over=elsewhere, **QUICK), bucket)
    paths = partials_of(world)
    hold = Hold()
    s3_proxy.fail(S3Call.GET_OBJECT, hold, key_part=id_of(paths[3]))
    final = new_final(world.client, paths)
    hold.wait_until_reached()
    assert world.client.delete(paths[3]).status == 204
    hold.release()
    eventually(lambda: world.client.head(final).status == 404, what="the final is gone")
    assert_goes(world, final)
    for path in paths[:3]:
        assert world.client.delete(path).status == 204
    assert_only_finished_objects(world, [])


# --- servers that die


def kill_while_it_is_made(
    world: World, s3_proxy: S3Proxy, paths: list[str], kind: S3Call, stage: Stage, nth: int
) -> None:
    """SIGKILL to the server in the middle of a POST; what is held then never reaches S3."""
    hold = Hold(stage)
    s3_proxy.fail(kind, hold, nth=nth)
    concat = {"Upload-Concat": f"final;{' '.join(paths)}"}
    with world.client.connect() as connection:
        connection.send_head("POST", "/files/", TUS | concat | {"Content-Length": "0"})
        hold.wait_until_reached()
        world.server.kill()
    s3_proxy.down()
    s3_proxy.rules.clear()
    s3_proxy.up()


MOMENTS = [
    (S3Call.CREATE_MULTIPART, Stage.BEFORE, 1),
    (S3Call.CREATE_MULTIPART, Stage.AFTER, 1),
    (S3Call.PUT_RECOVERY, Stage.BEFORE, 1),
    (S3Call.COPY_PART, Stage.BEFORE, 1),
    (S3Call.COPY_PART, Stage.AFTER, COPIES),
    (S3Call.UPLOAD_PART, Stage.BEFORE, 1),
    (S3Call.COMPLETE_MULTIPART, Stage.BEFORE, 1),
    (S3Call.COMPLETE_MULTIPART, Stage.AFTER, 1),
]


@pytest.mark.parametrize(("kind", "stage", "nth"), MOMENTS)
def test_line_26_a_repeated_post_gets_what_a_killed_server_began(
    elsewhere: StoreSettings,
    s3_proxy: S3Proxy,
    start_server: StartServer,
    bucket: Bucket,
    kind: S3Call,
    stage: Stage,
    nth: int,
) -> None:
    options = QUICK | {"concatenation_wait": "20s", "lease_ttl": "1s"}
    first = world_of(start_server(over=elsewhere, **options), bucket)
    paths = partials_of(first)
    kill_while_it_is_made(first, s3_proxy, paths, kind, stage, nth)
    world = world_of(start_server(over=elsewhere, **options), bucket)
    final = new_final(world.client, paths)
    assert_made_of(world, final, BODIES)
    for path in paths:
        assert world.client.delete(path).status == 204
    assert_only_finished_objects(world, [final])


def test_line_25_head_drives_on_what_a_killed_server_began(
    elsewhere: StoreSettings, s3_proxy: S3Proxy, start_server: StartServer, bucket: Bucket
) -> None:
    first = world_of(start_server(over=elsewhere, **QUICK), bucket)
    paths = partials_of(first)
    hold = Hold()
    s3_proxy.fail(S3Call.COPY_PART, hold, nth=COPIES)
    final = new_final(first.client, paths)
    hold.wait_until_reached()
    first.server.kill()
    s3_proxy.down()
    s3_proxy.rules.clear()
    s3_proxy.up()
    world = world_of(start_server(over=elsewhere, **QUICK), bucket)
    assert_made_of(world, final, BODIES)
    # What was recorded before the end is not made again.
    assert s3_proxy.counts(id_of(final))[S3Call.COPY_PART] < 2 * COPIES


def test_line_25_the_janitor_drives_on_what_a_killed_server_began(
    elsewhere: StoreSettings, s3_proxy: S3Proxy, start_server: StartServer, bucket: Bucket
) -> None:
    first = world_of(start_server(over=elsewhere, **QUICK), bucket)
    paths = partials_of(first)
    kill_while_it_is_made(first, s3_proxy, paths, S3Call.COPY_PART, Stage.BEFORE, 2)
    start_server(over=elsewhere, cleanup_interval="1s", **QUICK)
    objects = eventually(
        lambda: [key for key in bucket.keys(elsewhere.object_prefix) if ".tus/" not in key],
        within_s=CLEAN_WITHIN_S,
        what="an object was made without any request",
    )
    assert [bucket.body(key) for key in objects] == [b"".join(BODIES)]


def test_line_26_a_stopping_server_leaves_a_final_to_the_next_at_once(
    elsewhere: StoreSettings, s3_proxy: S3Proxy, start_server: StartServer, bucket: Bucket
) -> None:
    options = QUICK | {"lease_ttl": "30s", "concatenation_wait": "20s"}
    first, world = (world_of(start_server(over=elsewhere, **options), bucket) for _ in range(2))
    paths = partials_of(first)
    hold = Hold()
    s3_proxy.fail(S3Call.COPY_PART, hold, nth=COPIES)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(post_final, first.client, paths)
        hold.wait_until_reached()
        watch = Stopwatch()
        first.server.terminate()
        refused: RawResponse = answer.result()
        assert (refused.status, refused.code) == (503, "shutting_down")
    first.server.wait_for_exit()
    assert watch.elapsed_s < 5.0
    s3_proxy.rules.clear()
    assert_made_of(world, new_final(world.client, paths), BODIES)


def test_line_26_a_stopping_server_gives_up_a_partial_that_it_was_just_taking(
    elsewhere: StoreSettings,
    s3_proxy: S3Proxy,
    redis_proxy: RedisProxy,
    start_server: StartServer,
    bucket: Bucket,
) -> None:
    """The part that needed it is dropped before the answer says that it was had."""
    options = QUICK | {"lease_ttl": "30s", "concatenation_wait": "20s"}
    world = world_of(start_server(over=elsewhere, **options), bucket)
    through = replace(elsewhere, redis_url=redis_proxy.url)
    first = world_of(start_server(over=through, **options), bucket)
    paths = partials_of(world)
    short = paths[[len(body) <= P for body in BODIES].index(True)]

    lease = f"{world.redis.prefix}{{{id_of(short)}}}:lease"

    def takes_it(command: list[str]) -> bool:
        return scripts.ACQUIRE.sha in command and lease in command

    hold = Hold(Stage.AFTER)
    s3_proxy.fail(S3Call.COPY_PART, Hold(), times=None)  # it cannot be whole before the end
    redis_proxy.rules.add(takes_it, hold, nth=2, times=1)  # after it was taken for its length
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(post_final, first.client, paths)
        hold.wait_until_reached()
        first.server.terminate()
        assert answer.result().code == "shutting_down"
    hold.release()
    first.server.wait_for_exit()
    assert world.redis.keys(f"{{{id_of(short)}}}:lease") == []
    s3_proxy.rules.clear()
    assert_made_of(world, new_final(world.client, paths), BODIES)


def test_line_26_a_frozen_server_that_wakes_up_late_changes_nothing(
    elsewhere: StoreSettings, s3_proxy: S3Proxy, start_server: StartServer, bucket: Bucket
) -> None:
    frozen = world_of(start_server(over=elsewhere, **QUICK), bucket)
    world = world_of(start_server(over=elsewhere, **QUICK), bucket)
    paths = partials_of(frozen)
    hold = Hold()
    s3_proxy.fail(S3Call.COPY_PART, hold, nth=2)
    final = new_final(frozen.client, paths)
    hold.wait_until_reached()
    frozen.server.freeze()
    assert_made_of(world, final, BODIES)
    hold.release()
    frozen.server.thaw()
    assert frozen.client.head(final).offset == sum(map(len, BODIES))
    assert_made_of(world, final, BODIES)


# --- Redis


def test_line_25_when_redis_loses_everything_a_final_is_made_or_gone_without_a_trace(
    elsewhere: StoreSettings, s3_proxy: S3Proxy, start_server: StartServer, bucket: Bucket
) -> None:
    """Partials that are objects are found again; one that was only a tail is gone, and the final
    with it."""
    world = world_of(start_server(over=elsewhere, **QUICK), bucket)
    large = [body for body in BODIES if len(body) > P]
    chosen = {True: large, False: BODIES}
    for survives, bodies in chosen.items():
        paths = [new_partial(world.client, body) for body in bodies]
        s3_proxy.fail(S3Call.COPY_PART, Answer(503), times=None)
        assert post_final(world.client, paths).status in {201, 503}
        with redis.Redis.from_url(world.redis.url) as client:
            [final_id] = {
                key.decode().split("{")[1].split("}")[0]
                for key in client.scan_iter(f"{world.redis.prefix}{{*}}", count=1000)
                if (client.hget(key, "concat") or b"").startswith(b"final;")
            }
            client.delete(*client.scan_iter(f"{world.redis.prefix}*", count=1000))
        s3_proxy.rules.clear()
        final = f"/files/{final_id}"
        if survives:
            assert_made_of(world, final, bodies)
            with redis.Redis.from_url(world.redis.url) as client:
                client.delete(*client.scan_iter(f"{world.redis.prefix}*", count=1000))
        else:
            assert world.client.head(final).status == 404
            assert_goes(world, final)


def test_line_26_a_redis_that_is_away_for_a_moment_costs_nothing(
    proxied: World, s3_proxy: S3Proxy, redis_proxy: RedisProxy
) -> None:
    paths = partials_of(proxied)
    hold = Hold()
    s3_proxy.fail(S3Call.COPY_PART, hold, nth=2)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(post_final, proxied.client, paths)
        hold.wait_until_reached()
        redis_proxy.down()
        hold.release()
        redis_proxy.up()
        assert answer.result().status in {201, 503}
    assert_made_of(proxied, new_final(proxied.client, paths), BODIES)


# --- partials go


def test_line_26_partials_go_after_a_while_and_the_final_stays(
    elsewhere: StoreSettings, start_server: StartServer, bucket: Bucket
) -> None:
    """A quarter of the lifetime after the final was made, or an hour, whichever is less."""
    options = {"upload_lifetime": "60s", "cleanup_interval": "1s"}
    world = world_of(start_server(over=elsewhere, **options), bucket)
    paths, unused = partials_of(world), new_partial(world.client, BODIES[0])
    final = new_final(world.client, paths)
    watch = Stopwatch()
    for path in paths:
        assert world.client.head(path).status == 200
    assert_made_of(world, new_final(world.client, paths[::-1]), BODIES[::-1])
    for path in paths:
        assert_goes(world, path)
    assert 8.0 < watch.elapsed_s < 30.0
    assert world.object_of(final) == b"".join(BODIES)
    assert world.client.head(unused).offset == len(BODIES[0])
    assert new_final(world.client, paths) == final, "a repeated request needs no partials"


def test_line_26_partials_that_were_never_used_go_when_they_expire(
    elsewhere: StoreSettings, start_server: StartServer, bucket: Bucket
) -> None:
    options = {"upload_lifetime": "4s", "cleanup_interval": "1s"}
    world = world_of(start_server(over=elsewhere, **options), bucket)
    finished = partials_of(world)
    begun = path_of(world.client.create(3 * P, headers=PARTIAL, body=BODIES[0]))
    for path in (*finished, begun):
        assert_goes(world, path)


def test_line_26_partials_that_redis_has_forgotten_go_after_their_lifetime(
    elsewhere: StoreSettings, start_server: StartServer, bucket: Bucket
) -> None:
    options = {"upload_lifetime": "6s", "cleanup_interval": "1s"}
    first = world_of(start_server(over=elsewhere, upload_lifetime="6s"), bucket)
    paths = partials_of(first)
    assert bucket.get(partial_key(first, paths[0])) is not None
    first.server.stop()
    with redis.Redis.from_url(first.redis.url) as client:
        client.delete(*client.scan_iter(f"{first.redis.prefix}*", count=1000))
    world = world_of(start_server(over=elsewhere, **options), bucket)
    for path in paths:
        assert_goes(world, path)


def test_line_26_what_an_abandoned_final_left_goes_with_its_partials(
    elsewhere: StoreSettings, s3_proxy: S3Proxy, start_server: StartServer, bucket: Bucket
) -> None:
    """The server died, Redis lost everything, and nobody came back."""
    first = world_of(start_server(over=elsewhere, upload_lifetime="6s", **QUICK), bucket)
    paths = partials_of(first)
    kill_while_it_is_made(first, s3_proxy, paths, S3Call.COPY_PART, Stage.BEFORE, COPIES)
    assert bucket.multipart_uploads(elsewhere.object_prefix)
    with redis.Redis.from_url(first.redis.url) as client:
        client.delete(*client.scan_iter(f"{first.redis.prefix}*", count=1000))
    options = {"upload_lifetime": "6s", "cleanup_interval": "1s"}
    world = world_of(start_server(over=elsewhere, **options), bucket)
    assert_only_finished_objects(world, [])
