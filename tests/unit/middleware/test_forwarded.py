"""Forwarding headers count when a trusted proxy sends them, and only then."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from starlette.types import Message, Receive, Scope, Send

from tusd_s3.middleware.forwarded import FORWARDED_KEY, ForwardedMiddleware, is_trusted
from tusd_s3.protocol.location import ForwardedInfo

NETWORKS = tuple(ip_network(it) for it in ("127.0.0.0/8", "::1/128", "10.1.0.0/16", "fd00::/8"))

HEADERS = [
    (b"x-forwarded-proto", b"https"),
    (b"x-forwarded-host", b"uploads.example.com"),
    (b"x-forwarded-port", b"8443"),
    (b"x-forwarded-prefix", b"/api"),
]


async def _receive() -> Message:
    raise AssertionError("the middleware must not read the body")


async def _send(message: Message) -> None:
    raise AssertionError(f"the middleware must not answer: {message}")


async def through(scope: Scope) -> Scope:
    """The scope that the application sees."""
    seen: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert receive is _receive
        assert send is _send
        seen.append(scope)

    await ForwardedMiddleware(app, NETWORKS)(scope, _receive, _send)
    return seen[0]


def http(client: object, headers: list[tuple[bytes, bytes]]) -> Scope:
    return {"type": "http", "scheme": "http", "client": client, "headers": headers}


async def test_a_trusted_proxy_is_believed() -> None:
    scope = await through(http(("10.1.2.3", 40000), HEADERS))
    assert scope[FORWARDED_KEY] == ForwardedInfo(
        scheme="https", host="uploads.example.com", port=8443, prefix="/api"
    )


async def test_forwarded_is_read_too() -> None:
    headers = [(b"forwarded", b"for=1.2.3.4;proto=https;host=uploads.example.com")]
    scope = await through(http(("::1", 40000), headers))
    assert scope[FORWARDED_KEY] == ForwardedInfo(scheme="https", host="uploads.example.com")


@pytest.mark.parametrize("client", [("203.0.113.9", 40000), ("10.2.0.1", 1), None, ("", 0)])
async def test_anybody_else_is_ignored(client: object) -> None:
    scope = await through(http(client, HEADERS))
    assert scope[FORWARDED_KEY] is None


async def test_a_trusted_proxy_that_says_nothing_leaves_nothing() -> None:
    scope = await through(http(("127.0.0.1", 1), [(b"host", b"x"), (b"x-forwarded-proto", b"ftp")]))
    assert scope[FORWARDED_KEY] is None


async def test_the_request_itself_stays_as_it_came() -> None:
    scope = await through(http(("127.0.0.1", 1), HEADERS))
    assert scope["scheme"] == "http"
    assert scope["client"] == ("127.0.0.1", 1)
    assert scope["headers"] == HEADERS


async def test_a_scope_without_a_client_is_not_trusted() -> None:
    scope = await through({"type": "http", "headers": HEADERS})
    assert scope[FORWARDED_KEY] is None


@pytest.mark.parametrize("kind", ["lifespan", "websocket"])
async def test_other_scopes_pass_untouched(kind: str) -> None:
    assert await through({"type": kind}) == {"type": kind}


@pytest.mark.parametrize(
    ("address", "trusted"),
    [
        ("127.0.0.1", True),
        ("127.255.255.255", True),
        ("128.0.0.0", False),
        ("10.1.255.255", True),
        ("10.2.0.0", False),
        ("::1", True),
        ("::2", False),
        ("fd12:3456::1", True),
        ("::ffff:127.0.0.1", True),
        ("::ffff:10.1.0.1", True),
        ("::ffff:203.0.113.9", False),
        ("fd00::1%eth0", True),
        ("localhost", False),
        ("127.0.0.1:80", False),
        ("127.1", False),
        ("testclient", False),
    ],
)
def test_trust_is_decided_by_address(address: str, trusted: bool) -> None:
    assert is_trusted((address, 40000), NETWORKS) is trusted


def test_nobody_is_trusted_when_no_network_is() -> None:
    assert not is_trusted(("127.0.0.1", 1), ())
