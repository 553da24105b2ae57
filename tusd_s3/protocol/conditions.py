"""Preconditions: whether what a client has, or expects, is what there is (RFC 9110, 13).

The order is that of 13.2.2: `If-Match`, or else `If-Unmodified-Since`; then `If-None-Match`, or
else `If-Modified-Since`; and only then `If-Range`. What is malformed never matches, and dates that
are none are ignored (13.1.3, 13.1.4).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import Enum, auto
from typing import Final

from tusd_s3.protocol.fields import Fields

TAGS_MAX_BYTES: Final = 4096
"""Of `If-Match` or `If-None-Match`: some dozens of S3's tags. A longer list matches nothing."""

_TAG: Final = r'(?:W/)?"[!#-~\x80-\xff]*"'
_IS_TAG = re.compile(_TAG)
_IS_LIST = re.compile(rf"[ \t]*(?:{_TAG})(?:[ \t]*,[ \t]*(?:{_TAG}))*[ \t]*")
_IS_STRONG = re.compile(r'"[!#-~]*"')
# The three forms of 5.6.7: IMF-fixdate, RFC 850, asctime.
_IS_DATE = re.compile(
    r"[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT"
    r"|[A-Z][a-z]{5,8}, \d{2}-[A-Z][a-z]{2}-\d{2} \d{2}:\d{2}:\d{2} GMT"
    r"|[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d{2}:\d{2}:\d{2} \d{4}",
    re.ASCII,
)


class Verdict(Enum):
    """What the preconditions say of a GET."""

    PROCEED = auto()
    NOT_MODIFIED = auto()
    """304: the client has it."""
    FAILED = auto()
    """412."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Validators:
    """What tells one state of an object from another.

    etag: a strong entity tag in its quotes, None if the store gave none. modified_at_s: Unix time
    in whole seconds, None if it is not known.
    """

    etag: str | None
    modified_at_s: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """The conditional headers of a request, as they came; None for those that did not."""

    if_match: str | None = None
    if_none_match: str | None = None
    if_modified_since: str | None = None
    if_unmodified_since: str | None = None
    if_range: str | None = None

    @property
    def only_match(self) -> str | None:
        """The one strong tag of `If-Match`, if it is one: a store can compare that itself."""
        return _the_strong_tag(self.if_match or "")

    @property
    def only_none_match(self) -> str | None:
        """The one tag of `If-None-Match`, made strong, which is as good for a comparison that is
        weak (8.8.3.2). None if something else has a say before it."""
        if self.if_match is not None or self.if_unmodified_since is not None:
            return None
        return _the_strong_tag((self.if_none_match or "").strip(" \t").removeprefix("W/"))

    def judge(self, object_is: Validators) -> Verdict:
        """All but `If-Range`, for an object that is there."""
        if self.if_match is not None:
            if not _matches(self.if_match, object_is.etag, weakly=False):
                return Verdict.FAILED
        elif _is_later(object_is.modified_at_s, self.if_unmodified_since):
            return Verdict.FAILED
        if self.if_none_match is not None:
            if _matches(self.if_none_match, object_is.etag, weakly=True):
                return Verdict.NOT_MODIFIED
        elif _is_later(object_is.modified_at_s, self.if_modified_since) is False:
            return Verdict.NOT_MODIFIED
        return Verdict.PROCEED

    def range_holds(self, object_is: Validators) -> bool:
        """Whether `Range` counts: there is no `If-Range`, or it names this very state (13.1.5)."""
        if self.if_range is None:
            return True
        if self.if_range.startswith(('"', "W/")):
            return self.if_range == object_is.etag
        at_s = parse_http_date(self.if_range)
        return at_s is not None and at_s == object_is.modified_at_s


def parse_conditions(fields: Fields) -> Conditions:
    """The conditional headers of a GET."""
    return Conditions(
        if_match=fields.get_list("If-Match"),
        if_none_match=fields.get_list("If-None-Match"),
        if_modified_since=fields.get_list("If-Modified-Since"),
        if_unmodified_since=fields.get_list("If-Unmodified-Since"),
        if_range=fields.get_list("If-Range"),
    )


def strong_tag(text: str) -> str | None:
    """`text` if it is a strong entity tag in printable ASCII, else None."""
    return text if _IS_STRONG.fullmatch(text) else None


def parse_http_date(text: str) -> int | None:
    """Unix time of a date in one of HTTP's three forms (RFC 9110, 5.6.7); None for anything else.
    The inverse of `headers.http_date`."""
    if not _IS_DATE.fullmatch(text):
        return None
    try:
        at = parsedate_to_datetime(text)
        return int(at.replace(tzinfo=at.tzinfo or UTC).timestamp())
    except (ValueError, OverflowError):
        return None


def _the_strong_tag(listed: str) -> str | None:
    return strong_tag(listed.strip(" \t")) if len(listed) <= TAGS_MAX_BYTES else None


def _matches(listed: str, etag: str | None, *, weakly: bool) -> bool:
    if listed.strip(" \t") == "*":
        return True
    if etag is None or len(listed) > TAGS_MAX_BYTES or not _IS_LIST.fullmatch(listed):
        return False
    tags = _IS_TAG.findall(listed)
    return etag in ([tag.removeprefix("W/") for tag in tags] if weakly else tags)


def _is_later(modified_at_s: int | None, header: str | None) -> bool | None:
    """Whether it was modified after the header's date; None where one of the two is not known."""
    at_s = None if header is None else parse_http_date(header)
    return None if at_s is None or modified_at_s is None else modified_at_s > at_s
