"""What every client of Redis keeps to: how long it waits, how often it tries, how it fails."""

from __future__ import annotations

from typing import Any, Final

from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisClusterException, RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from tusd_s3.stores.redis.url import RedisAddress

FAILURES: Final = (RedisError, RedisClusterException, OSError)
"""All that a call may end with when Redis is at fault. Not every error of redis-py is a RedisError:
those of its cluster client that concern the whole cluster are not."""

BROKEN: Final[tuple[type[Exception], ...]] = (RedisConnectionError, RedisTimeoutError)
"""What says that a connection, not a command, is at fault."""

_RETRIES: Final = 3
"""Repeats of a call whose connection broke. Every call here is safe to repeat; three, with the
backoff below, ride out a restart of the connection without holding a request for long."""

_BACKOFF_BASE_S: Final = 0.02
_BACKOFF_CAP_S: Final = 0.5

CONNECTIONS_MAX: Final = 64
"""Connections of one client, and as many lines (see `lines`). A call takes a connection for its
round trip, so this many calls run at once; further ones wait in line. In a cluster: this many to
each node."""


def options_of(address: RedisAddress, timeout_s: float) -> dict[str, Any]:
    """What the address says, and the bounds, as redis-py takes it."""
    options: dict[str, Any] = {**parse_url(address.plain), **bounds(timeout_s)}
    if address.hosts:  # to a socket of this machine there is no connection to keep alive
        options["socket_keepalive"] = True
    return options


def bounds(timeout_s: float) -> dict[str, Any]:
    """timeout_s: for connecting, and for one answer."""
    return {"socket_timeout": timeout_s, "socket_connect_timeout": timeout_s}


def repeats(*on: type[Exception]) -> Retry:
    """A few repeats, with growing pauses, after the errors `on` or a broken connection."""
    backoff = ExponentialWithJitterBackoff(base=_BACKOFF_BASE_S, cap=_BACKOFF_CAP_S)
    return Retry(backoff, _RETRIES, BROKEN + on)  # type: ignore[arg-type] # RedisClusterException is no RedisError
