"""Lesson 23: whatever ends an upload of ours leaves what is not ours alone."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest

import tusd_s3
from tests.conftest import StartServer
from tests.lessons.client import assert_ends_well
from tests.support.bodies import PART_BYTES, body_of
from tests.support.server import ServerProcess, StoreSettings
from tests.support.stores import Bucket, RedisView
from tests.support.tus import id_of
from tests.support.waiting import eventually
from tests.support.world import World

LENGTH = 2 * PART_BYTES + 1000
BODY = body_of(LENGTH)

Multipart = tuple[str, str]
"""Key and id of a multipart upload."""


@dataclass(frozen=True, slots=True)
class Foreign:
    """What others keep in the bucket, some of it in our corner."""

    objects: dict[str, bytes]
    multipart: list[Multipart]

    def assert_untouched(self, bucket: Bucket) -> None:
        """Every object has its bytes, and every multipart upload its part."""
        for key, body in self.objects.items():
            assert bucket.body(key) == body
        for key, multipart_id in self.multipart:
            assert bucket.parts(key, multipart_id) == [(1, PART_BYTES)], key


@pytest.fixture
def foreign(world: World) -> Iterator[Foreign]:
    """What is not ours, some of it under names that look like ours."""
    prefix = world.stores.object_prefix
    looks_like_ours = [f"{prefix}.tus/{'A' * 22}.json", f"{prefix}{'B' * 22}"]
    with foreign_in(world.bucket, prefix, looks_like_ours) as found:
        yield found


@contextmanager
def foreign_in(bucket: Bucket, prefix: str, more: Sequence[str]) -> Iterator[Foreign]:
    """Objects and unfinished multipart uploads of others, beside a prefix and below it."""
    name = prefix.rstrip("/")
    keys = [
        f"elsewhere-{name}",
        f"elsewhere-{name}/{'C' * 22}",
        f"{name}-neighbour",
        f"{prefix}theirs",
        f"{prefix}.tus/notes.txt",
        f"{prefix}theirs/{'C' * 22}",
        *more,
    ]
    objects = {key: key.encode() for key in keys}
    for key, body in objects.items():
        bucket.client.put_object(Bucket=bucket.name, Key=key, Body=body)
    found = Foreign(objects, [start_foreign(bucket, key) for key in keys])
    yield found
    for key, multipart_id in found.multipart:
        bucket.abort(key, multipart_id)


def start_foreign(bucket: Bucket, key: str) -> Multipart:
    """A multipart upload of one part that is not the server's."""
    multipart_id = bucket.start_multipart(key)
    bucket.client.upload_part(
        Bucket=bucket.name,
        Key=key,
        UploadId=multipart_id,
        PartNumber=1,
        Body=body_of(PART_BYTES, seed=9),
    )
    return key, multipart_id


def is_terminated(world: World, path: str, _: Multipart) -> None:
    assert world.client.delete(path).status == 204


def is_terminated_when_whole(world: World, path: str, _: Multipart) -> None:
    world.client.upload_from(path, BODY)
    assert world.client.delete(path).status == 204


def is_completed(world: World, path: str, _: Multipart) -> None:
    assert_ends_well(world, path, BODY)


def was_dropped_by_s3(world: World, path: str, ours: Multipart) -> None:
    world.bucket.abort(*ours)
    assert world.client.patch(path, PART_BYTES + 1000, BODY[PART_BYTES + 1000 :]).status == 404


ENDS = [is_terminated, is_terminated_when_whole, is_completed, was_dropped_by_s3]


@pytest.mark.parametrize("end", ENDS)
def test_lesson_23_the_end_of_an_upload_touches_nothing_else(
    world: World, foreign: Foreign, end: Callable[[World, str, Multipart], None]
) -> None:
    """However an upload ends, objects and multipart uploads of others stay, even a multipart
    upload of the very same key; and so do our other uploads."""
    other, path = (world.client.new_upload(LENGTH) for _ in range(2))
    for each in (other, path):
        world.client.upload_from(each, BODY[: PART_BYTES + 1000])
    (ours,) = world.bucket.multipart_uploads(world.key_of(path))
    same_key = start_foreign(world.bucket, world.key_of(path))
    end(world, path, ours)
    foreign.assert_untouched(world.bucket)
    assert world.bucket.parts(*same_key) == [(1, PART_BYTES)]
    world.bucket.abort(*same_key)
    assert_ends_well(world, other, BODY)


