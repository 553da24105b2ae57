"""Header values that carry structure: each parser beside its inverse.

An error names the header, the position in it and what was expected there. It never repeats what
was sent: error sentences end up in logs and on people's screens.
"""

from __future__ import annotations

import base64
import binascii
import re
from datetime import UTC, datetime
from functools import lru_cache
from types import MappingProxyType

from tusd_s3 import limits
from tusd_s3.errors import HeaderTooLong, InvalidHeader
from tusd_s3.model.metadata import Metadata

_METADATA = "Upload-Metadata"
_KEY = re.compile(r"[!-+\--~]+")  # printable ASCII without space and comma
_BASE64 = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def parse_integer(field: str, text: str) -> int:
    """`text` as a non-negative integer: ASCII digits and nothing else (tus core).

    `field` names the header in the error. Raises InvalidHeader for anything else, also for more
    than `limits.INTEGER_DIGITS_MAX` digits.
    """
    # int() alone would take "+1", "1_000", " 1" and digits of other scripts.
    if text.isascii() and text.isdigit() and len(text) <= limits.INTEGER_DIGITS_MAX:
        return int(text)
    digits = limits.INTEGER_DIGITS_MAX
    raise InvalidHeader(field, f"expected a non-negative integer of at most {digits} digits")


@lru_cache(maxsize=32)  # a POST with a body asks three times: when read, and for key and object
def parse_metadata(text: str) -> Metadata:
    """Decode `Upload-Metadata`: `key base64[,key base64]*` (tus creation).

    A value may be empty, and then the space before it may be missing. White space around a pair
    is ignored. A header that is empty altogether means no metadata, as tuspy and go-tus send it.
    Raises HeaderTooLong, or InvalidHeader for keys that are empty, repeated, too long or not
    printable ASCII, for values that are not padded base64 of the standard alphabet, and for too
    many pairs.
    """
    if len(text) > limits.METADATA_MAX_BYTES:
        raise HeaderTooLong(_METADATA, limits.METADATA_MAX_BYTES)
    if not text.strip(" \t"):
        return MappingProxyType({})
    pairs = text.split(",")
    if len(pairs) > limits.METADATA_PAIRS_MAX:
        raise InvalidHeader(_METADATA, f"expected at most {limits.METADATA_PAIRS_MAX} pairs")
    metadata: dict[str, bytes] = {}
    for position, pair in enumerate(pairs, start=1):
        key, _, value = pair.strip(" \t").partition(" ")
        _check_key(position, key, metadata)
        metadata[key] = _decode_value(position, value)
    return MappingProxyType(metadata)


def build_metadata(metadata: Metadata) -> str:
    """Inverse of `parse_metadata`; an empty value is written as the key alone.

    Raises InvalidHeader and HeaderTooLong for what `parse_metadata` would refuse.
    """
    encoded = ((key, base64.b64encode(value).decode()) for key, value in metadata.items())
    text = ",".join(f"{key} {value}" if value else key for key, value in encoded)
    if parse_metadata(text) != metadata:
        raise InvalidHeader(_METADATA, "expected keys of printable ASCII without space and comma")
    return text


def _check_key(position: int, key: str, earlier: Metadata) -> None:
    if not key:
        raise InvalidHeader(_METADATA, f"expected a key in pair {position}, which is empty")
    if len(key) > limits.METADATA_KEY_MAX_BYTES:
        most = limits.METADATA_KEY_MAX_BYTES
        raise InvalidHeader(_METADATA, f"expected at most {most} bytes in key {position}")
    if not _KEY.fullmatch(key):
        raise InvalidHeader(_METADATA, f"expected printable ASCII in key {position}")
    if key in earlier:
        raise InvalidHeader(_METADATA, f"expected every key once, but key {position} is repeated")


def _decode_value(position: int, value: str) -> bytes:
    try:
        return decode_base64(value)
    except ValueError:
        expected = f"expected base64 (standard alphabet, padded) as value {position}"
        raise InvalidHeader(_METADATA, expected) from None


def decode_base64(text: str) -> bytes:
    """Of the standard alphabet, padded (RFC 4648, 4). Raises ValueError for anything else."""
    # Python's own strict mode takes padding that is too much, before 3.12 or so.
    if not _BASE64.fullmatch(text):
        raise ValueError("not padded base64 of the standard alphabet")
    return binascii.a2b_base64(text, strict_mode=True)


@lru_cache(maxsize=32)  # what changes in one second expires in one
def http_date(unix_seconds: int) -> str:
    """A point in time as HTTP writes it: IMF-fixdate, always GMT (RFC 9110, 5.6.7).

    `unix_seconds`: whole seconds since 1970. Raises ValueError (or OverflowError, its like for
    far larger numbers) beyond the year 9999.
    """
    # strftime would write the names of days and months in the language of the process.
    at = datetime.fromtimestamp(unix_seconds, tz=UTC)
    day, month = _DAYS[at.weekday()], _MONTHS[at.month - 1]
    return f"{day}, {at.day:02} {month} {at.year:04} {at:%H:%M:%S} GMT"
