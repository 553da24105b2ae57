"""Who is believed when it says how clients reach this server.

Anybody can send `Forwarded` or `X-Forwarded-*`. They are read only when the peer of the connection
is a trusted proxy; what they mean is `tusd_s3.protocol.location`'s business. The request itself
(`scheme`, `client`, headers) stays as it came, for logs and limits that are about the peer.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from tusd_s3.protocol.fields import Fields
from tusd_s3.protocol.location import FORWARDING_NAMES, parse_forwarded

FORWARDED_KEY: Final = "tusd_s3.forwarded"
"""Scope key of the `ForwardedInfo`; None when no trusted proxy said anything usable."""


class ForwardedMiddleware:
    """Puts what a trusted proxy said into the scope, and None there for everybody else."""

    def __init__(self, app: ASGIApp, trusted: Sequence[IPv4Network | IPv6Network]) -> None:
        self.app = app
        self._trusted = tuple(trusted)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything on; lifespan and websocket scopes are left alone."""
        if scope["type"] == "http":
            headers, info = scope["headers"], None
            says_nothing = FORWARDING_NAMES.isdisjoint(dict(headers))
            if not says_nothing and is_trusted(scope.get("client"), self._trusted):
                info = parse_forwarded(Fields(headers))
            scope[FORWARDED_KEY] = info
        await self.app(scope, receive, send)


def is_trusted(
    client: Sequence[object] | None, trusted: Sequence[IPv4Network | IPv6Network]
) -> bool:
    """Whether the peer `client` (host, port) is in one of the networks `trusted`.

    A socket that listens on IPv6 shows IPv4 peers as `::ffff:a.b.c.d`: such a peer is its IPv4
    address. A peer without an address (a Unix socket) is not trusted.
    """
    if not client:
        return False
    try:
        address = ip_address(str(client[0]))
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address in network for network in trusted)
