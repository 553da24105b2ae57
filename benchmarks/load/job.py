"""What the load process is told, and what it tells: one line of JSON each way."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One run of a script against one server.

    base_path: where uploads are created. numbers: what the script wants to know, by name; sizes
    in bytes, waits in milliseconds. deadline_s: for the whole of it, preparation included.
    """

    script: str
    port: int
    base_path: str
    deadline_s: float
    numbers: Mapping[str, int]

    def __getitem__(self, name: str) -> int:
        return self.numbers[name]

    def to_line(self) -> str:
        """As JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def of_line(cls, line: str) -> Self:
        """The inverse of `to_line`."""
        return cls(**json.loads(line))


@dataclass(frozen=True, slots=True)
class Finished:
    """An upload that the server has acknowledged to its last byte. phase: see `payload`."""

    path: str
    size_bytes: int
    phase: int


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What came of a job.

    requests, body_bytes: answered as they should be, in the measured time. load_cpu_s: of the load
    process itself. figures: further results by name, with their unit at the end (`_s`, `_bytes`,
    `_count`). error: why it failed, or None.
    """

    wall_s: float = 0.0
    load_cpu_s: float = 0.0
    requests: int = 0
    body_bytes: int = 0
    finished: list[Finished] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)
    error: str | None = None

    def to_line(self) -> str:
        """As JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def of_line(cls, line: str) -> Self:
        """The inverse of `to_line`."""
        found = json.loads(line)
        found["finished"] = [Finished(**one) for one in found["finished"]]
        return cls(**found)
