"""`Upload-Checksum` as a client computes it, without the server's own code."""

from __future__ import annotations

import base64
import hashlib
import zlib

ALGORITHMS = ("sha1", "md5", "sha256", "sha512", "crc32", "crc32c")

_CASTAGNOLI = 0x82F63B78


def checksum_of(body: bytes, algorithm: str = "sha1") -> str:
    """The header's value for a body."""
    return f"{algorithm} {base64.b64encode(_digest(body, algorithm)).decode()}"


def with_checksum(body: bytes, algorithm: str = "sha1") -> dict[str, str]:
    """The header for a body."""
    return {"Upload-Checksum": checksum_of(body, algorithm)}


def _digest(body: bytes, algorithm: str) -> bytes:
    if algorithm == "crc32":
        return zlib.crc32(body).to_bytes(4)
    if algorithm == "crc32c":
        return _crc32c(body).to_bytes(4)
    return hashlib.new(algorithm, body).digest()


def _crc32c(body: bytes) -> int:
    """By the definition (RFC 3720, 12.1), bit by bit: for small bodies."""
    value = 0xFFFFFFFF
    for byte in body:
        value ^= byte
        for _ in range(8):
            value = (value >> 1) ^ (_CASTAGNOLI if value & 1 else 0)
    return value ^ 0xFFFFFFFF
