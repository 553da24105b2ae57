"""The command as a process: its help, its refusals, and how it starts and ends a server."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

import tusd_s3
from tusd_s3 import cli
from tusd_s3.config import Settings, env_name, flag_name

pytestmark = pytest.mark.long  # the other unit tests start no processes, and come last

REQUIRED = ("--s3-bucket", "uploads", "--redis-url", "redis://localhost:6379/0")
COMMAND = (sys.executable, "-W", "error", "-m", "tusd_s3")
TIMEOUT_S = 60

# The command with an application of its own, so that no store is needed.
SERVER = """
import os, sys
from types import ModuleType

import tusd_s3
from tusd_s3 import cli


class App:
    def __init__(self, settings):
        self.settings = settings

    async def __call__(self, scope, receive, send):
        if scope["type"] == "lifespan":
            await receive()
            if self.settings.s3_bucket == "lifespan-fails":
                await send({"type": "lifespan.startup.failed", "message": "no"})
                return
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        body = f"{os.getpid()} {self.settings.s3_bucket} {scope['client'][0]}".encode()
        headers = [(b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


class StartupError(Exception):
    pass


async def check_stores(settings):
    if settings.s3_bucket == "no-such-bucket":
        raise StartupError("There is no bucket 'no-such-bucket'.")


if __name__ == "__main__":
    tusd_s3.app = sys.modules["tusd_s3.app"] = ModuleType("tusd_s3.app")
    tusd_s3.app.serve_app = App
    tusd_s3.app.check_stores = check_stores
    tusd_s3.app.StartupError = StartupError
    sys.exit(cli.main())
"""


def environment(**variables: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.upper().startswith("TUSD_S3_")}
    root = str(Path(tusd_s3.__file__).resolve().parents[1])
    return {**kept, "PYTHONPATH": root, "COLUMNS": "100", **variables}


def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


def refusal_of(status: int, stdout: str, stderr: str) -> str:
    """The one line that the command refused with."""
    assert status == 2
    assert stdout == ""
    lines = stderr.splitlines()
    assert len(lines) == 1, stderr
    assert lines[0].startswith("tusd-s3: ")
    assert lines[0].endswith((".", "?"))
    return lines[0]


Refuse = Callable[..., str]


@pytest.fixture
def refusal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Refuse:
    """Run the command in this process, where it starts in no time; the line it refuses with."""
    for name in os.environ:
        if name.upper().startswith("TUSD_S3_"):
            monkeypatch.delenv(name)

    def refuse(*arguments: str, **variables: str) -> str:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        status = cli.main(arguments)
        return refusal_of(status, *capsys.readouterr())

    return refuse


# --- Help


def test_the_help_of_serve_names_every_setting_its_variable_and_its_default() -> None:
    ended = run("serve", "--help")
    assert ended.returncode == 0
    assert ended.stderr == ""
    words = re.split(r"[\s;\[\]]+", ended.stdout)
    for field in Settings.model_fields:
        assert flag_name(field) in re.split(r"[\s,]+", ended.stdout), field
        assert env_name(field) in words, field
    for heading in ("S3:", "Redis:", "HTTP:", "Uploads:", "CORS:", "Logging:"):
        assert f"\n{heading}\n" in ended.stdout
    for part in ("default: 5MiB", "default: 24h", "--no-s3-equal-parts", "AWS_ACCESS_KEY_ID"):
        assert part in ended.stdout


@pytest.mark.parametrize("arguments", [("--help",), ("dev", "--help")])
def test_the_other_helps_are_there(arguments: tuple[str, ...]) -> None:
    ended = run(*arguments)
    assert ended.returncode == 0
    assert "tusd-s3" in ended.stdout


def test_the_version() -> None:
    assert run("--version").stdout == f"tusd-s3 {tusd_s3.__version__}\n"


# --- Refusals


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("--s3-bucket", "x"),
        ("--s3-bucket", "a\nb\nc"),
        ("--s3-bucket", ""),
        ("--s3-endpoint", "minio:9000"),
        ("--s3-region", "eu west"),
        ("--s3-object-prefix", "../x"),
        ("--s3-object-key", "{name}"),
        ("--s3-part-size", "1MiB"),
        ("--s3-part-size", "6GiB"),
        ("--s3-part-size", "big"),
        ("--s3-parts-max", "10001"),
        ("--s3-parts-max", "0"),
        ("--s3-concurrent-part-uploads", "65"),
        ("--s3-connections", "2"),
        ("--s3-timeout", "0"),
        ("--redis-url", "localhost:6379"),
        ("--redis-url", "http://localhost"),
        ("--redis-key-prefix", "{x}"),
        ("--redis-timeout", "soon"),
        ("--host", "not a host"),
        ("--host", "a..b"),
        ("--port", "65536"),
        ("--port", "http"),
        ("--workers", "0"),
        ("--base-path", "/a/../b"),
        ("--public-url", "example.com"),
        ("--trusted-proxies", "10.0.0.1/8"),
        ("--shutdown-timeout", "2h"),
        ("--max-size", "0"),
        ("--upload-lifetime", "0s"),
        ("--network-timeout", "1 week"),
        ("--lease-ttl", "61s"),
        ("--lease-wait", "0"),
        ("--checkpoint-interval", "nan"),
        ("--cors-allow-origin", "*.example.com"),
        ("--cors-allow-headers", "a b"),
        ("--cors-expose-headers", "a:b"),
        ("--cors-max-age", "2d"),
        ("--log-level", "trace"),
        ("--log-format", "xml"),
    ],
)
def test_a_wrong_value_is_one_line_with_the_setting_and_the_value(
    refusal: Refuse, flag: str, value: str
) -> None:
    line = refusal("serve", *REQUIRED, flag, value)
    assert flag in line
    assert repr(value) in line


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"TUSD_S3_WORKERS": "many"}, "TUSD_S3_WORKERS) is 'many'"),
        ({"TUSD_S3_S3_EQUAL_PARTS": "maybe"}, "TUSD_S3_S3_EQUAL_PARTS) is 'maybe'"),
        ({"TUSD_S3_WORKER": "2"}, "did you mean TUSD_S3_WORKERS?"),
        ({"TUSD_S3_CORS_ALLOW_CREDENTIALS": "true"}, "any page could upload"),
    ],
)
def test_a_wrong_variable_is_one_line(
    refusal: Refuse, variables: dict[str, str], expected: str
) -> None:
    line = refusal("serve", *REQUIRED, **variables)
    assert expected in line


def test_what_is_required_is_named(refusal: Refuse) -> None:
    assert "TUSD_S3_S3_BUCKET" in refusal("serve")
    assert "--redis-url" in refusal("serve", TUSD_S3_S3_BUCKET="uploads")


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("fly",),
        ("serve", "--s3-bucket"),
        ("serve", "--s3-buck", "x"),
        ("serve", "stray"),
        ("serve", "--stray=a\nb"),
        ("dev", "--port", "x"),
        ("dev", "--port", "65536"),
        ("dev", "--log-level", "loud"),
    ],
)
def test_a_wrong_command_line_is_one_line(refusal: Refuse, arguments: tuple[str, ...]) -> None:
    assert "--help" in refusal(*arguments)


@pytest.mark.parametrize(
    ("arguments", "variables"),
    [
        (("serve", *REQUIRED, "--workers", "0"), {}),
        (("serve", *REQUIRED), {"TUSD_S3_WORKERS": "0"}),
        (("serve",), {}),
        (("fly",), {}),
    ],
    ids=["value", "variable", "required", "command"],
)
def test_the_process_says_and_ends_as_its_function_does(
    refusal: Refuse, arguments: tuple[str, ...], variables: dict[str, str]
) -> None:
    """The tests above look at the function, this one at both."""
    ended = run(*arguments, **variables)
    said = refusal_of(ended.returncode, ended.stdout, ended.stderr)
    assert said == refusal(*arguments, **variables)


def test_a_password_is_masked(refusal: Refuse) -> None:
    assert "hunter2" not in refusal("serve", *REQUIRED, "--redis-url", "http://:hunter2@host")


def test_a_port_in_use_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        ended = run("serve", *REQUIRED, "--port", port)
    line = refusal_of(ended.returncode, ended.stdout, ended.stderr)
    assert f"port {port}" in line
    assert "in use" in line


# --- Serving


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "server.py"
    path.write_text(SERVER)
    return path


@contextmanager
def serving(script: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The running command and the URL that it says it serves at."""
    command = [sys.executable, "-W", "error", str(script), "serve", *REQUIRED, "--port", "0"]
    with subprocess.Popen(
        [*command, *arguments], env=environment(), stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stderr is not None
            lines = iter(process.stderr.readline, "")
            said = (re.search(r"http://[^\s\"]+", line) for line in lines)
            found = next(match for match in said if match)
            for _ in lines:
                if _.count("startup complete"):
                    break
            yield process, found[0]
        finally:
            process.kill()


def ask(url: str) -> tuple[int, str]:
    """The process that answered, and the rest of what it said."""
    pid, _, rest = httpx.get(url, timeout=TIMEOUT_S).text.partition(" ")
    return int(pid), rest


def test_one_worker_serves_in_the_process_itself_until_it_is_told_to_stop(script: Path) -> None:
    with serving(script, "--base-path", "up") as (process, url):
        assert url.endswith("/up/")
        assert ask(url) == (process.pid, "uploads 127.0.0.1")
        process.send_signal(signal.SIGTERM)
        # uvicorn ends by the signal that it was stopped with, once all is in order.
        assert process.wait(TIMEOUT_S) == -signal.SIGTERM
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()


def test_an_interrupt_ends_it_without_a_traceback(script: Path) -> None:
    with serving(script) as (process, _):
        process.send_signal(signal.SIGINT)
        assert process.wait(TIMEOUT_S) == 130
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()


def test_several_workers_serve_the_same_settings_from_one_port(script: Path) -> None:
    with serving(script, "--workers", "2", "--host", "localhost") as (process, url):
        answers = {ask(url) for _ in range(20)}
        assert {rest for _, rest in answers} == {"uploads 127.0.0.1"}
        assert process.pid not in {pid for pid, _ in answers}
        process.send_signal(signal.SIGTERM)
        assert process.wait(TIMEOUT_S) == 0
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()


def test_the_server_dates_its_responses_and_says_nothing_of_itself(script: Path) -> None:
    with serving(script) as (_, url):
        headers = httpx.get(url).headers
        assert "date" in headers
        assert "server" not in headers


def test_a_client_cannot_choose_its_address_by_a_header(script: Path) -> None:
    with serving(script) as (_, url):
        answer = httpx.get(url, headers={"X-Forwarded-For": "203.0.113.9"})
        assert answer.text.endswith(" 127.0.0.1")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_server_that_cannot_start_ends_with_a_failure(script: Path, workers: str) -> None:
    ended = subprocess.run(
        [sys.executable, str(script), "serve", *REQUIRED, "--s3-bucket", "lifespan-fails",
         "--port", "0", "--workers", workers],
        env=environment(), capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
    )  # fmt: skip
    assert ended.returncode == 3


def test_stores_that_do_not_work_are_one_line(script: Path) -> None:
    ended = subprocess.run(
        [sys.executable, str(script), "serve", *REQUIRED, "--s3-bucket", "no-such-bucket",
         "--port", "0"],
        env=environment(), capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
    )  # fmt: skip
    assert ended.returncode == 2
    assert ended.stderr == "tusd-s3: There is no bucket 'no-such-bucket'.\n"


@pytest.mark.parametrize("workers", ["1", "2"])
def test_every_line_of_every_process_is_in_the_chosen_format(script: Path, workers: str) -> None:
    with serving(script, "--workers", workers, "--log-format", "json", "--log-level", "debug") as (
        process,
        url,
    ):
        ask(url)
        process.send_signal(signal.SIGTERM)
        process.wait(TIMEOUT_S)
        assert process.stderr is not None
        entries = [json.loads(line) for line in process.stderr.read().splitlines()]
    assert any(entry["logger"] == "uvicorn.access" for entry in entries)
