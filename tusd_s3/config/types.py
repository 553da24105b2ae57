"""Types of settings: each reads a flag's or a variable's text, and refuses with a clause.

The clauses begin with "it must" or "it is", as the end of a sentence that names the setting.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Final
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, BeforeValidator
from pydantic_settings import NoDecode

from tusd_s3 import limits
from tusd_s3.model.objects import check_key_prefix, check_key_template
from tusd_s3.protocol.location import check_public_url
from tusd_s3.stores.redis.url import check_redis_url

_DURATIONS: Final = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_SIZES: Final = {
    "b": 1,
    "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12,
    "kib": limits.KIB, "mib": limits.MIB, "gib": limits.GIB, "tib": limits.TIB,
}  # fmt: skip
_QUANTITY = re.compile(r"(\d{1,18}(?:\.\d{1,9})?)\s*([a-z]*)", re.ASCII)
_ORIGIN = re.compile(
    r"([a-z][a-z0-9+.-]*)://(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::\d{1,5})?", re.ASCII
)
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'+.^_`|~-]+", re.ASCII)


def _parse_quantity(value: object, units: Mapping[str, float], plain: str, example: str) -> float:
    """`value` times its unit; a number without a unit counts in `plain`."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    found = _QUANTITY.fullmatch(str(value).strip().lower())
    unit = units.get(found[2] or plain) if found else None
    if found is None or unit is None:
        raise ValueError(f"it must be a number with a unit, such as {example}")
    return float(found[1]) * unit if "." in found[1] else int(found[1]) * unit


def _parse_seconds(value: object) -> float:
    return float(_parse_quantity(value, _DURATIONS, "s", "500ms, 30s, 5m, 24h or 7d"))


def _parse_size(value: object) -> int:
    return int(_parse_quantity(value, _SIZES, "b", "5MiB, 100MB or 1GiB"))


def _split(value: object) -> object:
    """Lists are comma separated in variables and flags; an empty one is empty, not the default."""
    if isinstance(value, str):
        return tuple(item.strip() for item in value.split(",") if item.strip())
    return value


def _empty_is_none(value: object) -> object:
    return None if value == "" else value


def _parse_networks(value: object) -> object:
    items = _split(value)
    if not isinstance(items, tuple | list):
        raise ValueError("it must be a list of IP addresses or networks")
    try:
        return tuple(ip_network(item) for item in items)
    except ValueError:
        raise ValueError(
            "it must list IP addresses or networks without host bits, such as 10.0.0.0/8"
        ) from None


def _check_endpoint(value: str) -> str:
    parts = _urlsplit(value)
    odd = parts.query or parts.fragment or parts.username is not None
    if parts.scheme not in {"http", "https"} or not parts.hostname or odd:
        raise ValueError("it must be http:// or https:// with a host, without credentials or query")
    return value.rstrip("/")


def _urlsplit(value: str) -> SplitResult:
    """`urlsplit` that also refuses impossible ports and characters no URL has."""
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError:
        raise ValueError("it is not a URL") from None
    if not value.isprintable() or " " in value:
        raise ValueError("it is not a URL")
    return parts


def _check_base_path(value: str) -> str:
    inner = value.removeprefix("/").removesuffix("/")
    segments = inner.split("/") if value not in {"", "/"} else []
    if not all(re.fullmatch(r"[A-Za-z0-9._~-]+", s) and s not in {".", ".."} for s in segments):
        raise ValueError("it must be a plain path such as /files/, without .., //, ? or %")
    return f"/{inner}/" if segments else "/"


def _check_origin(value: str) -> str:
    """Origins are compared byte for byte with what browsers send: lower case, no default port."""
    origin = value.lower()
    found = _ORIGIN.fullmatch(origin)
    if value != "*" and found is None:
        raise ValueError("it must list exact origins such as https://example.com, or be *")
    default_port = {"http": ":80", "https": ":443"}.get(found[1]) if found else None
    return origin.removesuffix(default_port) if default_port else origin


def _check_header_name(value: str) -> str:
    if not _HEADER_NAME.fullmatch(value):
        raise ValueError("it must list header names")
    return value


def _check_redis_key_prefix(value: str) -> str:
    # Braces would end up as the hash tag that decides a key's slot in a Redis Cluster.
    if not re.fullmatch(r"[!-z|~]+", value, re.ASCII):
        raise ValueError("it must be printable ASCII without spaces or braces")
    return value


def _checked_by(check: Callable[[str], None]) -> AfterValidator:
    """A rule that the layer below owns, because it also relies on it."""

    def accept(value: str) -> str:
        check(value)
        return value

    return AfterValidator(accept)


Seconds = Annotated[float, BeforeValidator(_parse_seconds)]
"""A duration: "500ms", "30s", "5m", "24h", "7d", or a plain number of seconds."""

SizeBytes = Annotated[int, BeforeValidator(_parse_size)]
"""A number of bytes: "5MiB", "100MB", "1GiB", or a plain number."""

EndpointUrl = Annotated[str, AfterValidator(_check_endpoint)]
PublicUrl = Annotated[str, _checked_by(check_public_url)]
RedisUrl = Annotated[str, _checked_by(check_redis_url)]
BasePath = Annotated[str, AfterValidator(_check_base_path)]
KeyPrefix = Annotated[str, _checked_by(check_key_prefix)]
KeyTemplate = Annotated[str, _checked_by(check_key_template)]
RedisKeyPrefix = Annotated[str, AfterValidator(_check_redis_key_prefix)]

HeaderName = Annotated[str, AfterValidator(_check_header_name)]
HeaderNames = Annotated[tuple[HeaderName, ...], NoDecode, BeforeValidator(_split)]
Origin = Annotated[str, AfterValidator(_check_origin)]
Origins = Annotated[tuple[Origin, ...], NoDecode, BeforeValidator(_split)]
Network = IPv4Network | IPv6Network
Networks = Annotated[tuple[Network, ...], NoDecode, BeforeValidator(_parse_networks)]

EmptyIsNone = BeforeValidator(_empty_is_none)
"""Compose files pass `NAME=` for what is not set: an empty optional setting counts as unset."""
