"""A look into the stores behind the server's back: what is in the bucket and in Redis."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import botocore.config
import botocore.exceptions
import botocore.loaders
import botocore.session
import redis

from tests.support.server import StoreSettings


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One object and what S3 knows of it."""

    body: bytes
    content_type: str | None
    content_disposition: str | None
    metadata: dict[str, str]


@dataclass(frozen=True, slots=True)
class Bucket:
    """One bucket, read and prepared with a plain synchronous client."""

    name: str
    client: Any = field(repr=False)

    @classmethod
    def open(cls, stores: StoreSettings) -> Bucket:
        """The bucket these stores name; nothing is asked of S3 yet."""
        session = botocore.session.Session()
        session.register_component("data_loader", _sdk_data())
        client = session.create_client(
            "s3",
            endpoint_url=stores.s3_endpoint,
            region_name=stores.s3_region,
            aws_access_key_id=stores.s3_access_key,
            aws_secret_access_key=stores.s3_secret_key,
            config=botocore.config.Config(s3={"addressing_style": "path"}),
        )
        return cls(stores.bucket, client)

    def create(self) -> None:
        """Make the bucket."""
        self.client.create_bucket(Bucket=self.name)

    def remove(self) -> None:
        """The bucket goes with all that is in it, and at once from the disk as well: SeaweedFS has
        files of its own for each bucket, and does not mind that one is not empty."""
        self.client.delete_bucket(Bucket=self.name)

    def get(self, key: str) -> StoredObject | None:
        """The object under `key`, or None."""
        try:
            answer = self.client.get_object(Bucket=self.name, Key=key)
        except self.client.exceptions.NoSuchKey:
            return None
        with answer["Body"] as stream:
            body: bytes = stream.read()
        return StoredObject(
            body=body,
            content_type=answer.get("ContentType"),
            content_disposition=answer.get("ContentDisposition"),
            metadata=answer["Metadata"],
        )

    def put(self, key: str, body: bytes) -> None:
        """Store an object of somebody else's."""
        self.client.put_object(Bucket=self.name, Key=key, Body=body)

    def body(self, key: str) -> bytes:
        """The bytes of an object that must be there."""
        stored = self.get(key)
        assert stored is not None, f"no object {key}; there are {self.keys()}"
        return stored.body

    def keys(self, prefix: str = "") -> list[str]:
        """Keys of all objects under `prefix`, sorted."""
        pages = self.client.get_paginator("list_objects_v2").paginate(
            Bucket=self.name, Prefix=prefix
        )
        return sorted(item["Key"] for page in pages for item in page.get("Contents", ()))

    def multipart_uploads(self, prefix: str = "") -> list[tuple[str, str]]:
        """Key and id of every unfinished multipart upload under `prefix`."""
        answer = self.client.list_multipart_uploads(Bucket=self.name, Prefix=prefix)
        return sorted((item["Key"], item["UploadId"]) for item in answer.get("Uploads", ()))

    def start_multipart(self, key: str) -> str:
        """Start a multipart upload that is not the server's."""
        answer = self.client.create_multipart_upload(Bucket=self.name, Key=key)
        multipart_id: str = answer["UploadId"]
        return multipart_id

    def abort(self, key: str, multipart_id: str) -> None:
        """Drop a multipart upload, as a store's own lifecycle rule would."""
        self.client.abort_multipart_upload(Bucket=self.name, Key=key, UploadId=multipart_id)

    def parts(self, key: str, multipart_id: str) -> list[tuple[int, int]] | None:
        """Number and size of each part of a multipart upload, or None if it is not known."""
        try:
            answer = self.client.list_parts(Bucket=self.name, Key=key, UploadId=multipart_id)
        except botocore.exceptions.ClientError:
            return None
        return [(item["PartNumber"], item["Size"]) for item in answer.get("Parts", ())]

    def close(self) -> None:
        """Drop the client's connections."""
        self.client.close()


@dataclass(frozen=True, slots=True)
class RedisView:
    """The keys under one prefix."""

    url: str
    prefix: str

    def keys(self, containing: str = "") -> list[str]:
        """Keys under the prefix that have `containing` in them, sorted."""
        with redis.Redis.from_url(self.url) as client:
            found = client.scan_iter(match=f"{self.prefix}*{containing}*", count=1000)
            return sorted(key.decode() for key in found)

    def lose(self, upload_id: str) -> None:
        """All that Redis knows of an upload goes, as if it had lost its data."""
        with redis.Redis.from_url(self.url) as client:
            for key in self.keys(upload_id):
                client.delete(key)

    def doubt(self, upload_id: str) -> None:
        """The record was last held against S3 in an earlier run of Redis."""
        with redis.Redis.from_url(self.url) as client:
            client.hset(f"{self.prefix}{{{upload_id}}}", "checked", "an earlier run")

    def record(self, upload_id: str) -> dict[str, str]:
        """The fields of an upload's record."""
        with redis.Redis.from_url(self.url, decode_responses=True) as client:
            found: Any = client.hgetall(f"{self.prefix}{{{upload_id}}}")
            return dict(found)

    def snapshot(self, containing: str = "") -> Mapping[str, object]:
        """What is recorded: keys and values, without what taking and giving back a lease changes
        (tokens) and without what time alone changes (how long keys live)."""
        keys = [key for key in self.keys(containing) if not key.endswith(_LEASE_KEYS)]
        with redis.Redis.from_url(self.url) as client:
            asked: Any = client.pipeline(transaction=False)
            for key in keys:
                asked.type(key)
            kinds = asked.execute()
            for key, kind in zip(keys, kinds, strict=True):
                _READ[kind](asked, key)
            values = asked.execute()
        return {
            _TAIL_TOKEN.sub(":tail:*:", key): _without_lease(value)
            for key, value in zip(keys, values, strict=True)
        }


@contextmanager
def corner_of(stores: StoreSettings) -> Iterator[StoreSettings]:
    """A bucket and prefixes that nobody else uses. What was stored there is gone afterwards: a run
    needs as much disk as its greediest modules, not as all of them together."""
    name = secrets.token_hex(4)
    corner = replace(
        stores, bucket=f"corner-{name}", object_prefix=f"{name}/", redis_prefix=f"{name}:"
    )
    bucket = Bucket.open(corner)
    try:
        bucket.create()
        yield corner
        bucket.remove()
    finally:
        bucket.close()


@cache
def _sdk_data() -> botocore.loaders.Loader:
    """What the SDK knows of S3, read once: it is large, and every module opens its bucket twice."""
    return botocore.loaders.create_loader()


_LEASE_KEYS = (":lease", ":waiting")
_TAIL_TOKEN = re.compile(r":tail:[^:]*:")
_OF_THE_LEASE = {b"holder", b"step", b"held"}


_READ: Mapping[bytes, Callable[[Any, str], object]] = {
    b"none": lambda asked, key: asked.exists(key),
    b"string": lambda asked, key: asked.get(key),
    b"hash": lambda asked, key: asked.hgetall(key),
    b"list": lambda asked, key: asked.lrange(key, 0, -1),
    b"set": lambda asked, key: asked.smembers(key),
    b"zset": lambda asked, key: asked.zrange(key, 0, -1, withscores=True),
}


def _without_lease(value: object) -> object:
    if not isinstance(value, dict):
        return value
    return {name: field for name, field in value.items() if name not in _OF_THE_LEASE}
