"""The check at start-up: whether the Redis at hand can be trusted with uploads."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator, Mapping
from typing import Any, Final

from redis.asyncio.sentinel import MasterNotFoundError
from redis.exceptions import (
    AuthenticationError,
    NoPermissionError,
)

from tusd_s3.stores.redis.bounds import FAILURES
from tusd_s3.stores.redis.client import load_scripts
from tusd_s3.stores.redis.cluster import ClusterClient
from tusd_s3.stores.redis.topology import Client

_CHECK_MAX_S: Final = 10.0
"""For the check as a whole: an operator waits for its sentence."""

_OLDEST: Final = (5, 0)
"""Older servers repeat a script on their replicas instead of its effects, and therefore refuse
scripts that write what depends on SMEMBERS or INFO."""


_OF_THE_WRONG_KIND: Final = {
    **dict.fromkeys(
        ("unknown command `SENTINEL`", "unknown command 'SENTINEL'"),
        "The server at --redis-url is not a sentinel: use redis://host:port.",
    ),
    "Cluster mode is not enabled on this node": (
        "The Redis at --redis-url is not a cluster: use redis://host:port."
    ),
}
"""By the beginning of what Redis, before and since version 7, or redis-py says."""


async def check_redis(client: Client) -> str | None:
    """Whether Redis answers and keeps what it is given; if not, one sentence that says what to do.

    In a cluster, every primary is asked.
    """
    try:
        async with asyncio.timeout(_CHECK_MAX_S):
            for info in await _infos(client):
                problem = find_problem(info, in_cluster=isinstance(client, ClusterClient))
                if problem is not None:
                    return problem
            await load_scripts(client)
    except FAILURES as error:
        return _explain(error)
    return None


async def _infos(client: Client) -> list[Mapping[str, Any]]:
    # Managed services forbid CONFIG, so INFO is asked instead.
    if not isinstance(client, ClusterClient):
        return [await client.info()]
    await client.initialize()
    return [
        await client.execute_command("INFO", target_nodes=node) for node in client.get_primaries()
    ]


def find_problem(info: Mapping[str, Any], *, in_cluster: bool) -> str | None:
    """What is wrong with a server for our purposes, judged by its INFO, as one sentence.

    Eviction destroys acknowledged bytes: every policy but `noeviction` may drop tails and records
    when memory runs out.
    """
    policy = str(info.get("maxmemory_policy", "unknown"))
    if info.get("redis_mode") == "sentinel":
        return "The server at --redis-url is a sentinel: use redis+sentinel://host:port/service."
    if info.get("cluster_enabled") == 1 and not in_cluster:
        return "The Redis at --redis-url is a node of a cluster: use redis+cluster://host:port."
    if info.get("role") == "slave":
        return (
            "The Redis at --redis-url is a replica, which takes no uploads: name its primary, or"
            " the sentinels that know it, as redis+sentinel://host:port/service."
        )
    version = str(info.get("redis_version", ""))
    if _is_too_old(version):
        return f"Redis is of version {version}, but must be {_OLDEST[0]}.{_OLDEST[1]} or later."
    if policy != "noeviction":
        return (
            f"Redis runs with maxmemory-policy {policy}, which may drop uploads when memory runs"
            " out; set it to noeviction."
        )
    return None


def _is_too_old(version: str) -> bool:
    numbers = version.split(".")[:2]
    return all(number.isdigit() for number in numbers) and tuple(map(int, numbers)) < _OLDEST


def _explain(error: BaseException) -> str:
    """Why Redis cannot be used, as one sentence. It quotes nothing that could hold a password."""
    known = (sentence for cause in _causes(error) if (sentence := _explain_one(cause)))
    general = f"Redis does not answer as it should ({type(error).__name__}); check --redis-url."
    return next(known, general)


def _explain_one(cause: BaseException) -> str | None:
    match cause:
        case AuthenticationError():
            return "Redis does not accept the user and password of --redis-url, or needs them."
        case NoPermissionError():
            return f"Redis keeps the user of --redis-url from what is needed: {cause}."
        case ssl.SSLError():
            why = getattr(cause, "verify_message", "") or cause.reason or "no TLS there"
            return f"There is no TLS connection to Redis ({why}); check ssl_ca_certs."
        case MasterNotFoundError():
            return (
                "No sentinel names a primary that is up; check the hosts, the service and the"
                " sentinel_password of --redis-url."
            )
    return _OF_THE_WRONG_KIND.get(str(cause).partition(",")[0])


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
