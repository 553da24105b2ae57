"""Room on the disk. SeaweedFS takes no writes when little of it is free: tests that know nothing of
the disk would then fail, each with its own 503."""

from __future__ import annotations

import shutil
from pathlib import Path

GIB = 2**30
_KEPT_FREE = 0.01
"""SeaweedFS refuses to write to the last of the disk."""


def lack_of_room(folder: Path, needed_bytes: int) -> str | None:
    """One sentence when the file system of `folder`, which need not be there yet, has less to give
    than is needed."""
    folder = next(path for path in (folder, *folder.parents) if path.exists())
    disk = shutil.disk_usage(folder)
    room = disk.free - disk.total * _KEPT_FREE
    if room >= needed_bytes:
        return None
    return (
        f"{folder} has room for {max(room, 0) / GIB:.1f} GiB, and {needed_bytes / GIB:.1f} GiB are"
        " needed: free some, or set TMPDIR to a directory on another disk."
    )


def remove_all_but_logs(folder: Path) -> None:
    """What servers kept in `folder` goes; what they wrote about it stays for whoever wonders."""
    for path in sorted(folder.rglob("*"), reverse=True):  # a directory after all that is in it
        if path.is_symlink() or not path.is_dir():
            if path.suffix != ".log":
                path.unlink()
        elif not any(path.iterdir()):
            path.rmdir()
