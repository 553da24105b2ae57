"""Lines 4 and 5: integers on the wire, and HEAD."""

from __future__ import annotations

import pytest

from tests.support.tus import TUS, RawClient, metadata_of, patch_headers
from tests.support.world import World

MALFORMED = [
    "-1", "+1", "1.5", "1e3", "0x10", "1_000", "1 0", "abc", "", "1,2", "\u0661", "\u00b2",
    "9999999999999999999", "99999999999999999999999999999999",
]  # fmt: skip
NO_UPLOADS = [
    "AAAAAAAAAAAAAAAAAAAAAA",
    "AAAAAAAAAAAAAAAAAAAAA",
    "AAAAAAAAAAAAAAAAAAAAAAA",
    "x",
    "a" * 300,
    "%2e%2e%2fetc%2fpasswd",
    "..%2f..%2fetc%2fpasswd",
    "AAAAAAAAAAAAAAAAAAAAA%00",
    "AAAAAAAAAAAAAAAAAAAAA%0a",
    "AAAAAAAAAA/AAAAAAAAAAA",
    "AAAAAAAAAA%2fAAAAAAAAAAA",
    ".tus/AAAAAAAAAAAAAAAAAAAAAA.json",
    "AAAAAAAAAAAAAAAAAAAAA%C3%A9",
    "%ff%fe",
    "*",
    "AAAAAAAAAAAAAAAAAAAAAA/",
    "../files/AAAAAAAAAAAAAAAAAAAAAA",
    "./AAAAAAAAAAAAAAAAAAAAAA",
]


@pytest.mark.parametrize("value", MALFORMED)
def test_line_04_a_malformed_length_is_400(world: World, value: str) -> None:
    with world.unchanged():
        response = world.client.create(None, headers={"Upload-Length": value})
        assert response.status == 400, response
        headers = TUS | {"Upload-Length": value}
        response = world.client.request("POST", "/files/", headers)
        assert (response.status, response.code) == (400, "invalid_header")


@pytest.mark.parametrize("value", MALFORMED)
def test_line_04_a_malformed_offset_is_400(world: World, value: str) -> None:
    path = world.client.new_upload(10)
    with world.unchanged():
        response = world.client.patch(path, 0, b"abc", {"Upload-Offset": value})
        assert (response.status, response.code) == (400, "invalid_header")


def test_line_04_a_missing_offset_is_400(world: World) -> None:
    path = world.client.new_upload(10)
    headers = patch_headers(0, 3)
    del headers["Upload-Offset"]
    with world.unchanged():
        assert world.client.request("PATCH", path, headers, b"abc").status == 400


def test_line_04_two_values_for_one_integer_are_400(world: World) -> None:
    client = world.client
    path = client.new_upload(10)
    twice_offset = [*patch_headers(0, 3).items(), ("Upload-Offset", "0")]
    twice_length = [*TUS.items(), ("Upload-Length", "3"), ("Upload-Length", "4")]
    with world.unchanged():
        assert client.request("PATCH", path, twice_offset, b"abc").status == 400
        assert client.request("POST", "/files/", twice_length).status == 400


def test_line_05_head_tells_offset_length_and_that_it_is_not_to_be_stored(
    client: RawClient,
) -> None:
    path = client.new_upload(10, body=b"abc")
    response = client.head(path)
    assert response.status == 200
    assert response.offset == 3
    assert response.headers["Upload-Length"] == "10"
    assert response.headers["Cache-Control"] == "no-store"
    assert "Upload-Defer-Length" not in response.headers
    assert "Upload-Metadata" not in response.headers


def test_line_05_head_of_a_finished_upload(client: RawClient) -> None:
    path = client.new_upload(3, body=b"abc")
    response = client.head(path)
    assert (response.status, response.offset) == (200, 3)
    assert response.headers["Upload-Length"] == "3"


@pytest.mark.parametrize(
    "metadata",
    [
        metadata_of({"filename": "a.txt", "filetype": "text/plain"}),
        "b ,a YQ==",
        "key,other",
        "key YQ==, other Yg==",
        "Upper YQ==,lower Yg==,UPPER Yw==",
    ],
)
def test_line_05_head_returns_the_metadata_as_it_was_sent(client: RawClient, metadata: str) -> None:
    path = client.new_upload(5, metadata=metadata)
    assert client.head(path).headers["Upload-Metadata"] == metadata
    client.upload_from(path, b"abcde")
    assert client.head(path).headers["Upload-Metadata"] == metadata


@pytest.mark.parametrize("name", NO_UPLOADS)
@pytest.mark.parametrize("method", ["HEAD", "PATCH", "DELETE"])
def test_line_05_what_is_no_upload_is_404_without_an_offset(
    world: World, method: str, name: str
) -> None:
    headers = patch_headers(0, 1) if method == "PATCH" else TUS
    body = b"x" if method == "PATCH" else None
    response = world.client.request(method, f"/files/{name}", headers, body)
    assert response.status == 404, response
    assert "Upload-Offset" not in response.headers


def test_line_05_ids_that_are_not_ours_touch_nothing(world: World) -> None:
    client = world.client
    path = client.new_upload(10, body=b"abc")
    with world.unchanged():
        for name in NO_UPLOADS:
            client.request("DELETE", f"/files/{name}", TUS)
            client.request("PATCH", f"/files/{name}", patch_headers(0, 1), b"x")
    assert client.offset_of(path) == 3


def test_line_05_an_id_is_matched_exactly(client: RawClient) -> None:
    path = client.new_upload(10)
    for variant in [path + "/", path + "%20", path[:-1], path.upper(), path + "?x=1#y", path + "."]:
        expected = 200 if "?" in variant else 404
        if variant != path:
            assert client.head(variant).status == expected, variant


def test_line_05_other_methods_and_paths_do_nothing(world: World) -> None:
    client = world.client
    path = client.new_upload(10, body=b"abc")
    with world.unchanged():
        for method in ["PUT", "TRACE", "PROPFIND", "FOO", "patch"]:
            assert client.request(method, path, TUS).status in {400, 405}, method
        for method in ["PATCH", "DELETE", "PUT", "HEAD"]:
            response = client.request(method, "/files/", patch_headers(0, 1), b"x")
            assert response.status in {404, 405}, (method, response)
        for target in ["/", "/files-and-more/", "/filesx", "//files//", "/FILES/"]:
            length = TUS | {"Upload-Length": "3"}
            assert client.request("POST", target, length).status in {404, 405}, target
        assert client.request("POST", path, TUS | {"Upload-Length": "3"}).status in {404, 405}


def test_line_05_a_refused_method_names_those_allowed(client: RawClient) -> None:
    path = client.new_upload(10)
    response = client.request("PUT", path, TUS)
    assert (response.status, response.code) == (405, "method_not_allowed")
    assert {"head", "patch", "delete", "options"} <= response.headers.tokens("Allow")
