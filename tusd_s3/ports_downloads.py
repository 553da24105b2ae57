"""What handing out an object needs of S3 besides `ports`, whose rules hold here too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from tusd_s3 import errors
from tusd_s3.protocol.conditions import Validators
from tusd_s3.protocol.ranges import RangeSpec, Span


class BehindTheEnd(errors.StorageRefused):
    """The object has no such bytes. For the layers within."""


class NotModified(errors.StorageRefused):
    """The object is the one that the client has. For the layers within. `validators`: its own, as
    far as the store said them."""

    def __init__(self, validators: Validators) -> None:
        self.validators = validators
        super().__init__()


class ObjectChanged(errors.StorageRefused):
    """The object is another one than was asked for. For the layers within."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectInfo:
    """What a store says of an object. length: in bytes."""

    length: int
    validators: Validators
    content_type: str | None
    content_disposition: str | None


class ObjectBody(Protocol):
    """Bytes of an object on their way. To be closed.

    span: which they are. own_bytes: memory that it takes for itself, beside what it reads into.
    """

    info: ObjectInfo
    span: Span
    own_bytes: int

    async def read_into(self, room: memoryview) -> int:
        """Put the next bytes into `room` (which is not empty) as they come; how many, at least one.

        Not to be called behind the end of the span. Nothing is read from the network between two
        calls. Raises StorageUnavailable when they do not come."""
        ...

    def close(self) -> None:
        """Nobody reads any more: what is still on its way is refused, at once."""
        ...


class ObjectReads(Protocol):
    """Objects of the bucket, to be handed out."""

    async def open(
        self,
        key: str,
        wanted: RangeSpec | None,
        *,
        if_match: str | None = None,
        if_none_match: str | None = None,
    ) -> ObjectBody:
        """The object, or these bytes of it; the whole where the store could not come to them in
        reasonable time.

        if_match, if_none_match: one strong tag each. Stores need not know them.
        Raises NoSuchObject, BehindTheEnd, NotModified, ObjectChanged (for `if_match`).
        """
        ...

    async def look(self, key: str) -> ObjectInfo:
        """What there is. Raises NoSuchObject."""
        ...

    async def keys_of(self, beginning: str, most: int) -> Sequence[str]:
        """At most so many keys that begin so."""
        ...

    async def link(self, key: str, *, life_s: int, content_type: str, disposition: str) -> str:
        """An address at which the store itself hands the object out for `life_s` seconds, with
        these headers."""
        ...
