"""Request headers as the protocol reads them."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from tusd_s3 import limits
from tusd_s3.errors import HeaderTooLong, InvalidHeader


@lru_cache(maxsize=256)  # of the names that the protocol knows; the bound is for hosts' own
def raw_name(name: str) -> bytes:
    """The name of a header as ASGI has it."""
    return name.lower().encode("latin-1")


class Fields:
    """A case-insensitive view on request headers in their ASGI form: pairs of bytes.

    Bytes are read as Latin-1, which maps every byte to one character, so that the parsers see
    whatever was sent and refuse it themselves.
    """

    __slots__ = ("_values",)

    def __init__(self, raw: Iterable[tuple[bytes, bytes]]) -> None:
        self._values: dict[bytes, list[bytes]] = {}
        for name, value in raw:
            self._values.setdefault(name.lower(), []).append(value)

    def __contains__(self, name: str) -> bool:
        return raw_name(name) in self._values

    def get(self, name: str, *, max_bytes: int = limits.HEADER_MAX_BYTES) -> str | None:
        """The value of a header that may occur once, without the white space around it.

        None when the header is absent. Raises InvalidHeader when it occurs more than once (which
        of two lengths counts is a question proxies and servers have answered differently) and
        HeaderTooLong when it is longer than `max_bytes`.
        """
        values = self._values.get(raw_name(name))
        if values is None:
            return None
        if len(values) > 1:
            raise InvalidHeader(name, "expected once, but it occurs more than once")
        if len(values[0]) > max_bytes:
            raise HeaderTooLong(name, max_bytes)
        return values[0].decode("latin-1").strip(" \t")

    def get_list(self, name: str) -> str | None:
        """All values of a header that is a list, joined by commas as a proxy may do as well
        (RFC 9110, 5.3). None when the header is absent. The caller bounds the length."""
        values = self._values.get(raw_name(name))
        return None if values is None else b", ".join(values).decode("latin-1")
