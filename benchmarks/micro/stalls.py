"""What stops the event loop of a server that takes large uploads, and for how long.

    python -m benchmarks.micro.stalls [--loop asyncio] [--count 8] [--size-mib 128] [--shown 8]

Starts its own stores and one server, whose loop is watched (`watched.py`); sends `count` uploads at
once, and meanwhile a HEAD every 20 ms. A beat that comes late had to wait for whatever the loop
did. What the machine did to it instead is told apart, so that work of ours has its name on a busy
machine too. `--loop asyncio` times each callback as well; uvloop is what servers run with.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from benchmarks import measure
from benchmarks.load.job import Outcome
from benchmarks.micro.stage import FailedError, load, served, stage
from benchmarks.micro.watched import LATE_S, Callback, Late, Seen
from benchmarks.servers import OURS
from benchmarks.servers.kind import REPOSITORY, Launch, ServerKind
from tusd_s3.devstack.errors import DevStackError
from tusd_s3.limits import MIB

_BOUNDS_S: Final = (LATE_S, 0.010, 0.020, 0.050)
_STACK_LINES: Final = 6
_PAUSE_MS: Final = 20


def main() -> int:
    """The command."""
    options = _options()
    try:
        outcome, cpu_s, seen = _measured(options)
    except (FailedError, DevStackError) as error:
        sys.stderr.write(f"stalls: {error}\n")
        return 1
    say(_summary(outcome, cpu_s, options))
    say(_of_beats(seen))
    say(_of_collections(seen))
    say(_of_places(seen.late))
    if options.loop == "asyncio":
        say(_of_callbacks(seen.callbacks))
    say(_longest(seen, options.shown))
    return 0


def _measured(options: argparse.Namespace) -> tuple[Outcome, float, Seen]:
    """The outcome of the load, the server's CPU time, and what was seen meanwhile."""
    size = options.size_mib * MIB
    numbers = {
        "count": options.count,
        "size": size,
        "size_of_headed": MIB,
        "pause_ms": _PAUSE_MS,
    }
    with stage(options.count * size, options.scratch) as (stores, place):
        kind = _watched(place / "seen.json", options.loop)
        with (
            served(kind, stores, place) as server,
            load(kind, server.port, "heads-under-load", numbers) as ready,
        ):
            began_s, cpu = time.perf_counter(), measure.cpu_time(server.pid)
            outcome = ready.run()
            ended_s, cpu = time.perf_counter(), measure.cpu_time(server.pid) - cpu
        seen = Seen.load(place / "seen.json")
    return outcome, cpu.total_s, _within(seen, began_s, ended_s)


def _watched(file: Path, loop: str) -> ServerKind:
    def command(launch: Launch) -> list[str]:
        python, option, _, *rest = OURS.command(launch)
        return [python, option, "benchmarks.micro.watched", str(file), loop, *rest]

    return replace(OURS, command=command)


def _within(seen: Seen, began_s: float, ended_s: float) -> Seen:
    return Seen(
        [one for one in seen.late if began_s <= one.at_s <= ended_s],
        [one for one in seen.collections if began_s <= one.at_s <= ended_s],
        [one for one in seen.callbacks if began_s <= one.at_s <= ended_s],
        seen.beats,
        seen.whole,
    )


# --- what is printed ------------------------------------------------------------------------------


def _summary(outcome: Outcome, cpu_s: float, options: argparse.Namespace) -> list[str]:
    figures = outcome.figures
    return [
        f"{options.count} uploads of {options.size_mib} MiB, {options.loop}: "
        f"{outcome.wall_s:.1f} s, {outcome.body_bytes / MIB / outcome.wall_s:.0f} MiB/s,"
        f" {cpu_s:.1f} s CPU of the server",
        f"HEAD: {figures['heads_count']:.0f} answered, median {_ms(figures['head_p50_s'])},"
        f" p99 {_ms(figures['head_p99_s'])}",
    ]


def _of_beats(seen: Seen) -> list[str]:
    lines = [f"beats that came late (of {seen.beats}):"]
    for bound_s in _BOUNDS_S:
        late = [one for one in seen.late if one.wall_s > bound_s]
        ours = [one for one in late if one.cpu_s > bound_s]
        lines.append(f"  by more than {_ms(bound_s)}: {len(late)}, with CPU of ours {len(ours)}")
    wall_s, cpu_s, queued_s = (
        sum(getattr(one, name) for one in seen.late) for name in ("wall_s", "cpu_s", "queued_s")
    )
    lines.append(
        f"  together {_ms(wall_s)}: {_ms(cpu_s)} CPU of ours, {_ms(queued_s)} without a processor,"
        f" {_ms(max(0.0, wall_s - cpu_s - queued_s))} else"
    )
    return lines


