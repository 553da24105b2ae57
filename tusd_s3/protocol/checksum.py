"""`Upload-Checksum`: `<algorithm> <base64 of the digest>` (tus checksum).

It stands in front of the body or, if `Trailer` announces it, behind it (tus checksum-trailer).
"""

from __future__ import annotations

import binascii
from collections.abc import Callable
from functools import partial
from typing import Final

from tusd_s3.errors import InvalidHeader
from tusd_s3.model.checksum import ALGORITHMS, Checksum
from tusd_s3.protocol.fields import Fields
from tusd_s3.protocol.message import Verification

FIELD: Final = "Upload-Checksum"

Trailers = Callable[[], Fields]
"""The fields that followed a body that was read to its end."""


def no_trailers() -> Fields:
    """Of a request that has none."""
    return Fields(())


def parse_checksum(text: str) -> Checksum:
    """Read the header's value. Raises InvalidHeader."""
    algorithm, _, encoded = text.partition(" ")
    if algorithm not in ALGORITHMS:
        raise InvalidHeader(FIELD, f"expected one of {', '.join(ALGORITHMS)} and a digest")
    try:
        return Checksum(algorithm, binascii.a2b_base64(encoded, strict_mode=True))
    except ValueError:  # binascii.Error, a character outside ASCII, or another length
        expected = f"expected the digest of {algorithm} in base64 (standard alphabet, padded)"
        raise InvalidHeader(FIELD, expected) from None


def parse_verification(fields: Fields, trailers: Trailers) -> Verification | None:
    """What the sender lets its body be checked against; None for nothing.

    trailers: called once the body was read to its end, if the checksum stands behind it.
    Raises InvalidHeader; so does `Verification.expected`.
    """
    text = fields.get(FIELD)
    if _is_announced(fields):
        if text is not None:
            raise InvalidHeader(FIELD, "expected in front of the body or behind it, not both")
        return Verification(algorithm=None, expected=partial(_behind, trailers))
    if text is None:
        return None
    checksum = parse_checksum(text)
    return Verification(algorithm=checksum.algorithm, expected=lambda: checksum)


def _is_announced(fields: Fields) -> bool:
    names = (fields.get_list("Trailer") or "").split(",")
    return FIELD.lower() in (name.strip(" \t").lower() for name in names)


def _behind(trailers: Trailers) -> Checksum:
    text = trailers().get(FIELD)
    if text is None:
        raise InvalidHeader(FIELD, "expected behind the body, where Trailer announced it")
    return parse_checksum(text)
