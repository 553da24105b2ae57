"""The page of `tusd-s3 dev`: pinned scripts, a strict policy, and keys that stay text."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from importlib import resources

import httpx
import pytest
from starlette.applications import Starlette

from tusd_s3.devstack.page import FINISHED_MAX, page_routes
from tusd_s3.stores.s3 import ListedObject

PAGE = resources.files("tusd_s3.devstack").joinpath("page.html").read_text("utf-8")
EPOCH = datetime(2026, 1, 31, 12, tzinfo=UTC)
HOSTILE_KEYS = ["<img src=x onerror=alert(1)>", "</script><script>alert(1)</script>", '"\u2028&\0']


def served(objects: list[ListedObject], upload_path: str = "files/") -> httpx.AsyncClient:
    async def list_finished() -> list[ListedObject]:
        return objects

    app = Starlette(routes=[*page_routes(list_finished, upload_path)])
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://dev.test")


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with served([ListedObject(key, 5, EPOCH) for key in HOSTILE_KEYS]) as client:
        yield client


def test_everything_from_elsewhere_is_pinned_by_version_and_hash() -> None:
    foreign = re.findall(r"<(?:script|link)[^>]*https:[^>]*>", PAGE)
    assert len(foreign) == 2
    for tag in foreign:
        assert "https://cdn.jsdelivr.net/npm/uppy@6.0.1/dist/" in tag
        assert re.search(r'integrity="sha384-[A-Za-z0-9+/]{64}"', tag)
        assert 'crossorigin="anonymous"' in tag
    assert len(re.findall(r"https?://", PAGE)) == len(foreign)


async def test_the_policy_allows_the_inline_blocks_by_hash_and_nothing_inline_else(
    client: httpx.AsyncClient,
) -> None:
    answer = await client.get("/")
    policy = dict(
        directive.split(" ", 1)
        for directive in answer.headers["content-security-policy"].split("; ")
    )
    assert policy["default-src"] == "'none'"
    assert "unsafe" not in answer.headers["content-security-policy"]
    for kind in "script", "style":
        (text,) = re.findall(rf"<{kind}>(.*?)</{kind}>", answer.text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert policy[f"{kind}-src"].split() == [
            "https://cdn.jsdelivr.net/npm/uppy@6.0.1/",
            f"'sha256-{digest}'",
        ]
    assert not re.search(r"<[^>]+\s(style|on[a-z]+)=", answer.text)


@pytest.mark.parametrize("upload_path", ["files/", "/a/b/", "\"><script>x</script>'&{{CONFIG}}"])
async def test_the_page_is_told_where_uploads_go(upload_path: str) -> None:
    async with served([], upload_path) as client:
        answer = await client.get("/")
    found = re.search(r'data-config="([^"]*)"', answer.text)
    assert found
    assert json.loads(html.unescape(found[1])) == {
        "uploadPath": upload_path,
        "finishedPath": "finished.json",
        "sharedOrigin": None,
    }


async def test_hostile_keys_arrive_as_they_are_and_become_text_only(
    client: httpx.AsyncClient,
) -> None:
    answer = await client.get("/finished.json")
    assert [item["key"] for item in answer.json()["objects"]] == HOSTILE_KEYS
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert ".textContent = text" in PAGE
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", PAGE)


async def test_only_the_newest_are_listed() -> None:
    objects = [
        ListedObject(str(number), number, EPOCH + timedelta(seconds=number))
        for number in range(FINISHED_MAX + 1)
    ]
    async with served(objects) as client:
        listed = (await client.get("/finished.json")).json()["objects"]
    assert [item["size_bytes"] for item in listed] == list(range(FINISHED_MAX, 0, -1))
    assert listed[0]["modified"] == objects[-1].modified.isoformat()
