"""Faults: what they are, and the moments at which they strike.

A fault strikes now, a little later beside the steps, or exactly when a chosen call to S3 or a
chosen command to Redis passes the proxy: before the store has seen it, or before its answer is
back. The last finds the moments between two writes that a clock would hit once in a thousand runs.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from tests.campaign.arena import Arena
from tests.campaign.report import Report
from tests.support.faults import Answer, Cut, Delay, Fault, Hold, Rule, Stage
from tests.support.s3_calls import S3Call

FAULTS = (
    "kill",
    "term",
    "freeze",
    "redis-restart",
    "redis-freeze",
    "redis-net",
    "flush",
    "older",
    "s3",
)
"""Names for `--faults`."""

LOSSES = frozenset({"flush", "older"})
"""Those after which Redis knows less than it acknowledged."""

S3_WAYS = (
    "503",
    "500",
    "cut before",
    "cut after",
    "slow",
    "hang before",
    "hang after",
    "away",
)
"""What can be wrong with S3."""

REDIS_WAYS = ("cut before", "cut after", "slow", "hang")
"""What can be wrong with one command to Redis."""

_HANG_S = 3.5
_SLOW_S = 0.4


@dataclass(slots=True, eq=False)
class Trap(Hold):
    """Holds a call for as long as something else is done."""

    action: Callable[[], None] = field(default=lambda: None)

    async def wait(self) -> None:
        """For the proxy."""
        await asyncio.get_running_loop().run_in_executor(None, self.action)


class Mischief:
    """Plans faults. `lose`, given by whoever keeps the model, runs a loss of data: it notes what
    S3 has before and after."""

    def __init__(
        self,
        arena: Arena,
        report: Report,
        faults: frozenset[str],
        lose: Callable[[Callable[[], None]], None],
        note: Callable[[str], None],
    ) -> None:
        self._arena = arena
        self._report = report
        self._faults = faults
        self._lose = lose
        self._say = note
        self._rules: list[tuple[str, Rule[Any]]] = []
        self.armed = True

    def plan(self, trouble: str) -> None:
        """Arrange for one trouble, unless its kind is left out of this campaign:

        `s3|CALL|WAY|NTH|TIMES`: something is wrong with calls to S3; `UploadPart#2` is about
        that part only.
        `redis-net|COMMAND|WAY|NTH`: the connection of a command to Redis breaks, or is slow.
        `FAULT|WHO|SECONDS|MOMENT`: it strikes at `now`, `soon 0.2`, `s3 UploadPart 2 before` or
        `redis EVALSHA 3 after`. WHO: which server. SECONDS: how long it lasts.
        """
        name, first, second, *rest = trouble.split("|")
        if name.replace("away", "net") not in self._faults:
            return
        if name == "s3":
            self._break_s3(first, second, nth=int(rest[0]), times=int(rest[1]))
        elif name == "redis-net":
            self._break_redis(first, second, nth=int(rest[0]))
        else:
            when, *details = rest[0].split()
            strike = partial(self._strike, name, int(first), float(second))
            if when == "now":
                strike()
            elif when == "soon":
                self._arena.background(strike, after_s=float(details[0]))
            else:
                self._trap(when, details, strike)

    def _break_s3(self, call: str, way: str, *, nth: int, times: int) -> None:
        if way == "away":
            if self._arena.s3_proxy.is_up:
                self._arena.s3_proxy.down()
                self._arena.background(self._arena.s3_proxy.up, after_s=times * 0.5)
                self._report.count("fault s3: away")
            return
        kind, _, part = call.partition("#")
        number = int(part) if part else None
        rule = self._arena.s3_proxy.fail(
            S3Call(kind), _s3_fault(way), nth=nth, times=times, part_number=number
        )
        self._rules.append((f"fault s3: {call}: {way}", rule))

    def _break_redis(self, command: str, way: str, *, nth: int) -> None:
        faults: dict[str, Fault] = {
            "cut before": Cut.BEFORE,
            "cut after": Cut.AFTER,
            "slow": Delay(_SLOW_S),
            "hang": Delay(1.5),
        }
        rule = self._arena.redis.proxy.fail(command, faults[way], nth=nth)
        self._rules.append((f"fault redis-net: {command}: {way}", rule))

    def disarm(self) -> None:
        """Let nothing strike any more, and count what did."""
        self.armed = False
        for name, rule in self._rules:
            if rule.hits:
                self._report.count(name, rule.hits)
                self._say(f"    ({name} had struck {rule.hits} times)")
        self._rules.clear()

    def _trap(self, where: str, rest: list[str], strike: Callable[[], None]) -> None:
        *words, nth, stage = rest
        trap = Trap(Stage.BEFORE if stage == "before" else Stage.AFTER, action=strike)
        if where == "s3":
            self._arena.s3_proxy.fail(S3Call(" ".join(words)), trap, nth=int(nth))
        else:
            self._arena.redis.proxy.fail(words[0], trap, nth=int(nth))

    def _strike(self, name: str, who: int, seconds: float) -> None:
        with self._arena.striking() as may_strike:
            if self.armed and may_strike:
                self._act(name, who, seconds)

    def _act(self, name: str, who: int, seconds: float) -> None:
        acts: dict[str, Callable[[], bool]] = {
            "kill": partial(self._kill, who, seconds),
            "term": partial(self._term, who),
            "freeze": partial(self._freeze, who, seconds),
            "redis-restart": partial(self._redis, self._arena.kill_redis, seconds),
            "redis-freeze": partial(self._redis, self._arena.freeze_redis, seconds),
            "redis-away": partial(self._redis_away, who, seconds),
            "flush": self._flush,
            "older": partial(self._older, seconds),
        }
        self._say(f"    ({name} {who} strikes)")
        try:
            if acts[name]():
                self._report.count(f"fault {name}")
        except Exception as error:  # in a proxy's thread nobody would hear of it
            self._arena.troubles.append(error)

    def _kill(self, who: int, seconds: float) -> bool:
        worker = self._arena.workers[who]
        was_up = worker.is_up
        worker.kill()
        self._arena.background(worker.start, after_s=min(seconds, 1.0))
        return was_up

    def _term(self, who: int) -> bool:
        worker = self._arena.workers[who]

        def work() -> None:
            worker.terminate()
            worker.start()

        self._arena.background(work)
        return worker.is_up

    def _freeze(self, who: int, seconds: float) -> bool:
        worker = self._arena.workers[who]
        worker.freeze()
        self._arena.background(worker.thaw, after_s=seconds)
        return worker.is_up

    def _redis(self, harm: Callable[[], bool], seconds: float) -> bool:
        done = harm()
        if done:
            self._arena.background(self._arena.revive_redis, after_s=seconds)
        return done

    def _redis_away(self, who: int, seconds: float) -> bool:
        proxy = self._arena.redis.proxy
        if who == 0:
            self._arena.background(proxy.cut_all)
        elif proxy.is_up:
            self._arena.background(proxy.down)
            self._arena.background(proxy.up, after_s=max(seconds, 0.2))
        return True

    def _flush(self) -> bool:
        return self._arena.lose_redis(lambda: self._lose(self._arena.redis.flush))

    def _older(self, seconds: float) -> bool:
        pair = self._arena.redis
        if not pair.is_parted:
            self._arena.lose_redis(pair.part)
            self._report.count("replica parted")
            self._arena.background(self._fail_over, after_s=seconds + 0.1)
            return False
        self._fail_over()
        return False

    def _fail_over(self) -> None:
        def loss() -> None:
            self._lose(self._arena.redis.fail_over)

        if self.armed and self._arena.lose_redis(loss):
            self._report.count("fault older")


def _s3_fault(way: str) -> Fault:
    faults: dict[str, Fault] = {
        "503": Answer(503, "SlowDown"),
        "500": Answer(500, "InternalError"),
        "cut before": Cut.BEFORE,
        "cut after": Cut.AFTER,
        "slow": Delay(_SLOW_S),
        "hang before": Delay(_HANG_S),
        "hang after": Trap(Stage.AFTER, action=partial(time.sleep, _HANG_S)),
    }
    return faults[way]
