"""A server together with the stores behind it: what a test asks of both sides at once."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.support.server import ServerProcess, StoreSettings
from tests.support.stores import Bucket, RedisView
from tests.support.tus import RawClient, id_of
from tests.support.waiting import eventually

_SETTLED_WITHIN_S = 5.0
_UPLOAD_ID = re.compile(r"[A-Za-z0-9_-]{22}")


@dataclass(frozen=True, slots=True)
class World:
    """One server and its corner of the stores."""

    server: ServerProcess
    bucket: Bucket
    redis: RedisView

    @property
    def stores(self) -> StoreSettings:
        """Addresses and prefixes."""
        return self.server.stores

    @property
    def client(self) -> RawClient:
        """A client of the server."""
        return self.server.client

    def key_of(self, path: str) -> str:
        """Object key of the upload at `path`, as the default template makes it."""
        return self.stores.object_prefix + id_of(path)

    def object_of(self, path: str) -> bytes:
        """Bytes of the upload's object, which must exist."""
        return self.bucket.body(self.key_of(path))

    def traces_of(self, path: str) -> list[str]:
        """Everything that is left of an upload in the bucket and in Redis."""
        upload_id = id_of(path)
        objects = [key for key in self.bucket.keys(self.stores.object_prefix) if upload_id in key]
        multipart = [
            f"multipart upload of {key}"
            for key, _ in self.bucket.multipart_uploads(self.stores.object_prefix)
            if upload_id in key
        ]
        return objects + multipart + self.redis.keys(upload_id)

    def made_since(self, keys: set[str]) -> str:
        """Path of an upload that was made since Redis had these keys, as soon as there is one."""

        def made() -> set[str]:
            new = set(self.redis.keys()) - keys
            return {found[0] for key in new if (found := _UPLOAD_ID.search(key))}

        return f"/files/{eventually(made).pop()}"

    def snapshot(self) -> dict[str, object]:
        """All that the server has stored, in a form that can be compared."""
        prefix = self.stores.object_prefix
        multipart = self.bucket.multipart_uploads(prefix)
        return {
            "objects": self.bucket.keys(prefix),
            "parts": {upload: self.bucket.parts(*upload) for upload in multipart},
            "redis": self.redis.snapshot(),
        }

    @contextmanager
    def unchanged(self) -> Iterator[None]:
        """Fail unless what is stored after the block is what was stored before it."""
        before = self.snapshot()
        yield

        def same() -> bool:
            after = self.snapshot()
            assert after == before
            return True

        eventually(same, within_s=_SETTLED_WITHIN_S, what="the request changed nothing")