@pytest.fixture(scope="module")
def short_lived(world: World, start_module_server: StartServer) -> ServerProcess:
    """A server that keeps unfinished uploads for a few seconds."""
    return start_module_server(over=world.stores, upload_lifetime="3s")


def test_lesson_23_expiry_touches_nothing_else(
    world: World, short_lived: ServerProcess, foreign: Foreign
) -> None:
    """An upload that expires, and requests for it after that, leave everything of others and our
    uploads that live on."""
    other = world.client.new_upload(LENGTH)
    world.client.upload_from(other, BODY[: PART_BYTES + 1000])
    path = short_lived.client.new_upload(LENGTH, body=BODY[: PART_BYTES + 1000])
    eventually(lambda: short_lived.client.head(path).status == 404, what="it has expired")
    assert short_lived.client.delete(path).status == 404
    eventually(lambda: world.redis.keys(id_of(path)) == [], what="its record is gone")
    foreign.assert_untouched(world.bucket)
    assert_ends_well(world, other, BODY)


@pytest.mark.parametrize("name", ["A" * 22, "B" * 22])
def test_lesson_23_what_looks_like_ours_cannot_be_reached(
    world: World, foreign: Foreign, name: str
) -> None:
    """A request for an id that was never handed out finds nothing, whatever lies at its key or
    at the place of its recovery object; and it cannot be removed that way."""
    path = f"/files/{name}"
    assert world.client.head(path).status == 404
    assert world.client.patch(path, 0, b"x").status == 404
    assert world.client.delete(path).status == 404
    foreign.assert_untouched(world.bucket)


CLEANED_AFTER = "3s"


def by_janitor(stores: StoreSettings, start_server: StartServer) -> Callable[[], object]:
    """A server that cleans up in the background."""
    start_server(over=stores, upload_lifetime=CLEANED_AFTER, cleanup_interval="1s")
    return lambda: None


def by_command(stores: StoreSettings, _: StartServer) -> Callable[[], object]:
    """The command, which cleans up what it finds whenever it is run."""
    options = stores.options() | {"upload-lifetime": CLEANED_AFTER}
    flags = [word for name, value in options.items() for word in (f"--{name}", value)]
    root = str(Path(tusd_s3.__file__).resolve().parents[1])
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "TUSD_"))}
    return partial(
        subprocess.run,
        [sys.executable, "-m", "tusd_s3", "gc", *flags],
        env=kept | stores.environment() | {"PYTHONPATH": root},
        check=True,
        timeout=60,
        capture_output=True,
    )


@pytest.mark.parametrize("cleaner", [by_janitor, by_command])
def test_lesson_23_the_clean_up_touches_nothing_else(
    stores: StoreSettings,
    bucket: Bucket,
    start_server: StartServer,
    cleaner: Callable[[StoreSettings, StartServer], Callable[[], object]],
) -> None:
    """What expired uploads have left is removed, and nothing that is not ours, however old it is;
    nor an upload of ours that lives on."""
    name = secrets.token_hex(4)
    own = replace(stores, object_prefix=f"{name}/", redis_prefix=f"{name}:")
    long_lived = World(start_server(over=own), bucket, RedisView(own.redis_url, own.redis_prefix))
    other = long_lived.client.new_upload(LENGTH, body=BODY[: PART_BYTES + 1000])
    mortal = start_server(over=own, upload_lifetime=CLEANED_AFTER).client
    with foreign_in(bucket, own.object_prefix, ()) as foreign:
        # Younger than all that is foreign: when it goes, that was old enough as well.
        path = mortal.new_upload(LENGTH)
        mortal.upload_from(path, BODY[: PART_BYTES + 1000])
        assert len(bucket.multipart_uploads(long_lived.key_of(path))) == 1
        clean = cleaner(own, start_server)

        def nothing_left() -> bool:
            clean()
            return long_lived.traces_of(path) == []

        eventually(nothing_left, within_s=60, what="the expired upload has left nothing")
        foreign.assert_untouched(bucket)
    assert_ends_well(long_lived, other, BODY)
