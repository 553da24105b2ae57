"""A Redis that keeps what it was given: append-only file, and nothing is ever evicted."""

from __future__ import annotations

import socket

from tusd_s3.devstack.binaries import find_redis
from tusd_s3.devstack.free_ports import LOOPBACK
from tusd_s3.devstack.server import LocalServer

_PROBE_TIMEOUT_S = 2.0
_ANSWER_MAX_BYTES = 16_384


class LocalRedis(LocalServer):
    """`redis-server` on the loopback interface, without a password."""

    name = "The local Redis"

    @property
    def url(self) -> str:
        """Its address for clients."""
        return f"redis://{LOOPBACK}:{self.port}/0"

    address = url

    def _command(self, ports: list[int]) -> list[str]:
        options = {
            "bind": LOOPBACK,
            "port": str(ports[0]),
            "dir": str(self.data_dir),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            "maxmemory-policy": "noeviction",
            "daemonize": "no",
            "logfile": "",
        }
        arguments = [word for name, value in options.items() for word in (f"--{name}", value)]
        return [str(find_redis()), *arguments]

    def _is_ready(self, ports: list[int]) -> bool:
        # The process id tells our Redis from another one that was quicker to take the port.
        answer = _ask(ports[0], b"PING\r\nINFO server\r\n", until=b"process_id:")
        return answer.startswith(b"+PONG") and f"process_id:{self.pid}\r".encode() in answer


def _ask(port: int, commands: bytes, *, until: bytes) -> bytes:
    answer = b""
    with socket.create_connection((LOOPBACK, port), _PROBE_TIMEOUT_S) as connection:
        connection.settimeout(_PROBE_TIMEOUT_S)
        connection.sendall(commands)
        while len(answer) < _ANSWER_MAX_BYTES:
            received = connection.recv(4096)
            answer += received
            line = answer.partition(until)[2]
            if not received or b"\r" in line or answer.startswith(b"-"):
                break
    return answer
