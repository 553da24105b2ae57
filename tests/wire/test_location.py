"""Line 14: `Location` is the address clients must use, whatever stands in between."""

from __future__ import annotations

import pytest

from tests.conftest import StartServer
from tests.support.tus import TUS, RawClient, id_of
from tests.support.world import World


def base_of(client: RawClient, headers: dict[str, str] | list[tuple[str, str]]) -> str:
    """`Location` of a new upload up to its id."""
    pairs = [*TUS.items(), ("Upload-Length", "3"), *dict(headers).items()]
    response = client.request("POST", client.base_path, pairs)
    assert response.status == 201, response
    location = response.headers["Location"]
    assert len(id_of(location)) == 22
    return location.removesuffix(id_of(location))


def test_line_14_location_is_absolute_and_can_be_used(world: World) -> None:
    address = f"http://127.0.0.1:{world.client.address[1]}/files/"
    assert base_of(world.client, {}) == address


@pytest.mark.parametrize("host", ["uploads.example.com", "uploads.example.com:8443", "[::1]:80"])
def test_line_14_location_names_the_host_the_client_used(client: RawClient, host: str) -> None:
    assert base_of(client, {"Host": host}) == f"http://{host}/files/"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"X-Forwarded-Proto": "https"}, "https://app/files/"),
        ({"X-Forwarded-Host": "u.example.com"}, "http://u.example.com/files/"),
        (
            {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "u.example.com"},
            "https://u.example.com/files/",
        ),
        (
            {"X-Forwarded-Proto": "https", "X-Forwarded-Port": "8443"},
            "https://app:8443/files/",
        ),
        ({"X-Forwarded-Proto": "https", "X-Forwarded-Port": "443"}, "https://app/files/"),
        ({"X-Forwarded-Prefix": "/storage"}, "http://app/storage/files/"),
        (
            {"X-Forwarded-Proto": "https, http", "X-Forwarded-Host": "a.example, b.internal"},
            "https://a.example/files/",
        ),
        ({"Forwarded": "proto=https;host=u.example.com"}, "https://u.example.com/files/"),
        (
            {"Forwarded": 'for=1.2.3.4;host="u.example.com:8443";proto=https, for=10.0.0.1'},
            "https://u.example.com:8443/files/",
        ),
        (
            {"Forwarded": "proto=https;host=u.example.com", "X-Forwarded-Host": "other"},
            "https://u.example.com/files/",
        ),
    ],
)
def test_line_14_a_trusted_proxy_tells_the_public_address(
    client: RawClient, headers: dict[str, str], expected: str
) -> None:
    assert base_of(client, {"Host": "app"} | headers) == expected


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Forwarded-Proto": "javascript"},
        {"X-Forwarded-Host": "evil.example/path?"},
        {"X-Forwarded-Host": "a@b"},
        {"X-Forwarded-Prefix": "//evil.example"},
        {"X-Forwarded-Prefix": "/../../x"},
        {"X-Forwarded-Port": "99999"},
        {"Forwarded": 'host="evil.example/x";proto=gopher'},
    ],
)
def test_line_14_what_no_proxy_says_is_ignored(client: RawClient, headers: dict[str, str]) -> None:
    assert base_of(client, {"Host": "app"} | headers) == "http://app/files/"


@pytest.fixture(scope="module")
def distrustful(start_module_server: StartServer) -> RawClient:
    """A server whose trusted proxies are elsewhere."""
    return start_module_server(trusted_proxies="10.1.2.3,10.9.0.0/16").client


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "evil.example"},
        {"X-Forwarded-Port": "1234"},
        {"X-Forwarded-Prefix": "/evil"},
        {"Forwarded": "proto=https;host=evil.example"},
        {"Forwarded": "for=10.1.2.3;host=evil.example", "X-Forwarded-For": "10.1.2.3"},
    ],
)
def test_line_14_nobody_else_is_believed(distrustful: RawClient, headers: dict[str, str]) -> None:
    assert base_of(distrustful, {"Host": "app"} | headers) == "http://app/files/"


@pytest.mark.parametrize(
    ("public_url", "expected"),
    [
        ("https://u.example.com", "https://u.example.com/files/"),
        ("https://u.example.com/a/b/", "https://u.example.com/a/b/"),
    ],
)
def test_line_14_a_configured_public_url_is_final(
    start_server: StartServer, public_url: str, expected: str
) -> None:
    client = start_server(public_url=public_url).client
    forwarded = {"X-Forwarded-Proto": "http", "X-Forwarded-Host": "other", "Host": "app"}
    assert base_of(client, forwarded) == expected


@pytest.mark.parametrize("host", ["", "a b", "a/b", "a@b", "evil\u00e9", "x:99999", "a?b"])
def test_line_14_a_host_that_is_none_never_reaches_location(world: World, host: str) -> None:
    with world.unchanged():
        headers = TUS | {"Upload-Length": "3", "Host": host}
        assert world.client.request("POST", "/files/", headers).status == 400
