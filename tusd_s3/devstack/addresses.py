"""How other machines reach this one: a phone in the same network, above all."""

from __future__ import annotations

import ipaddress
import socket
from contextlib import closing
from typing import Final

_ELSEWHERE: Final = (
    (socket.AF_INET, "192.0.2.1"),
    (socket.AF_INET6, "2001:db8::1"),
)
"""Addresses that are nobody's (RFC 5737, RFC 3849). Nothing is sent to them."""


def origin_for_others(host: str, port: int) -> str | None:
    """The address of a server that listens on `host`, as a URL without a path; None if only this
    machine can reach it. `host`: as an option says it."""
    bare = host.removeprefix("[").removesuffix("]")
    try:
        address = ipaddress.ip_address(bare)
    except ValueError:  # a name
        return None if bare == "localhost" else f"http://{bare}:{port}"
    if address.is_loopback:
        return None
    if address.is_unspecified:
        found = _own_address(6 if address.version == 6 else 4)
        return None if found is None else f"http://{found}:{port}"
    return f"http://[{bare}]:{port}" if address.version == 6 else f"http://{bare}:{port}"


def _own_address(version: int) -> str | None:
    """The address this machine would send from. One that listens on all of IPv6 takes IPv4 too."""
    for family, elsewhere in _ELSEWHERE[: 1 if version == 4 else 2]:
        with closing(socket.socket(family, socket.SOCK_DGRAM)) as probe:
            try:
                probe.connect((elsewhere, 9))  # of UDP: chooses an address, and that is all
            except OSError:
                continue
            found = str(probe.getsockname()[0])
            return f"[{found}]" if family == socket.AF_INET6 else found
    return None
