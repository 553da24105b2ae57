"""The connection to Redis: how it is opened, how calls are bounded, how errors are translated."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from tusd_s3 import errors
from tusd_s3.stores.redis import scripts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tusd_s3.stores.redis.scripts import Script

    Client = redis.Redis
else:
    Client = redis.Redis

T = TypeVar("T")

_RETRIES = 3
"""Repeats of a call whose connection broke. Every call here is safe to repeat; three, with the
backoff below, ride out a restart of the connection without holding a request for long."""

_BACKOFF_BASE_S = 0.02
_BACKOFF_CAP_S = 0.5

_CHECK_MAX_S = 10.0
"""For the check at start-up as a whole: an operator waits for its sentence."""

_CONNECTIONS_MAX = 64
"""Connections of one client. A call takes one for its round trip, so this many calls run at once;
further ones wait in line."""


@dataclass(frozen=True, slots=True)
class RedisOptions:
    """Where Redis is and how long to wait for it.

    url: redis://, rediss:// or unix://. prefix: begins every key and channel.
    timeout_s: for connecting, and for one answer.
    """

    url: str
    prefix: str
    timeout_s: float


@contextmanager
def translated() -> Iterator[None]:
    """Turn Redis errors into StateUnavailable. The original stays as the cause, for the log."""
    try:
        yield
    except (RedisError, OSError) as error:
        raise errors.StateUnavailable from error


@asynccontextmanager
async def open_redis(options: RedisOptions) -> AsyncIterator[Client]:
    """A client for the time of the block. Connects lazily; raises ValueError for a bad URL."""
    pool = redis.BlockingConnectionPool.from_url(
        options.url,
        max_connections=_CONNECTIONS_MAX,
        timeout=options.timeout_s,
        socket_timeout=options.timeout_s,
        socket_connect_timeout=options.timeout_s,
        socket_keepalive=True,
        retry=Retry(
            ExponentialWithJitterBackoff(base=_BACKOFF_BASE_S, cap=_BACKOFF_CAP_S), _RETRIES
        ),
        retry_on_error=[RedisConnectionError, RedisTimeoutError],
    )
    client = redis.Redis(connection_pool=pool)
    try:
        yield client
    finally:
        await client.aclose()
        await pool.disconnect()


async def load_scripts(client: Client) -> None:
    """Make all scripts known to Redis; cheap and safe to repeat."""
    for script in scripts.ALL:
        await client.script_load(script.text)


async def with_scripts(client: Client, call: Callable[[], Awaitable[T]]) -> T:
    """`call()`, once more after loading the scripts if Redis does not know one of them.

    Redis forgets scripts when it restarts or fails over. What a MULTI did before it met the
    unknown script is harmless by design (see `keys`), so the whole call can be repeated.
    """
    try:
        return await call()
    except NoScriptError:
        await load_scripts(client)
        return await call()


async def run_script(client: Client, script: Script, keys: Sequence[str], *args: str | int) -> Any:  # noqa: ANN401 - what a script returns is known to its caller only
    """Run one script in one round trip."""
    with translated():
        return await with_scripts(
            client, lambda: client.evalsha(script.sha, len(keys), *keys, *args)
        )


async def check_redis(client: Client) -> str | None:
    """Whether Redis answers and keeps what it is given; if not, one sentence that says what to do.

    Eviction destroys acknowledged bytes: every policy but `noeviction` may drop tails and records
    when memory runs out. Managed services forbid CONFIG, so INFO is asked instead.
    """
    try:
        async with asyncio.timeout(_CHECK_MAX_S):
            await load_scripts(client)
            info = await client.info("memory")
    except (RedisError, OSError, TimeoutError) as error:
        return f"Redis does not answer as it should ({type(error).__name__}); check --redis-url."
    policy = str(info.get("maxmemory_policy", "unknown"))
    if policy != "noeviction":
        return (
            f"Redis runs with maxmemory-policy {policy}, which may drop uploads when memory runs"
            " out; set it to noeviction."
        )
    return None
