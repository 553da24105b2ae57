"""`tusd-s3 dev`, run as a developer runs it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil
import pytest

from tests.support.bodies import MIB, body_of
from tests.support.tus import RawClient, id_of
from tests.support.waiting import eventually

_STOPS_WITHIN_S = 30.0


@dataclass(frozen=True, slots=True)
class DevStack:
    """A running `tusd-s3 dev`, and what it printed."""

    process: subprocess.Popen[str]
    banner: str
    data_dir: Path

    def address(self, name: str) -> str:
        (line,) = [line for line in self.banner.splitlines() if line.startswith(f"  {name} ")]
        return line.split()[1]

    def command(self, after: str) -> str:
        return self.banner.partition(f"{after}:\n")[2].partition("\n")[0].strip()

    def family(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)


def dev_command(port: int, data_dir: Path) -> list[str]:
    return [sys.executable, "-m", "tusd_s3", "dev", f"--port={port}", f"--data-dir={data_dir}"]


@contextmanager
def running_dev(tmp_path: Path) -> Iterator[DevStack]:
    """A running one; leaving the block kills it, unless it has ended."""
    data_dir = tmp_path / "data"
    environment = os.environ | {"AWS_PROFILE": "not-there", "AWS_SESSION_TOKEN": "stale"}
    with (
        (tmp_path / "log").open("w") as log,
        subprocess.Popen(
            dev_command(0, data_dir), stdout=subprocess.PIPE, stderr=log, text=True, env=environment
        ) as process,
    ):
        try:
            assert process.stdout is not None
            lines = []
            for line in process.stdout:
                lines.append(line)
                if "s3 ls" in line:
                    break
            assert lines, (tmp_path / "log").read_text()
            yield DevStack(process, "".join(lines), data_dir)
        finally:
            process.kill()


@pytest.fixture
def dev(tmp_path: Path) -> Iterator[DevStack]:
    with running_dev(tmp_path) as dev:
        yield dev


def client_of(dev: DevStack) -> RawClient:
    split = urlsplit(dev.address("Uploads"))
    assert split.hostname is not None
    assert split.port is not None
    return RawClient((split.hostname, split.port), split.path)


def run_pasted(command: str) -> str:
    return subprocess.run(
        command, shell=True, check=True, capture_output=True, text=True, timeout=60
    ).stdout


def test_the_printed_commands_work_and_the_page_shows_what_they_sent(dev: DevStack) -> None:
    assert "201 Created" in run_pasted(dev.command("Upload with curl"))
    url = run_pasted(dev.command("Upload with Python")).strip()
    assert url.startswith(dev.address("Uploads"))
    listed = httpx.get(dev.address("Page") + "finished.json").json()["objects"]
    assert sorted(item["size_bytes"] for item in listed) == [5, 20_000_000]
    page = httpx.get(dev.address("Page"))
    assert page.status_code == 200
    assert "Content-Security-Policy" in page.headers


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_everything_and_that_is_success(
    dev: DevStack, number: signal.Signals
) -> None:
    family = dev.family()
    names = {process.name() for process in family}
    assert "weed" in names
    assert names & {"redis-server", "valkey-server"}
    dev.process.send_signal(number)
    assert dev.process.wait(_STOPS_WITHIN_S) == 0
    assert not [process for process in family if process.is_running()]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_an_upload_goes_on_after_a_restart_over_the_same_data(
    tmp_path: Path, number: signal.Signals
) -> None:
    body = body_of(12 * MIB + 7)
    cut = 6 * MIB + 1  # a part in S3, and a tail in Redis
    with running_dev(tmp_path) as dev:
        client = client_of(dev)
        path = client.new_upload(len(body))
        assert client.patch(path, 0, body[:cut]).offset == cut
        family = dev.family()
        dev.process.send_signal(number)
        dev.process.wait(_STOPS_WITHIN_S)
        eventually(
            lambda: not any(process.is_running() for process in family),
            within_s=_STOPS_WITHIN_S,
            what="no server is orphaned",
        )
    with running_dev(tmp_path) as dev:
        client = client_of(dev)
        assert client.offset_of(path) == cut
        assert client.patch(path, cut, body[cut:]).offset == len(body)
        listed = httpx.get(dev.address("Page") + "finished.json").json()["objects"]
        assert [(item["key"], item["size_bytes"]) for item in listed] == [(id_of(path), len(body))]


def test_a_port_in_use_is_one_sentence_and_starts_nothing(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        done = subprocess.run(
            dev_command(port, tmp_path / "data"),
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert line.startswith("tusd-s3: Cannot listen on host '127.0.0.1'")
    assert str(port) in line
    assert not (tmp_path / "data").exists()


def test_a_directory_in_use_is_one_sentence(dev: DevStack) -> None:
    done = subprocess.run(
        dev_command(0, dev.data_dir), check=False, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert done.stderr == (
        f"tusd-s3: {dev.data_dir} is in use by another `tusd-s3 dev` (process {dev.process.pid}).\n"
    )
