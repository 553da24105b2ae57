"""What a run ran on, in words that name neither the machine nor its owner."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Final

import psutil

from tusd_s3.devstack.binaries import find_redis, find_weed

_ASK_WITHIN_S: Final = 20.0


def describe(part_bytes: int) -> dict[str, str]:
    """For the report. part_bytes: of the parts that servers send to S3."""
    return {
        "processor": f"{os.cpu_count()} cores, {_processor()}",
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "Python": platform.python_version(),
        "uvicorn": metadata.version("uvicorn"),
        "Node.js": _version("node", "--version"),
        "SeaweedFS": _version(str(find_weed()), "version"),
        "Redis": _version(str(find_redis()), "--version"),
        "part size": f"{part_bytes / 2**20:g} MiB",
        "load average before": f"{os.getloadavg()[0]:.2f}",
    }


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.machine()
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1] if found else platform.machine()


def _version(program: str, option: str) -> str:
    """The first number with a dot in what it says of itself."""
    found = shutil.which(program)
    if found is None:
        return "none"
    said = subprocess.run(
        [found, option], capture_output=True, text=True, timeout=_ASK_WITHIN_S, check=False
    )
    number = re.search(r"\d+\.\d+[.\d]*", said.stdout)
    return number[0] if number else "unknown"
