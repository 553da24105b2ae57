"""The command line."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from benchmarks.growth import growth_workloads
from benchmarks.servers import NULL, OURS, SERVERS
from benchmarks.workloads import Scale, workloads
from tusd_s3.limits import GIB, MIB, S3_PART_SIZE_MIN_BYTES

HERE: Final = Path(__file__).resolve().parent

_REPETITIONS: Final = {Scale.FULL: 3, Scale.QUICK: 1, Scale.SMOKE: 1}
_MEMORY_SHARE: Final = 0.4
"""Of the machine's memory, the most that a server may have; the rest is for the stores."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What to do. output: a directory for results.json, growth.json and the charts."""

    scale: Scale
    growth: bool
    readme: bool
    only: tuple[str, ...]
    servers: tuple[str, ...]
    install: bool
    repetitions: int
    part_bytes: int
    memory_limit_bytes: int
    output: Path
    peers_dir: Path
    scratch: Path | None
    command: str


def parse(arguments: Sequence[str]) -> Options:
    """Of the words after `python -m benchmarks`. Ends the program where they are wrong."""
    parser = _parser()
    told = parser.parse_args(arguments)
    scale = Scale.SMOKE if told.smoke else Scale.QUICK if told.quick else Scale.FULL
    chosen = growth_workloads(scale) if told.growth else workloads(scale)
    known = [one.name for one in chosen]
    for name in told.only:
        if name not in known:
            parser.error(f"no workload {name!r}; there are {', '.join(known)}")
    for name in told.server:
        if name not in SERVERS:
            parser.error(f"no server {name!r}; there are {', '.join(SERVERS)}")
    usual = (OURS.name, NULL.name) if scale is Scale.SMOKE else tuple(SERVERS)
    repetitions = told.repeat or (1 if told.growth else _REPETITIONS[scale])
    return Options(
        scale=scale,
        growth=told.growth,
        readme=told.readme,
        only=tuple(told.only),
        servers=tuple(name for name in SERVERS if name in (told.server or usual)),
        install=not told.no_install,
        repetitions=repetitions,
        part_bytes=told.part_mib * MIB,
        memory_limit_bytes=told.memory_gib * GIB or _memory_limit_bytes(),
        output=told.output,
        peers_dir=told.peers,
        scratch=told.scratch,
        command=" ".join(["python -m benchmarks", *_shown(arguments)]),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure this server beside others and beside one that does nothing.",
    )
    sizes = parser.add_mutually_exclusive_group()
    sizes.add_argument("--quick", action="store_true", help="an eighth of the sizes, once")
    sizes.add_argument("--smoke", action="store_true", help="tiny: only whether it works")
    parser.add_argument("--growth", action="store_true", help="the growth charts instead")
    parser.add_argument(
        "--readme",
        action="store_true",
        help="measure nothing: put what --output holds into benchmarks/README.md",
    )
    parser.add_argument("--only", type=_names, default=[], metavar="WORKLOAD,…")
    parser.add_argument("--server", type=_names, default=[], metavar="NAME,…")
    parser.add_argument("--no-install", action="store_true", help="only peers that are installed")
    parser.add_argument("--repeat", type=_count, help="repetitions (3; quick, smoke, growth: 1)")
    parser.add_argument("--part-mib", type=_part_mib, default=8, help="part size in MiB (8)")
    parser.add_argument(
        "--memory-gib", type=_count, default=0, help="a server may have (2/5 of the machine's)"
    )
    parser.add_argument("--output", type=Path, default=HERE / "results", metavar="DIR")
    parser.add_argument("--peers", type=Path, default=HERE / ".peers", metavar="DIR")
    parser.add_argument("--scratch", type=Path, metavar="DIR", help="for the stores' files")
    return parser


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def _count(text: str) -> int:
    count = int(text)
    if count < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return count


def _part_mib(text: str) -> int:
    size = int(text)
    if size * MIB < S3_PART_SIZE_MIN_BYTES:
        raise argparse.ArgumentTypeError("S3 takes no part under 5 MiB")
    return size


def _memory_limit_bytes() -> int:
    return int(psutil.virtual_memory().total * _MEMORY_SHARE) // GIB * GIB or GIB


def _shown(arguments: Sequence[str]) -> list[str]:
    """The words without directories, which are the machine's own affair."""
    shown: list[str] = []
    skip = False
    for word in arguments:
        if not skip and not word.startswith(("--output", "--peers", "--scratch")):
            shown.append(word)
        skip = word in ("--output", "--peers", "--scratch")
    return shown
