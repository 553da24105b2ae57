"""Checksums of bodies: which algorithms there are, what was promised, and what came.

The names are those that tus 1.0 gives (checksum extension), and `crc32c`, which S3's own clients
compute. The CRCs are their four bytes in network order, as the reference servers have them.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

from crc32c import CRC32CHash

from tusd_s3.model.chunk import Chunk


class Hasher(Protocol):
    """What `hashlib` makes."""

    def update(self, data: Chunk, /) -> None:
        """Go on with these bytes."""
        ...

    def digest(self) -> bytes:
        """Of all bytes so far."""
        ...


class _Crc32:
    def __init__(self) -> None:
        self._value = 0

    def update(self, data: Chunk, /) -> None:
        self._value = zlib.crc32(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(4)


# They show whether bytes arrived as they were sent, not who sent them.
_sha1 = partial(hashlib.sha1, usedforsecurity=False)
_md5 = partial(hashlib.md5, usedforsecurity=False)

_HASHERS: Final[Mapping[str, Callable[[], Hasher]]] = {
    "sha1": _sha1,
    "md5": _md5,
    "sha256": hashlib.sha256,
    "sha512": hashlib.sha512,
    "crc32": _Crc32,
    "crc32c": CRC32CHash,
}

ALGORITHMS: Final = tuple(_HASHERS)
"""As a client may name them; sha1 first, which tus demands of every server."""

_DIGEST_BYTES: Final = {name: len(make().digest()) for name, make in _HASHERS.items()}


@dataclass(frozen=True, slots=True)
class Checksum:
    """A body's digest as its sender computed it.

    Raises ValueError for an algorithm that is not in `ALGORITHMS`, or a digest of another length
    than that algorithm's.
    """

    algorithm: str
    digest: bytes

    def __post_init__(self) -> None:
        if _DIGEST_BYTES.get(self.algorithm) != len(self.digest):
            raise ValueError("no such algorithm, or no digest of its length")


class BodyDigest:
    """The digest of a body that comes in pieces; no byte is looked at twice.

    algorithm: None when it is named behind the body only; then all are computed.
    """

    def __init__(self, algorithm: str | None) -> None:
        names = ALGORITHMS if algorithm is None else (algorithm,)
        self._hashers = {name: _HASHERS[name]() for name in names}

    def update(self, chunk: Chunk) -> None:
        """The body goes on with these bytes."""
        for hasher in self._hashers.values():
            hasher.update(chunk)

    def agrees_with(self, checksum: Checksum) -> bool:
        """Whether what came is what was sent."""
        return self._hashers[checksum.algorithm].digest() == checksum.digest
