"""A real S3: SeaweedFS's master, volume server, filer and S3 gateway in one process."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from tusd_s3.devstack.binaries import find_weed
from tusd_s3.devstack.errors import DevStackError
from tusd_s3.devstack.free_ports import LOOPBACK
from tusd_s3.devstack.server import LocalServer

_PROBE_TIMEOUT_S = 2.0
_ANSWER_MAX_BYTES = 65_536
_CREDENTIALS_FILE = "s3.json"

# Volumes grow as they fill and nothing is preallocated, so many and large ones cost nothing; each
# bucket takes a few, and the disk is the only limit.
_VOLUME_SIZE_MAX_MIB = 1024
_VOLUMES_MAX = 10_000
_VOLUMES_PER_GROWTH = 3

_PORTS = (
    "s3.port", "s3.port.grpc", "master.port", "master.port.grpc",
    "volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc",
)  # fmt: skip
_OPTIONS = {
    "ip": LOOPBACK,
    "ip.bind": LOOPBACK,
    "dir": "data",
    "s3.config": _CREDENTIALS_FILE,
    "s3.iam": "false",
    # As elsewhere: a bucket that was not created is an error.
    "s3.autoCreateBucket": "false",
    "s3.port.iceberg": "0",
    "s3.port.lance": "0",
    # Relative, because a socket's path may have about 100 bytes only.
    "s3.localSocket": "s3.sock",
    "filer.localSocket": "filer.sock",
    # A single master need not look for others, which takes 2 s and makes early writes fail.
    "master.peers": "none",
    "master.telemetry": "false",
    "master.volumeSizeLimitMB": str(_VOLUME_SIZE_MAX_MIB),
    "volume.max": str(_VOLUMES_MAX),
    "volume.preStopSeconds": "0",
}


class LocalS3(LocalServer):
    """`weed server -s3` on the loopback interface; anonymous requests are refused."""

    name = "The local S3"
    port_count = len(_PORTS)
    # On SIGTERM its filer waits 15 s for the streams of its own S3 gateway, which never end. What
    # it answered is with the operating system by then, so SIGKILL loses nothing.
    grace_s = 0.5

    region = "us-east-1"
    access_key = ""
    secret_key = ""

    @property
    def endpoint(self) -> str:
        """Its address for clients."""
        return f"http://{LOOPBACK}:{self.port}"

    address = endpoint

    def _prepare(self) -> None:
        super()._prepare()
        data = self.data_dir / "data"
        data.mkdir(exist_ok=True)
        # The master makes a directory for each port it ever had, and learns all it needs from the
        # volume server at each start.
        for forgotten in data.glob("m[0-9]*"):
            shutil.rmtree(forgotten)
        self.access_key, self.secret_key = _credentials(self.data_dir / _CREDENTIALS_FILE)

    def _command(self, ports: list[int]) -> list[str]:
        options = {**_OPTIONS, **{name: str(p) for name, p in zip(_PORTS, ports, strict=True)}}
        arguments = [f"-{name}={value}" for name, value in options.items()]
        return [str(find_weed()), "-logtostderr=true", "server", "-s3", *arguments]

    def _environment(self) -> dict[str, str]:
        growth = {"WEED_MASTER_VOLUME_GROWTH_COPY_1": str(_VOLUMES_PER_GROWTH)}
        return super()._environment() | growth

    def _is_ready(self, ports: list[int]) -> bool:
        # The S3 gateway answers before there is a volume server that could take a byte.
        named = dict(zip(_PORTS, ports, strict=True))
        return _s3_answers(named["s3.port"]) and _has_volume_server(
            named["master.port"], named["volume.port"]
        )

    def _clean_up(self) -> None:
        # SeaweedFS puts these there whatever it is told, and SIGKILL leaves them.
        for name, port in zip(_PORTS, self._ports, strict=False):
            if name.endswith(".grpc"):
                socket = f"seaweedfs-{name.partition('.')[0]}-grpc-{port}.sock"
                Path("/tmp", socket).unlink(missing_ok=True)  # noqa: S108 - its choice, not ours


def _s3_answers(port: int) -> bool:
    status, _ = _get(port, "/")
    return status == 403 or 200 <= status < 300


def _has_volume_server(master_port: int, volume_port: int) -> bool:
    """Whether the master at this port knows our volume server, and so is ours."""
    status, body = _get(master_port, "/dir/status")
    return status == 200 and f'"Url":"{LOOPBACK}:{volume_port}"'.encode() in body


def _get(port: int, path: str) -> tuple[int, bytes]:
    connection = HTTPConnection(LOOPBACK, port, timeout=_PROBE_TIMEOUT_S)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read(_ANSWER_MAX_BYTES)
    except HTTPException as error:
        raise ConnectionError(str(error)) from error
    finally:
        connection.close()


def _credentials(path: Path) -> tuple[str, str]:
    """The access and secret key in SeaweedFS's configuration, which is made when missing."""
    if not path.exists():
        _write_private(path, json.dumps(_new_identities(), indent=2))
    try:
        key = json.loads(path.read_text())["identities"][0]["credentials"][0]
        return str(key["accessKey"]), str(key["secretKey"])
    except (ValueError, LookupError, TypeError):
        raise DevStackError(
            f"The credentials in {path} cannot be read: delete that file."
        ) from None


def _new_identities() -> dict[str, object]:
    key = {"accessKey": secrets.token_hex(10).upper(), "secretKey": secrets.token_urlsafe(30)}
    actions = ["Admin", "Read", "Write", "List", "Tagging"]
    return {"identities": [{"name": "tusd-s3-dev", "credentials": [key], "actions": actions}]}


def _write_private(path: Path, text: str) -> None:
    """Whole or not at all, and readable by nobody else from its first byte on."""
    partial = path.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    partial.replace(path)
