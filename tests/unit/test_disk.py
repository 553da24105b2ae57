"""How much room there is is said before tests fail for want of it."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.support.disk import GIB, lack_of_room, remove_all_but_logs


def test_enough_room_is_none_lacking(tmp_path: Path) -> None:
    assert lack_of_room(tmp_path, 0) is None


def test_a_lack_of_room_is_one_sentence(tmp_path: Path) -> None:
    needed = shutil.disk_usage(tmp_path).total
    lack = lack_of_room(tmp_path / "not" / "there", needed)
    assert lack is not None
    assert lack.startswith(f"{tmp_path} has room for ")
    assert f" and {needed / GIB:.1f} GiB are needed: " in lack


def test_logs_outlive_the_data(tmp_path: Path) -> None:
    for name in ("s3/server.log", "s3/data/1.dat", "redis/dump.rdb", "lock"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"1")
    (tmp_path / "current").symlink_to(tmp_path / "redis")
    remove_all_but_logs(tmp_path)
    assert sorted(tmp_path.rglob("*")) == [tmp_path / "s3", tmp_path / "s3" / "server.log"]
