"""A run: how many inputs of each kind, from which seed, and what became of them."""

from __future__ import annotations

import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from hypothesis import strategies as st

from tests.fuzz.addresses import ADDRESS_TARGETS
from tests.fuzz.messages import Message, messages
from tests.fuzz.parsers import TARGETS
from tests.fuzz.rounds import fuzz
from tests.fuzz.subject import Subject
from tests.support.server import ServerProcess, StoreSettings
from tests.support.stores import Bucket, RedisView, corner_of
from tests.support.world import World
from tusd_s3.devstack.stores import LocalStores

BATCH = 25
PARSER_SHARE = 0.9
"""Of all inputs: parsers are cheap, and most of what is refused is refused there."""

OPTIONS = {"network-timeout": "2s", "lease-ttl": "4s", "cleanup-interval": "1h"}
"""Of the server: a body that does not come is given up soon, and nothing changes by itself."""

# Each place may be empty, so that a batch that fails shrinks to the message that makes it fail.
batches = st.lists(st.one_of(st.none(), *[messages] * 9), min_size=BATCH, max_size=BATCH).map(
    lambda places: [message for message in places if message is not None]
)


@dataclass(slots=True)
class Report:
    """What was done and what was found."""

    counts: dict[str, int] = field(default_factory=dict)
    answered: dict[int, int] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    _started_s: float = field(default_factory=time.monotonic)

    @property
    def inputs(self) -> int:
        """All inputs."""
        return sum(self.counts.values())

    def summary(self) -> str:
        """As lines."""
        lines = [f"{count:>9,}  {name}" for name, count in self.counts.items()]
        answered = sorted(self.answered.items())
        lines += [f"{count:>9,}  answers {status}" for status, count in answered]
        seconds = time.monotonic() - self._started_s
        lines.append(f"{self.inputs:,} inputs in {seconds:.0f} s, {len(self.failures)} failures")
        return "\n".join(lines)

    @contextmanager
    def noting(self, name: str) -> Iterator[None]:
        """Keep a failure, with the input that makes it, and go on."""
        try:
            yield
        except Exception as error:  # whatever the code under test raises is a find
            shown = "".join(traceback.format_exception(error, limit=-3))
            self.failures.append(f"{name}: {shown}")
            say(f"FAILURE in {name}\n{shown}")


def fuzz_parsers(report: Report, *, inputs: int, seed: int) -> None:
    """`inputs` inputs, spread over all parsers."""
    targets = TARGETS + ADDRESS_TARGETS
    for number, target in enumerate(targets):
        examples = inputs // len(targets) + (number < inputs % len(targets))
        with report.noting(target.name):
            report.counts[target.name] = fuzz(
                target.inputs, target.check, seed=seed, examples=examples
            )
            say(f"{report.inputs:>9,}  inputs so far, the last ones to {target.name}")


def fuzz_socket(report: Report, world: World, *, inputs: int, seed: int) -> None:
    """`inputs` messages to a running server, in batches."""
    subject = Subject(world)
    sent = 0
    failed: list[Exception] = []

    def check(batch: list[Message]) -> None:
        nonlocal sent
        sent += len(batch)
        try:
            subject.check(batch)
        except Exception as error:  # as above
            if not failed:  # it may take a while until hypothesis has made it smaller
                say("\n".join(["found, looking for less:", str(error), *_notes(error)]))
            failed.append(error)
            raise

    with report.noting("socket"):
        step = 0
        while sent < inputs:
            # Hypothesis begins with the simplest batch there is, which is empty.
            missing = 1 + -(-(inputs - sent) // BATCH)
            fuzz(batches, check, seed=seed + step, examples=min(missing, _BATCHES_PER_SEED))
            step += 1
        subject.verify_bytes()
    report.counts["socket"] = sent
    report.answered = subject.answered


_BATCHES_PER_SEED = 50


def run(*, inputs: int, seed: int) -> Report:
    """A whole run over stores and a server of its own."""
    report = Report()
    say(f"seed {seed}")
    parsers = round(inputs * PARSER_SHARE)
    fuzz_parsers(report, inputs=parsers, seed=seed)
    with opened_world() as world:
        fuzz_socket(report, world, inputs=inputs - report.inputs, seed=seed)
    return report


def _notes(error: Exception) -> list[str]:
    return list(getattr(error, "__notes__", ()))


@contextmanager
def opened_world() -> Iterator[World]:
    """A server over stores of its own; nothing is left of them afterwards."""
    with tempfile.TemporaryDirectory(prefix="tusd-s3-fuzz-") as folder:
        root = Path(folder)
        with (
            LocalStores(root / "stores") as found,
            corner_of(StoreSettings(**asdict(found))) as stores,
            closing(Bucket.open(stores)) as bucket,
            # Its log is judged batch by batch, together with the inputs.
            ServerProcess(stores, root / "server.log", OPTIONS, expect_traceback=True) as server,
        ):
            yield World(server, bucket, RedisView(stores.redis_url, stores.redis_prefix))


def say(text: str) -> None:
    """To whoever watches the run."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
