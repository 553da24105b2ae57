"""What the workloads send. Each script prepares, and is measured from then on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

from benchmarks.load.job import Job, Outcome
from benchmarks.load.scripts.bodies import Bodies
from benchmarks.load.scripts.download import Downloads
from benchmarks.load.scripts.head import Heads, HeadsUnderLoad
from benchmarks.load.scripts.idle import Idle
from benchmarks.load.scripts.resume import Resume
from benchmarks.load.scripts.sequence import Sequence
from benchmarks.load.scripts.small import SmallUploads


class Script(Protocol):
    """One kind of load. Made with the job."""

    def __init__(self, job: Job) -> None: ...

    def prepare(self) -> None:
        """What is not measured. Raises: LoadError, OSError."""

    def run(self) -> Outcome:
        """What is measured; connections may stay open after it. Raises: LoadError, OSError."""


SCRIPTS: Final[Mapping[str, type[Script]]] = {
    "bodies": Bodies,
    "sequence": Sequence,
    "small": SmallUploads,
    "heads": Heads,
    "heads-under-load": HeadsUnderLoad,
    "resume": Resume,
    "idle": Idle,
    "downloads": Downloads,
}
