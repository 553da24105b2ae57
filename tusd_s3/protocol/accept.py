"""Which of several forms of an answer a client wants (RFC 9110, 12.5.1)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from tusd_s3 import limits

_QUALITY: Final = re.compile(r"[ \t]*q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)[ \t]*", re.IGNORECASE)


def preferred(accept: str | None, offered: Sequence[str]) -> str:
    """The one of the media types `offered` that the client likes best; of those it likes the same,
    and when it says nothing that can be understood, the first.

    accept: the header's values, joined. One that is too long says nothing.
    """
    if accept is None or len(accept) > limits.HEADER_MAX_BYTES:
        return offered[0]
    ranges = dict(map(_range, accept.split(",")))
    return max(offered, key=lambda offer: _quality(offer, ranges))


def _range(text: str) -> tuple[str, float]:
    media_range, *parameters = text.split(";")
    quality = 1.0
    for parameter in parameters:
        if (found := _QUALITY.fullmatch(parameter)) is not None:
            quality = float(found[1])
    return media_range.strip(" \t").lower(), quality


def _quality(offer: str, ranges: dict[str, float]) -> float:
    """The most specific range counts."""
    kind = offer.partition("/")[0]
    for candidate in (offer, f"{kind}/*", "*/*"):
        if candidate in ranges:
            return ranges[candidate]
    return 0.0
