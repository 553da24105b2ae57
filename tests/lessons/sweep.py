"""One request, held at each of its steps on as many uploads, in a process that is then killed.

A step is a command to Redis or a call to S3. Which there are, a first run without faults tells:
no test here knows them. A step is held before the store sees it, or after the store did it and
before the server knows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Self

from tests.support.faults import Hold, Rule, Stage
from tests.support.raw import HeaderItems
from tests.support.redis_proxy import RedisProxy
from tests.support.s3_calls import Call, S3Call
from tests.support.s3_proxy import S3Proxy
from tests.support.server import ServerProcess
from tests.support.tus import id_of, patch_headers
from tests.support.waiting import eventually
from tests.support.world import World


@dataclass(frozen=True, slots=True)
class Errand:
    """A PATCH and what it meets.

    body: the whole upload. acknowledged: how much of it the upload has. sent: how much the PATCH
    brings; it must fit the sockets' buffers, for it is sent before the server reads it.
    deferred: whether the upload begins without a length; the PATCH then declares it.
    """

    body: bytes
    acknowledged: int
    sent: int
    deferred: bool = False

    def prepare(self, world: World) -> str:
        """An upload that awaits the PATCH; its path."""
        path = world.client.new_upload(None if self.deferred else len(self.body))
        world.client.upload_from(path, self.body[: self.acknowledged])
        return path

    @property
    def headers(self) -> HeaderItems:
        """What the PATCH declares."""
        return {"Upload-Length": f"{len(self.body)}"} if self.deferred else {}

    @property
    def piece(self) -> bytes:
        """The PATCH's body."""
        return self.body[self.acknowledged : self.acknowledged + self.sent]


@dataclass(frozen=True, slots=True)
class Casualty:
    """An upload whose request was at `step` when its process was killed."""

    path: str
    step: str


Step = S3Call | tuple[str, ...]
"""A kind of call to S3, or a command to Redis: its name, and for a script also which."""


class Sweep:
    """Runs errands through `victim`, which reaches the stores through the proxies only. Use as a
    context manager: its requests end with it."""

    def __init__(
        self, world: World, victim: ServerProcess, s3_proxy: S3Proxy, redis_proxy: RedisProxy
    ) -> None:
        self._world = world
        self._victim = victim
        self._s3_proxy = s3_proxy
        self._redis_proxy = redis_proxy
        self._connections = ExitStack()

    def hold_at_every_step(self, errand: Errand) -> list[Casualty]:
        """Begin the errand on one upload for each step and stage, and have each held there."""
        steps = self._steps_of(errand)
        tried = [self._hold(errand, stage, step) for step in _numbered(steps) for stage in Stage]
        held = [casualty for casualty in tried if casualty is not None]
        # One renewal of the lease may have been among the steps; it does not come every time.
        assert len(held) >= 2 * (len(steps) - 1), (held, steps)
        return held

    def kill(self) -> None:
        """SIGKILL. What is held is still under way, as packets may be."""
        self._victim.kill()

    def let_go(self) -> None:
        """What is held arrives, however late."""
        self._s3_proxy.rules.clear()
        self._redis_proxy.rules.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connections.close()

    def _steps_of(self, errand: Errand) -> list[Step]:
        path = errand.prepare(self._world)
        response = self._victim.client.patch(
            path, errand.acknowledged, errand.piece, errand.headers
        )
        assert response.status == 204, response
        commands = [command for trip in self._redis_proxy.trips() for command in trip.commands]
        redis_steps = [_step_of(command) for command in commands if _names(command, id_of(path))]
        return redis_steps + [call.kind for call in self._s3_proxy.calls(id_of(path))]

    def _hold(self, errand: Errand, stage: Stage, numbered: tuple[Step, int]) -> Casualty | None:
        path, hold = errand.prepare(self._world), Hold(stage)
        rule = self._rule(id_of(path), numbered, hold)
        connection = self._connections.enter_context(self._victim.client.connect())
        headers = patch_headers(errand.acknowledged, errand.sent, errand.headers)
        connection.send_head("PATCH", path, headers)
        connection.send(errand.piece)

        def is_held_or_over() -> bool:
            return rule.hits > 0 or connection.read_response_or_none(within_s=0.01) is not None

        eventually(is_held_or_over, what=f"{stage} {numbered}")
        if rule.hits == 0:
            return None
        hold.wait_until_reached()
        return Casualty(path, f"{stage.name} {numbered}")

    def _rule(
        self, upload_id: str, numbered: tuple[Step, int], hold: Hold
    ) -> Rule[Call] | Rule[list[str]]:
        step, nth = numbered
        if isinstance(step, S3Call):
            return self._s3_proxy.fail(step, hold, nth=nth, key_part=upload_id)

        def applies(command: list[str]) -> bool:
            return _step_of(command) == step and _names(command, upload_id)

        return self._redis_proxy.rules.add(applies, hold, nth=nth, times=1)


def _step_of(command: list[str]) -> tuple[str, ...]:
    return tuple(command[:2]) if command[0] == "EVALSHA" else (command[0],)


def _names(command: list[str], upload_id: str) -> bool:
    return any(upload_id in argument for argument in command)


def _numbered(steps: list[Step]) -> Iterator[tuple[Step, int]]:
    """Each step with how many of its kind have come, itself included."""
    seen: Counter[Step] = Counter()
    for step in steps:
        seen[step] += 1
        yield step, seen[step]
