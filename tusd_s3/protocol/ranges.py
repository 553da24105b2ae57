"""Ranges of bytes as HTTP asks for them and as it says what came (RFC 9110, 14).

A server may ignore `Range` (14.2), and what cannot be understood must be ignored. So there are two
outcomes of reading one: one range, or the whole. A list of several ranges means the whole: it is a
sound answer, and `multipart/byteranges` is what none of the browsers asks for; but a thousand tiny
ranges, each with a head of its own, is what attacks ask for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from tusd_s3 import limits
from tusd_s3.protocol.fields import Fields

POSITION_MAX: Final = 10**limits.INTEGER_DIGITS_MAX - 1
"""Behind the end of every object; larger positions mean no more than this one."""

_ONE = re.compile(r"(\d*)-(\d*)", re.ASCII)
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes [start, stop) of an object of `length` bytes; not empty unless the object is."""

    start: int
    stop: int
    length: int

    def __post_init__(self) -> None:
        if not 0 <= self.start <= self.stop <= self.length:
            raise ValueError("a span must lie within its object")

    @property
    def size(self) -> int:
        """How many bytes."""
        return self.stop - self.start


@dataclass(frozen=True, slots=True)
class RangeSpec:
    """One range as it was asked for.

    first: position of the first byte, None for the last `last` bytes of the object.
    last: position of the last byte, None for all from `first` on.
    """

    first: int | None
    last: int | None

    def __str__(self) -> str:
        first = "" if self.first is None else self.first
        return f"bytes={first}-{'' if self.last is None else self.last}"

    @property
    def is_hopeless(self) -> bool:
        """Whether no object has such bytes: the last none of it."""
        return self.first is None and self.last == 0

    def of(self, length: int) -> Span | None:
        """What it means for an object of `length` bytes; None if it lies behind the end."""
        if self.first is None:
            size = min(self.last or 0, length)
            return Span(length - size, length, length) if size else None
        if self.first >= length:
            return None
        stop = length if self.last is None else min(self.last + 1, length)
        return Span(self.first, stop, length)


def parse_range(fields: Fields) -> RangeSpec | None:
    """The range that a request asks for; None for the whole (see the module's text)."""
    text = fields.get_list("Range")
    if text is None or len(text) > limits.HEADER_MAX_BYTES:
        return None
    unit, equals, listed = text.partition("=")
    if not equals or unit.strip(" \t").lower() != "bytes":
        return None
    ranges = [item for item in (one.strip(" \t") for one in listed.split(",")) if item]
    found = _ONE.fullmatch(ranges[0]) if len(ranges) == 1 else None
    if found is None or not (found[1] or found[2]):
        return None
    first, last = (min(int(one), POSITION_MAX) if one else None for one in found.groups())
    if first is not None and last is not None and last < first:
        return None  # invalid, and so the whole header is (14.1.1)
    return RangeSpec(first, last)


def content_range(span: Span) -> str:
    """`Content-Range` of a 206 (RFC 9110, 14.4); `span` must not be empty."""
    return f"bytes {span.start}-{span.stop - 1}/{span.length}"


def unsatisfied_range(length: int) -> str:
    """`Content-Range` of a 416 (RFC 9110, 15.5.17)."""
    return f"bytes */{length}"


def parse_content_range(text: str) -> Span | None:
    """The inverse of `content_range`; None for anything else."""
    found = _CONTENT_RANGE.fullmatch(text)
    if found is None:
        return None
    first, last, length = map(int, found.groups())
    return Span(first, last + 1, length) if first <= last < length else None