def _of_collections(seen: Seen) -> list[str]:
    lines = ["garbage collections:"]
    for generation in range(3):
        those = [one for one in seen.collections if one.generation == generation]
        took_s = [one.cpu_s for one in those]
        freed = sum(one.freed for one in those)
        lines.append(
            f"  generation {generation}: {len(took_s)}, CPU together {_ms(sum(took_s))},"
            f" longest {_ms(max(took_s, default=0.0))}, {freed} objects freed"
        )
    if seen.whole is not None:
        lines.append(f"  all generations, when the load is over: {_ms(seen.whole.cpu_s)} CPU")
    return lines


def _of_places(late: Iterable[Late]) -> list[str]:
    """Whose code was running, of all beats that CPU of ours made late."""
    found: Mapping[str, list[float]] = defaultdict(list)
    for one in late:
        if one.cpu_s > LATE_S:
            found[_place(one.stacks)].append(one.cpu_s)
    lines = [f"where, when it was more than {_ms(LATE_S)} CPU of ours:"]
    for place, took_s in sorted(found.items(), key=lambda item: -sum(item[1])):
        lines.append(
            f"  {len(took_s):4} times, together {_ms(sum(took_s))}, longest {_ms(max(took_s))}:"
            f" {place}"
        )
    return lines


def _of_callbacks(callbacks: Iterable[Callback]) -> list[str]:
    found: Mapping[str, list[float]] = defaultdict(list)
    for one in callbacks:
        found[one.name].append(one.cpu_s)
    lines = ["callbacks by their longest CPU time:"]
    for name, took_s in sorted(found.items(), key=lambda item: -max(item[1])):
        lines.append(f"  {_ms(max(took_s))} longest, {len(took_s):4} kept: {name}")
    return lines


def _longest(seen: Seen, count: int) -> list[str]:
    lines = ["the longest, by CPU of ours:"]
    for one in sorted(seen.late, key=lambda one: -one.cpu_s)[:count]:
        collected = [
            f"generation {it.generation} {_ms(it.cpu_s)} CPU"
            for it in seen.collections
            if one.at_s - it.wall_s <= it.at_s <= one.at_s + one.wall_s
        ]
        lines.append(
            f"  {_ms(one.wall_s)}: {_ms(one.cpu_s)} CPU, {_ms(one.queued_s)} without a processor"
            + (f"; collected: {', '.join(collected)}" if collected else "")
        )
        if one.stacks:
            stack, times = Counter(map(tuple, one.stacks)).most_common(1)[0]
            lines.append(f"    {times} of {len(one.stacks)} looks:")
            lines += [f"      {_short(line)}" for line in stack[:_STACK_LINES]]
    return lines


def _place(stacks: Sequence[Sequence[str]]) -> str:
    """The innermost line of ours, and what it was calling, where it was seen most."""
    places = Counter(_innermost(stack) for stack in stacks)
    return places.most_common(1)[0][0] if places else "(nobody could look)"


def _innermost(stack: Sequence[str]) -> str:
    if "Runner.run" in stack[0]:
        return "(the loop itself: it reads, writes and polls sockets)"
    ours = next((line for line in stack if "/tusd_s3/" in line), "")
    if not ours:
        return _short(stack[0])
    inner = "" if ours == stack[0] else f" > {_short(stack[0])}"
    return _short(ours) + inner


def _short(line: str) -> str:
    return line.rpartition("site-packages/")[2].removeprefix(f"{REPOSITORY}/")


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.1f} ms"


def say(lines: Iterable[str]) -> None:
    """Print them."""
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--loop", choices=("uvloop", "asyncio"), default="uvloop")
    parser.add_argument("--count", type=int, default=8, help="uploads at once")
    parser.add_argument("--size-mib", type=int, default=128, help="of each")
    parser.add_argument("--shown", type=int, default=8, help="longest stalls with their stacks")
    parser.add_argument("--scratch", type=Path, help="for the stores' files")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
