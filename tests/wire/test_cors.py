"""Line 27: what browsers must be told, on errors as well."""

from __future__ import annotations

import pytest

from tests.conftest import StartServer
from tests.support.cors import ALLOWED, EXPOSED, METHODS
from tests.support.raw import RawResponse
from tests.support.tus import TUS, RawClient, patch_headers

UNKNOWN = "/files/AAAAAAAAAAAAAAAAAAAAAA"
PAGE = "https://app.example"


def preflight(client: RawClient, target: str, origin: str = PAGE, **asked: str) -> RawResponse:
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": asked.get("method", "PATCH"),
        "Access-Control-Request-Headers": asked.get("headers", "tus-resumable,upload-offset"),
    }
    return client.request("OPTIONS", target, headers)


@pytest.mark.parametrize("target", ["/files/", UNKNOWN])
def test_line_27_a_preflight_allows_what_tus_clients_send(client: RawClient, target: str) -> None:
    response = preflight(client, target)
    assert response.status in {200, 204}
    assert response.headers["Access-Control-Allow-Origin"] in {"*", PAGE}
    assert response.headers.tokens("Access-Control-Allow-Methods") >= METHODS
    assert response.headers.tokens("Access-Control-Allow-Headers") >= ALLOWED
    assert int(response.headers["Access-Control-Max-Age"]) > 0


def responses(client: RawClient, origin: str) -> list[RawResponse]:
    """One response of many kinds to a page of `origin`, errors above all."""
    said = {"Origin": origin}
    path = client.new_upload(10)
    return [
        client.create(10, headers=said),
        client.head(path, said),
        client.patch(path, 0, b"abc", said),
        client.create(5, headers=said | {"Upload-Length": "x"}),
        client.head(UNKNOWN, said),
        client.request("PUT", path, TUS | said),
        client.patch(path, 9, b"a", said),
        client.request("PATCH", path, said),
        client.patch(path, 3, b"a" * 20, said),
        client.patch(path, 3, b"a", said | {"Content-Type": "text/plain"}),
        client.create(5, headers=said | {"Upload-Metadata": "k " + "A" * 9000}),
        client.request("GET", "/files/not/there", TUS | said),
        client.request("OPTIONS", "/files/", said),
    ]


def test_line_27_every_response_can_be_read_by_a_page(client: RawClient) -> None:
    for response in responses(client, PAGE):
        assert response.headers["Access-Control-Allow-Origin"] in {"*", PAGE}, response
        assert response.headers.tokens("Access-Control-Expose-Headers") >= EXPOSED, response
        assert "Access-Control-Allow-Credentials" not in response.headers


def test_line_27_an_interrupted_patch_can_be_read_too(client: RawClient) -> None:
    path = client.new_upload(6)
    with client.connect() as holder:
        holder.send_head("PATCH", path, patch_headers(0, 6) | {"Origin": PAGE})
        holder.send(b"abc")
        holder.assert_silent_for(0.3)
        client.head(path)
        response = holder.read_response()
    assert response.status == 423
    assert response.headers["Access-Control-Allow-Origin"] in {"*", PAGE}


@pytest.fixture(scope="module")
def strict(start_module_server: StartServer) -> RawClient:
    """A server for pages of two origins only."""
    origins = "https://app.example,http://localhost:3000"
    return start_module_server(cors_allow_origin=origins).client


@pytest.mark.parametrize("origin", [PAGE, "http://localhost:3000"])
def test_line_27_listed_origins_are_echoed(strict: RawClient, origin: str) -> None:
    for response in [preflight(strict, "/files/", origin), *responses(strict, origin)]:
        assert response.headers["Access-Control-Allow-Origin"] == origin
        assert "origin" in response.headers.tokens("Vary")


@pytest.mark.parametrize(
    "origin",
    [
        "https://app.example.evil.org",
        "https://evil.org",
        "http://app.example",
        "https://app.example:444",
        "https://xapp.example",
        "https://app-example",
        "http://localhost:30001",
        "null",
        "*",
        "",
    ],
)
def test_line_27_no_other_origin_is_allowed(strict: RawClient, origin: str) -> None:
    for response in [preflight(strict, "/files/", origin), *responses(strict, origin)]:
        assert "Access-Control-Allow-Origin" not in response.headers
        assert "Access-Control-Allow-Credentials" not in response.headers


def test_line_27_answers_that_depend_on_the_origin_say_so(strict: RawClient) -> None:
    assert "origin" in preflight(strict, "/files/", "https://evil.org").headers.tokens("Vary")
