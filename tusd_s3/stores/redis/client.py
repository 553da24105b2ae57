"""The connection to Redis: how it is opened, how scripts run, how errors are translated.

`url` says which addresses there are, `topology` how clients for them behave.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, TypeVar

from redis.exceptions import NoScriptError

from tusd_s3 import errors
from tusd_s3.stores.redis import scripts
from tusd_s3.stores.redis.bounds import FAILURES
from tusd_s3.stores.redis.cluster import ClusterClient
from tusd_s3.stores.redis.scripts import Script
from tusd_s3.stores.redis.topology import Client, by_primary, connected, subscribed
from tusd_s3.stores.redis.url import parse_redis_url

__all__ = [
    "FAILURES",
    "Client",
    "RedisOptions",
    "call_script",
    "load_scripts",
    "open_redis",
    "run_script",
    "run_script_for_each",
    "subscribed",
    "translated",
    "with_scripts",
]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RedisOptions:
    """Where Redis is and how long to wait for it.

    url: one of the forms in `url`. prefix: begins every key and channel.
    timeout_s: for connecting, and for one answer.
    """

    url: str = field(repr=False)
    prefix: str
    timeout_s: float


class translated:  # noqa: N801 - reads like a function where it is used
    """Turns Redis errors into StateUnavailable. The original stays as the cause, for the log.

    A class, because every request comes by here: one of `contextlib`'s takes three times as long.
    """

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(error, FAILURES):
            raise errors.StateUnavailable from error


@asynccontextmanager
async def open_redis(options: RedisOptions) -> AsyncIterator[Client]:
    """A client for the time of the block. Connects lazily; raises ValueError for a bad URL."""
    async with connected(parse_redis_url(options.url), options.timeout_s) as client:
        yield client


async def load_scripts(client: Client) -> None:
    """Make all scripts known to Redis; cheap and safe to repeat.

    In a cluster, to every primary that can be reached: one that is down must not keep scripts from
    the others. Raises one of `FAILURES` if there is none.
    """
    if not isinstance(client, ClusterClient):
        await _load_on(client)
        return
    await client.refresh()
    await client.initialize()
    loaded = await asyncio.gather(
        *(_load_on(client, target_nodes=node) for node in client.get_primaries()),
        return_exceptions=True,
    )
    failed = [outcome for outcome in loaded if isinstance(outcome, BaseException)]
    if len(failed) == len(loaded):
        raise failed[0]


async def _load_on(client: Client, **where: Any) -> None:  # noqa: ANN401 - redis-py's node
    # In one round trip: after a fail-over, a thousand uploads may be here at once.
    calls = client.pipeline(transaction=False)
    for script in scripts.ALL:
        calls.execute_command("SCRIPT LOAD", script.text, **where)
    await calls.execute()


async def with_scripts(client: Client, call: Callable[[], Awaitable[T]]) -> T:
    """`call()`, once more after loading the scripts if Redis does not know one of them.

    Redis forgets scripts when it restarts or fails over. What a pipeline did before it met the
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
        return await call_script(client, script, keys, *args)


async def call_script(client: Client, script: Script, keys: Sequence[str], *args: str | int) -> Any:  # noqa: ANN401 - as above
    """The same; raises one of `FAILURES`."""
    try:
        return await client.evalsha(script.sha, len(keys), *keys, *args)
    except NoScriptError:
        # With its text, which Redis remembers. `load_scripts` would tell it over some connection
        # of the pool: when the primary was just replaced, that may still lead to the old one.
        return await client.eval(script.text, len(keys), *keys, *args)


async def run_script_for_each(
    client: Client,
    script: Script,
    calls: Sequence[tuple[Sequence[str], Sequence[str | int]]],
    *,
    within_s: float,
) -> list[Any]:
    """Run one script for many uploads, in one round trip; in a cluster, in one to each primary.

    calls: keys and arguments. within_s: for each primary, repeats included. The answers come in the
    same order; in the place of each call that failed there is a StateUnavailable. A primary that is
    down or silent, or a slot that is on the move, fails its own calls only. Raises StateUnavailable
    if nothing can be asked at all.
    """
    with translated():
        groups = await by_primary(client, [keys[0] for keys, _ in calls])
    answers: list[Any] = [None] * len(calls)

    async def run_group(group: list[int]) -> None:
        found = await _run_together(client, script, [calls[index] for index in group], within_s)
        for index, answer in zip(group, found, strict=True):
            answers[index] = answer

    await asyncio.gather(*map(run_group, groups))
    return answers


async def _run_together(
    client: Client,
    script: Script,
    calls: Sequence[tuple[Sequence[str], Sequence[str | int]]],
    within_s: float,
) -> list[Any]:
    async def run() -> list[Any]:
        pipeline = client.pipeline(transaction=False)
        for keys, args in calls:
            pipeline.evalsha(script.sha, len(keys), *keys, *args)
        answers: list[Any] = await pipeline.execute(raise_on_error=False)
        return answers

    try:
        async with asyncio.timeout(within_s):
            answers = await run()
            if any(isinstance(answer, NoScriptError) for answer in answers):
                await load_scripts(client)
                answers = await run()
    except FAILURES as error:
        answers = [error] * len(calls)
    return [_translate(answer) for answer in answers]


def _translate(answer: Any) -> Any:  # noqa: ANN401 - what a script returns, or an error
    if not isinstance(answer, FAILURES):
        return answer
    translation = errors.StateUnavailable()
    translation.__cause__ = answer
    return translation
