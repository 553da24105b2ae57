"""TCP ports of the loopback interface that nobody listens on."""

from __future__ import annotations

import random
import socket

from tusd_s3.devstack.errors import DevStackError

LOOPBACK = "127.0.0.1"

# Below the ports that systems hand out to outgoing connections (32768 and up on Linux, 49152 and
# up on macOS): one of those could take the port while its server is down for a restart, even a
# client that connects to the port it was given itself and so talks to itself.
_CANDIDATES = range(15_000, 32_000)
_ATTEMPTS_MAX = 1_000


def free_ports(count: int) -> list[int]:
    """`count` different ports that are free now; another process may be quicker to take one.

    Raises:
        DevStackError: there are none.
    """
    found: set[int] = set()
    for _ in range(_ATTEMPTS_MAX):
        port = random.choice(_CANDIDATES)  # noqa: S311 - nothing depends on it being secret
        if _is_free(port):
            found.add(port)
        if len(found) == count:
            return list(found)
    raise DevStackError(f"There are no {count} free ports on {LOOPBACK}.")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True
