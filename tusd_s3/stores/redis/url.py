"""The address of Redis: one server, a primary that sentinels name, or a cluster.

    redis://[user:password@]host[:port][/db]
    unix:///path/of/socket[?db=0]
    redis+sentinel://[user:password@]host[:port],host[:port],.../service[/db]
    redis+cluster://[user:password@]host[:port],host[:port],...

`rediss` instead of `redis` means TLS, for sentinels too. The user and password are those of Redis;
sentinels may have their own, `?sentinel_username=` and `?sentinel_password=`. Options after the
question mark are redis-py's, of which only those in `_OPTIONS` are taken: timeouts and retries are
the server's own affair, and a misspelt option must not be ignored.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final
from urllib.parse import parse_qsl, urlencode

_FORMS: Final = (
    "it must be redis://[user:password@]host:port/db, redis+sentinel://host:port,.../service, "
    "redis+cluster://host:port,... (each with rediss for TLS) or unix:///path, with its password "
    "percent-encoded"
)
_OPTIONS: Final = ("db", "username", "password", "client_name")
_TLS_OPTIONS: Final = (
    "ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs", "ssl_check_hostname",
)  # fmt: skip
_SENTINEL_OPTIONS: Final = ("sentinel_username", "sentinel_password")
_VALUES: Final = {
    "db": re.compile(r"\d{1,6}", re.ASCII),
    "ssl_cert_reqs": re.compile("none|optional|required"),
    "ssl_check_hostname": re.compile("(?i:true|false|yes|no)"),
}
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^\[\]:,@\s]+)(?::(\d{1,5}))?", re.ASCII | re.IGNORECASE)
_DB = re.compile(r"(?:/(\d{1,6}))?/?", re.ASCII)
# The characters sentinels take in a name.
_SERVICE = re.compile(r"/([A-Za-z0-9._-]+)(?:/(\d{1,6}))?/?", re.ASCII)

_REDIS_PORT: Final = 6379
_SENTINEL_PORT: Final = 26379


class Kind(Enum):
    """What stands behind the address."""

    SINGLE = auto()
    SENTINEL = auto()
    CLUSTER = auto()


_SCHEMES: Final = {
    "redis": (Kind.SINGLE, False),
    "rediss": (Kind.SINGLE, True),
    "redis+sentinel": (Kind.SENTINEL, False),
    "rediss+sentinel": (Kind.SENTINEL, True),
    "redis+cluster": (Kind.CLUSTER, False),
    "rediss+cluster": (Kind.CLUSTER, True),
}


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """A validated address.

    plain: the redis://, rediss:// or unix:// URL that redis-py reads credentials, database and
    options from; of several hosts it names the first. hosts: of the servers, the sentinels, or some
    nodes of the cluster; none for a socket. service: what the sentinels call the primary.
    """

    kind: Kind
    plain: str = field(repr=False)
    hosts: tuple[tuple[str, int], ...] = ()
    service: str = ""
    sentinel_username: str | None = None
    sentinel_password: str | None = field(default=None, repr=False)


def check_redis_url(text: str) -> None:
    """Raise ValueError unless `text` is one of the forms above; the message is a clause without
    any part of it, since it may hold a password."""
    parse_redis_url(text)


def parse_redis_url(text: str) -> RedisAddress:
    """Read an address. Raises ValueError as `check_redis_url` does."""
    scheme, mark, rest = text.partition("://")
    scheme = scheme.lower()
    if not mark or not text.isprintable() or " " in text or "#" in text:
        raise ValueError(_FORMS)
    rest, _, query = rest.partition("?")
    if scheme == "unix":
        return _socket(rest, query)
    if scheme not in _SCHEMES:
        raise ValueError(_FORMS)
    kind, tls = _SCHEMES[scheme]
    # Not urlsplit: it knows neither several hosts nor, among them, an IPv6 address.
    authority, slash, path = rest.partition("/")
    credentials, at, hosts = authority.rpartition("@")
    addresses = tuple(_host(text, kind) for text in hosts.split(","))
    service, db = _path(slash + path, kind)
    if kind is Kind.SINGLE and len(addresses) > 1:
        raise ValueError(_FORMS)
    options = _options(query, kind, tls=tls)
    of_sentinels = {name: options.pop(name, None) for name in _SENTINEL_OPTIONS}
    options = {"db": db, **options} if db else options
    _check_database(options, kind)
    first = hosts.split(",")[0]
    tail = f"?{urlencode(options)}" if options else ""
    return RedisAddress(
        kind=kind,
        plain=f"{'rediss' if tls else 'redis'}://{credentials}{at}{first}{tail}",
        hosts=addresses,
        service=service,
        **of_sentinels,
    )


def _socket(rest: str, query: str) -> RedisAddress:
    if not rest.partition("/")[2]:
        raise ValueError(_FORMS)
    options = _options(query, Kind.SINGLE, tls=False)
    tail = f"?{urlencode(options)}" if options else ""
    return RedisAddress(kind=Kind.SINGLE, plain=f"unix://{rest}{tail}")


def _host(text: str, kind: Kind) -> tuple[str, int]:
    found = _HOST.fullmatch(text)
    port = int(found[2]) if found and found[2] else None
    if found is None or (port is not None and not 0 < port < 65536):
        raise ValueError(_FORMS)
    default = _SENTINEL_PORT if kind is Kind.SENTINEL else _REDIS_PORT
    return found[1].strip("[]"), port or default


def _path(path: str, kind: Kind) -> tuple[str, str]:
    """The service's name and the database, each "" if there is none."""
    if kind is not Kind.SENTINEL:
        # Anything else shows that a slash in the password was not percent-encoded.
        found = _DB.fullmatch(path)
        if found is None:
            raise ValueError(_FORMS)
        return "", found[1] or ""
    found = _SERVICE.fullmatch(path)
    if found is None:
        raise ValueError("it must name the service that its sentinels watch, after the hosts")
    return found[1], found[2] or ""


def _options(query: str, kind: Kind, *, tls: bool) -> dict[str, str]:
    known = _OPTIONS + _TLS_OPTIONS * tls + _SENTINEL_OPTIONS * (kind is Kind.SENTINEL)
    options: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name in _TLS_OPTIONS and not tls:
            raise ValueError("it has TLS options, and must begin with rediss for them")
        # The name is not quoted: it may be the end of a password with a question mark in it.
        if name not in known:
            raise ValueError(f"it has an option that is none of {', '.join(known)}")
        if name in _VALUES and not _VALUES[name].fullmatch(value):
            raise ValueError(f"it has an option {name} with a value that cannot be right")
        options[name] = value
    return options


def _check_database(options: dict[str, str], kind: Kind) -> None:
    if kind is Kind.CLUSTER and int(options.get("db", "0")):
        raise ValueError("it names a database, but a cluster has only database 0")
