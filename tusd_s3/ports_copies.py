"""What putting uploads together needs of S3 besides `ports`, whose rules hold here too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class ByteRange:
    """`size` bytes of the object under `key`, which has `length`, from byte `start`."""

    key: str
    start: int
    size: int
    length: int

    @property
    def is_all(self) -> bool:
        """Whether it is the whole object."""
        return self.size == self.length

    def __str__(self) -> str:
        """As HTTP writes it (RFC 9110, 14.1.2); not for an empty one."""
        return f"bytes={self.start}-{self.start + self.size - 1}"


class Copies(Protocol):
    """Objects of the bucket as sources of others. Both may raise NoSuchObject for the source."""

    @property
    def work(self) -> bool:
        """Whether the store copies, as far as is known: it does until it was found not to."""
        ...

    async def copy_part(self, key: str, multipart_id: str, number: int, source: ByteRange) -> str:
        """Let S3 make one part of another object's bytes; its ETag. Safe to repeat.

        Raises UploadNotFound when S3 no longer knows the multipart upload, StorageRefused when
        the store does not copy, in general or this."""
        ...

    async def read_range(self, source: ByteRange) -> bytes:
        """Exactly these bytes."""
        ...

    async def check_parts(self, key: str, multipart_id: str, sizes: Sequence[int]) -> None:
        """Raise StorageRefused unless parts 1..len(sizes) have these sizes in bytes: there are
        stores that answer a copy with success and store nothing. Raises UploadNotFound."""
        ...
