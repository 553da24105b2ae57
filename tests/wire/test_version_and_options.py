"""Lines 1 to 3: the version that every exchange names, OPTIONS, and overridden methods."""

from __future__ import annotations

import pytest

from tests.conftest import StartServer
from tests.support.raw import RawResponse
from tests.support.tus import OCTET_STREAM, TUS, RawClient, patch_headers
from tests.support.world import World

UNKNOWN = "/files/AAAAAAAAAAAAAAAAAAAAAA"
WRONG_VERSIONS = ["0.2.2", "1.0.1", "2.0.0", "1.0", "", "1.0.0, 1.0.0", "1.0.0x"]


def test_line_01_every_response_names_the_version(client: RawClient) -> None:
    path = client.new_upload(10)
    finished = client.new_upload(0)
    responses = {
        200: client.head(path),
        201: client.create(5),
        204: client.request("OPTIONS", "/files/"),
        400: client.create(5, headers={"Upload-Length": "five"}),
        404: client.head(UNKNOWN),
        405: client.request("PUT", path, TUS),
        409: client.patch(path, 3, b"abc"),
        412: client.request("POST", "/files/", {"Upload-Length": "5"}),
        413: client.patch(finished, 0, b"abc"),
        415: client.patch(path, 0, b"abc", {"Content-Type": "text/plain"}),
    }
    for status, response in responses.items():
        assert response.status == status, response
        assert response.headers["Tus-Resumable"] == "1.0.0", response
    outside = client.request("GET", "/nowhere", TUS)
    assert outside.status == 404
    assert outside.headers["Tus-Resumable"] == "1.0.0"


def without_version(headers: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name != "Tus-Resumable"}


def assert_unsupported(response: RawResponse) -> None:
    assert response.status == 412, response
    assert response.headers["Tus-Version"] == "1.0.0"


@pytest.mark.parametrize("version", [None, *WRONG_VERSIONS])
def test_line_01_any_other_version_is_412_and_nothing_is_processed(
    world: World, version: str | None
) -> None:
    client = world.client
    path = client.new_upload(10, body=b"abc")
    named = {} if version is None else {"Tus-Resumable": version}
    with world.unchanged():
        patch = without_version(patch_headers(3, 4)) | named
        assert_unsupported(client.request("PATCH", path, patch, b"defg"))
        assert_unsupported(client.request("DELETE", path, named))
        post = {"Upload-Length": "4", "Content-Type": OCTET_STREAM} | named
        assert_unsupported(client.request("POST", "/files/", post, b"abcd"))
    assert client.offset_of(path) == 3


@pytest.mark.parametrize("version", WRONG_VERSIONS)
def test_line_01_head_with_another_version_is_412(client: RawClient, version: str) -> None:
    path = client.new_upload(10)
    response = client.request("HEAD", path, {"Tus-Resumable": version})
    assert_unsupported(response)
    assert "Upload-Offset" not in response.headers


def test_line_01_head_without_a_version_is_answered(client: RawClient) -> None:
    path = client.new_upload(10)
    assert client.request("HEAD", path).status == 200


def test_line_01_the_version_is_judged_before_any_body_byte(client: RawClient) -> None:
    path = client.new_upload(10)
    headers = without_version(patch_headers(0, 10)) | {"Expect": "100-continue"}
    with client.connect() as connection:
        connection.send_head("PATCH", path, headers)
        response = connection.read_response(within_s=3.0)
    assert_unsupported(response)
    assert response.interim == ()


def test_line_01_the_version_is_judged_before_anything_else(client: RawClient) -> None:
    headers = {"Upload-Offset": "x", "Content-Type": "text/plain", "Upload-Length": "-1"}
    assert_unsupported(client.request("PATCH", UNKNOWN, headers, b"abc"))


@pytest.mark.parametrize("target", ["/files/", UNKNOWN])
@pytest.mark.parametrize("version", [None, "0.2.2", "1.0.0"])
def test_line_02_options_tells_what_the_server_can(
    client: RawClient, target: str, version: str | None
) -> None:
    named = {} if version is None else {"Tus-Resumable": version}
    response = client.request("OPTIONS", target, named)
    assert response.status == 204
    assert response.body == b""
    assert "1.0.0" in response.headers["Tus-Version"].split(",")
    extensions = response.headers["Tus-Extension"]
    assert " " not in extensions
    assert {
        "creation",
        "creation-with-upload",
        "creation-defer-length",
        "expiration",
        "termination",
        "concatenation",
    } <= set(extensions.split(","))
    assert ("checksum" in extensions) == ("Tus-Checksum-Algorithm" in response.headers)


def test_line_02_options_works_on_an_existing_upload(client: RawClient) -> None:
    path = client.new_upload(10)
    assert client.request("OPTIONS", path).status == 204
    assert client.offset_of(path) == 0


def test_line_02_options_names_the_maximum(start_server: StartServer) -> None:
    limited = start_server(max_size="1MiB")
    assert limited.client.request("OPTIONS", "/files/").headers["Tus-Max-Size"] == "1048576"


def test_line_02_a_collection_may_live_anywhere(start_server: StartServer) -> None:
    elsewhere = start_server(base_path="/api/v1/up/")
    client = elsewhere.client
    path = client.new_upload(3)
    assert path.startswith("/api/v1/up/")
    assert client.patch(path, 0, b"abc").status == 204
    assert client.request("OPTIONS", "/files/").headers.get("Tus-Extension") is None
    assert client.request("POST", "/files/", TUS | {"Upload-Length": "3"}).status == 404


def override(method: str) -> dict[str, str]:
    return {"X-HTTP-Method-Override": method}


def test_line_03_post_with_an_override_is_that_method(client: RawClient) -> None:
    path = client.new_upload(6)
    headers = patch_headers(0, 3) | override("PATCH")
    assert client.request("POST", path, headers, b"abc").status == 204
    head = client.request("POST", path, TUS | override("HEAD"))
    assert (head.status, head.offset) == (200, 3)
    assert client.request("POST", path, TUS | override("DELETE")).status == 204
    assert client.head(path).status == 404


def test_line_03_an_overridden_patch_is_judged_as_a_patch(world: World) -> None:
    client = world.client
    path = client.new_upload(6)
    with world.unchanged():
        wrong_type = patch_headers(0, 3) | {"Content-Type": "text/plain"} | override("PATCH")
        assert client.request("POST", path, wrong_type, b"abc").status == 415
        no_version = without_version(patch_headers(0, 3)) | override("PATCH")
        assert client.request("POST", path, no_version, b"abc").status == 412


@pytest.mark.parametrize("method", ["HEAD", "PATCH", "OPTIONS", "GET"])
def test_line_03_no_other_method_is_replaced(world: World, method: str) -> None:
    client = world.client
    path = client.new_upload(6)
    with world.unchanged():
        client.request(method, path, TUS | override("DELETE"))
    assert client.head(path).status == 200


@pytest.mark.parametrize("method", ["PUT", "CONNECT", "TRACE", "POST", "x y", "é"])
def test_line_03_an_override_outside_the_list_is_refused(world: World, method: str) -> None:
    client = world.client
    path = client.new_upload(6)
    with world.unchanged():
        assert client.request("POST", path, TUS | override(method)).status in {400, 405}
