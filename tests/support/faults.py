"""What can go wrong with a call, and on which call it does."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Generic, TypeVar

C = TypeVar("C")


@dataclass(frozen=True, slots=True)
class Answer:
    """Answered by the proxy: the call never reaches the store. body: None for S3's own error."""

    status: int = 503
    code: str = "SlowDown"
    body: bytes | None = None


@dataclass(frozen=True, slots=True)
class Delay:
    """Forwarded, but only after a while."""

    seconds: float


class Cut(Enum):
    """The connection breaks."""

    BEFORE = auto()
    """The store never sees the call."""
    AFTER = auto()
    """The store has done what was asked; its answer is lost."""


class Stage(Enum):
    """Where a call is held."""

    BEFORE = auto()
    AFTER = auto()


@dataclass(slots=True, eq=False)
class Hold:
    """Held until the test releases it: before it reaches the store, or before its answer does."""

    stage: Stage = Stage.BEFORE
    _reached: threading.Event = field(default_factory=threading.Event)
    _released: Future[None] = field(default_factory=Future)

    def wait_until_reached(self, *, within_s: float = 10.0) -> None:
        """Return once a call is being held."""
        assert self._reached.wait(within_s), "no call came to the hold"

    def release(self) -> None:
        """Let what is held go on, and everything after it."""
        if not self._released.done():
            self._released.set_result(None)

    async def wait(self) -> None:
        """For the proxy: hold the call here."""
        self._reached.set()
        await asyncio.shield(asyncio.wrap_future(self._released))


@dataclass(frozen=True, slots=True)
class Break:
    """The connection ends after so many bytes of the answer's body."""

    after_bytes: int


@dataclass(frozen=True, slots=True)
class Rewrite:
    """The store's answer, said in another way. without: headers that it has not, in lower case.
    also: headers that it has instead. body: instead of its own, after which the connection ends."""

    status: int
    without: frozenset[str] = frozenset()
    also: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None


Fault = Answer | Delay | Cut | Hold | Break | Rewrite


@dataclass(slots=True)
class Rule(Generic[C]):
    """Which calls a fault hits. `hits`: how many it has hit, for tests that rest on it."""

    applies: Callable[[C], bool]
    fault: Fault
    first: int
    times: int | None
    seen: int = 0
    hits: int = 0

    def takes(self, call: C) -> bool:
        """Count the call if the rule is about it; whether the fault hits it."""
        if not self.applies(call):
            return False
        self.seen += 1
        hit = self.first <= self.seen and (
            self.times is None or self.seen < self.first + self.times
        )
        self.hits += hit
        return hit


class RuleBook(Generic[C]):
    """Rules set by the test's thread and consulted by the proxy's."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rules: list[Rule[C]] = []

    def add(
        self, applies: Callable[[C], bool], fault: Fault, *, nth: int, times: int | None
    ) -> Rule[C]:
        """`fault` hits the `nth` call (counted from now) that `applies`, and the next ones up to
        `times`; None means for ever."""
        rule = Rule(applies, fault, nth, times)
        with self._lock:
            self._rules.append(rule)
        return rule

    def fault_for(self, call: C) -> Fault | None:
        """What happens to this call. Every rule counts it; the first that hits decides."""
        with self._lock:
            hits = [rule.fault for rule in self._rules if rule.takes(call)]
        return hits[0] if hits else None

    def clear(self) -> None:
        """Forget all rules and let go of everything that is held."""
        with self._lock:
            rules, self._rules = self._rules, []
        for rule in rules:
            if isinstance(rule.fault, Hold):
                rule.fault.release()
