"""What a browser is told: which pages may send what, and which headers they may read."""

from __future__ import annotations

from collections.abc import Sequence

import httpx
import pytest
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.support.cors import ALLOWED, EXPOSED
from tusd_s3.middleware.cors import with_cors

PAGE = "https://page.example.com"
OTHER = "https://other.example.com"


async def _app(scope: Scope, receive: Receive, send: Send) -> None:
    status = int(scope["path"].removeprefix("/"))
    await Response(status_code=status, headers={"Vary": "Accept"})(scope, receive, send)


def cors(
    *, origins: Sequence[str] = ("*",), credentials: bool = False, extra: Sequence[str] = ()
) -> ASGIApp:
    return with_cors(
        _app,
        allow_origin=origins,
        allow_credentials=credentials,
        allow_headers=extra,
        expose_headers=extra,
        max_age_s=7200.0,
    )


async def request(app: ASGIApp, method: str, path: str = "/204", **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://s") as client:
        return await client.request(method, path, headers=named)


async def preflight(
    app: ASGIApp, *, origin: str = PAGE, method: str = "PATCH", headers: str = ""
) -> httpx.Response:
    asked = {"Origin": origin, "Access_Control_Request_Method": method}
    if headers:
        asked["Access_Control_Request_Headers"] = headers
    return await request(app, "OPTIONS", "/500", **asked)


def names(response: httpx.Response, header: str) -> set[str]:
    return {it.strip().lower() for it in response.headers.get(header, "").split(",") if it.strip()}


@pytest.mark.parametrize("method", ["POST", "GET", "HEAD", "PATCH", "DELETE", "OPTIONS"])
async def test_a_preflight_is_answered_200_without_the_application(method: str) -> None:
    response = await preflight(cors(), method=method, headers=",".join(sorted(ALLOWED)))
    assert response.status_code == 200
    assert response.headers["access-control-allow-origin"] == "*"
    assert response.headers["access-control-max-age"] == "7200"
    assert method.lower() in names(response, "access-control-allow-methods")
    assert names(response, "access-control-allow-headers") >= ALLOWED
    assert "access-control-allow-credentials" not in response.headers


async def test_a_preflight_varies_by_all_it_looked_at() -> None:
    """A shared cache must not hand one page's permission to another."""
    response = await preflight(cors(origins=[PAGE]))
    assert names(response, "vary") >= {
        "origin", "access-control-request-method", "access-control-request-headers",
    }  # fmt: skip


async def test_configured_request_headers_are_allowed_in_any_case() -> None:
    response = await preflight(cors(extra=["X-Tenant"]), headers="x-tenant, TUS-RESUMABLE")
    assert response.status_code == 200
    assert "x-tenant" in names(response, "access-control-allow-headers")


async def test_an_unknown_request_header_or_method_is_not_allowed() -> None:
    assert (await preflight(cors(), headers="x-tenant")).status_code == 400
    refused = await preflight(cors(), method="PUT")
    assert refused.status_code == 400
    assert "put" not in names(refused, "access-control-allow-methods")


async def test_options_without_a_preflight_reaches_the_application() -> None:
    assert (await request(cors(), "OPTIONS", Origin=PAGE)).status_code == 204


@pytest.mark.parametrize("status", [200, 201, 204, 404, 409, 413, 423, 460, 500, 503])
async def test_every_response_is_readable_for_the_page_errors_included(status: int) -> None:
    response = await request(cors(extra=["X-Trace"]), "GET", f"/{status}", Origin=PAGE)
    assert response.status_code == status
    assert response.headers["access-control-allow-origin"] == "*"
    assert names(response, "access-control-expose-headers") == EXPOSED | {"x-trace"}
    assert names(response, "vary") == {"accept", "origin"}


async def test_a_listed_origin_is_echoed_and_another_one_gets_nothing() -> None:
    app = cors(origins=[PAGE])
    listed = await request(app, "GET", Origin=PAGE)
    assert listed.headers["access-control-allow-origin"] == PAGE
    other = await request(app, "GET", Origin=OTHER)
    assert "access-control-allow-origin" not in other.headers
    assert "origin" in names(listed, "vary") & names(other, "vary")
    refused = await preflight(app, origin=OTHER)
    assert "access-control-allow-origin" not in refused.headers


@pytest.mark.parametrize(
    "origin",
    [
        f"{PAGE}.evil.org", f"{PAGE}:8443", "http://page.example.com", "https://xpage.example.com",
        "https://page-example.com", "null", "", "*", f"{PAGE}/", f" {PAGE}, {OTHER}",
    ],
)  # fmt: skip
async def test_an_origin_is_compared_whole(origin: str) -> None:
    app = cors(origins=[PAGE])
    for response in (await request(app, "GET", Origin=origin), await preflight(app, origin=origin)):
        assert "access-control-allow-origin" not in response.headers


async def test_credentials_are_allowed_to_listed_origins_by_name() -> None:
    app = cors(origins=[PAGE, OTHER], credentials=True)
    for response in (await request(app, "GET", Origin=OTHER), await preflight(app, origin=OTHER)):
        assert response.headers["access-control-allow-origin"] == OTHER
        assert response.headers["access-control-allow-credentials"] == "true"
        assert "origin" in names(response, "vary")


def test_credentials_for_every_origin_are_refused() -> None:
    with pytest.raises(ValueError, match="list of origins"):
        cors(credentials=True)


async def test_without_origins_nothing_is_said() -> None:
    response = await request(cors(origins=[]), "GET", Origin=PAGE)
    assert not [name for name in response.headers if name.startswith("access-control")]


async def test_a_request_that_is_not_from_a_page_still_varies_by_origin() -> None:
    """Else a cache would answer a page with the response that lacks the headers."""
    assert "origin" in names(await request(cors(), "GET"), "vary")
