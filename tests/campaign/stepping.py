"""What is around each step of the state machine: it is written down, counted and judged."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.campaign.machine import Machine


def step(method: Callable[..., None]) -> Callable[..., None]:
    """Write the step down, count it, and record what it finds."""

    @functools.wraps(method)
    def run(self: Machine, **arguments: object) -> None:
        if self.is_over:
            return
        self.steps.append((method.__name__, arguments))
        shown = ", ".join(f"{name}={value}" for name, value in arguments.items())
        self.note(f"{len(self.steps)}. {method.__name__}({shown})")
        self.report.count("steps")
        with self.judged():
            method(self, **arguments)
            self.look_around()

    return run


class Judged:
    """What is raised within is a failure of the example, or of the campaign itself."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._machine.failed |= error is not None
        machine = self._machine
        if isinstance(error, AssertionError):
            logs = [worker.log_of_life() for worker in machine.arena.workers]
            machine.report.fail(error, machine.steps, machine.journal, logs)
        elif isinstance(error, Exception):
            machine.report.broke(error, machine.journal)
