"""Objects and parts on a real S3: what was sent directly is what the SDK finds there."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from tests.support.bodies import PART_BYTES, body_of
from tests.support.s3_calls import S3Call
from tests.support.s3_proxy import S3Proxy
from tests.support.server import StoreSettings
from tests.support.stores import Bucket
from tusd_s3 import errors
from tusd_s3.model.metadata import ObjectAttributes
from tusd_s3.stores.s3 import S3Objects, S3Options, open_s3

ATTRIBUTES = ObjectAttributes(
    content_type="text/plain; charset=utf-8",
    content_disposition="attachment; filename=\"a  b.txt\"; filename*=UTF-8''a%20%20b.txt",
    user_metadata={"filename": "a  b.txt", "more": "%C3%A9"},
)


@dataclass(frozen=True)
class Place:
    """Objects below a prefix, reached through a proxy that counts, and their owner's view."""

    objects: S3Objects
    bucket: Bucket
    proxy: S3Proxy
    prefix: str


@pytest.fixture
async def place(
    stores: StoreSettings,
    bucket: Bucket,
    s3_proxy: S3Proxy,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Place]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", stores.s3_access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", stores.s3_secret_key)
    options = S3Options(
        stores.bucket, stores.s3_region, s3_proxy.endpoint, force_path_style=True, timeout_s=10
    )
    async with open_s3(options) as clients:
        prefix = f"{stores.object_prefix}{secrets.token_hex(4)}/"
        yield Place(S3Objects(clients, options), bucket, s3_proxy, prefix)


@pytest.mark.parametrize(
    "name",
    [
        "plain",
        "a b",
        "é日本語\U0001f600",
        "a+b",
        "100%",
        "%2F%20",
        "~tilde",
        "a/b/c",
        "semi;colon=&?#",
        "(*)'!,:@$",
        "quo\"te'",
    ],
)
async def test_an_object_lies_under_exactly_its_key(place: Place, name: str) -> None:
    body = body_of(1000)
    with place.proxy.counting() as calls:
        await place.objects.put_object(place.prefix + name, [body], len(body), ATTRIBUTES)
    assert calls == {S3Call.PUT_OBJECT: 1}
    assert place.bucket.keys(place.prefix) == [place.prefix + name]
    found = place.bucket.get(place.prefix + name)
    assert found is not None
    assert found.body == body
    assert found.content_type == ATTRIBUTES.content_type
    assert found.content_disposition == ATTRIBUTES.content_disposition
    assert found.metadata == ATTRIBUTES.user_metadata


async def test_slashes_in_a_row_make_no_other_key_than_the_sdks(place: Place) -> None:
    """What a store makes of them is its own affair (SeaweedFS has directories)."""
    key = f"{place.prefix}a//b"
    await place.objects.put_object(key, [b"abc"], 3, ObjectAttributes())
    assert place.bucket.body(key) == b"abc"


@pytest.mark.parametrize("size", [0, 1, 64 * 1024, PART_BYTES])
async def test_objects_of_any_size_are_whole(place: Place, size: int) -> None:
    body = body_of(size)
    chunks = [body[at : at + 50_000] for at in range(0, size, 50_000)]
    await place.objects.put_object(f"{place.prefix}x", chunks, size, ObjectAttributes())
    assert place.bucket.body(f"{place.prefix}x") == body


async def test_an_object_that_is_there_is_not_replaced_unless_named(place: Place) -> None:
    key = f"{place.prefix}x"
    await place.objects.put_object(key, [b"one"], 3, ObjectAttributes())
    with pytest.raises(errors.ObjectExists) as raised:
        await place.objects.put_object(key, [b"two"], 3, ObjectAttributes())
    with pytest.raises(errors.ObjectExists):
        await place.objects.put_object(key, [b"two"], 3, ObjectAttributes(), replacing='"other"')
    assert place.bucket.body(key) == b"one"
    await place.objects.put_object(
        key, [b"two"], 3, ObjectAttributes(), replacing=raised.value.etag
    )
    assert place.bucket.body(key) == b"two"


async def test_parts_make_an_object(place: Place) -> None:
    key, body = f"{place.prefix}a b+é", body_of(PART_BYTES + 7)
    multipart_id = await place.objects.create_multipart(key, ATTRIBUTES)
    with place.proxy.counting() as calls:
        etags = [
            await place.objects.upload_part(key, multipart_id, number, [part], len(part))
            for number, part in enumerate((body[:PART_BYTES], body[PART_BYTES:]), start=1)
        ]
    assert calls == {S3Call.UPLOAD_PART: 2}
    await place.objects.complete_multipart(key, multipart_id, etags, len(body))
    assert place.bucket.body(key) == body
    with pytest.raises(errors.UploadNotFound):
        await place.objects.upload_part(key, "0" * 32, 1, [b"x"], 1)


async def test_a_wrong_secret_is_refused(
    stores: StoreSettings, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    options = S3Options(
        stores.bucket, stores.s3_region, place.proxy.endpoint, force_path_style=True
    )
    async with open_s3(options) as clients:
        objects = S3Objects(clients, options)
        with place.proxy.counting() as calls, pytest.raises(errors.StorageRefused):
            await objects.put_object(f"{place.prefix}x", [b"x"], 1, ObjectAttributes())
    assert calls == {S3Call.PUT_OBJECT: 1}
    assert place.bucket.keys(place.prefix) == []
