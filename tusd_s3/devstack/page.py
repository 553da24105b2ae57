"""The page of `tusd-s3 dev`: an upload form, and what arrived in the bucket."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from importlib import resources

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from tusd_s3.stores.s3 import ListedObject

FINISHED_MAX = 100
"""Most objects that the page lists: the newest."""

FINISHED_PATH = "finished.json"

_CDN = "https://cdn.jsdelivr.net/npm/uppy@6.0.1/"
_INLINE = re.compile(r"<(script|style)>(.*?)</\1>", re.DOTALL)


ListFinished = Callable[[], Awaitable[list[ListedObject]]]


def page_routes(
    list_finished: ListFinished, upload_path: str, shared_origin: str | None = None
) -> list[Route]:
    """The page at `/`, and the list it fetches.

    `upload_path` is where uploads are created, relative to the page or absolute. `shared_origin` is
    how other machines reach the page, None if they do not.
    """
    template = resources.files(__package__).joinpath("page.html").read_text("utf-8")
    config = {
        "uploadPath": upload_path,
        "finishedPath": FINISHED_PATH,
        "sharedOrigin": shared_origin,
    }
    page = _fill(template, config)
    headers = {
        "Content-Security-Policy": _content_security_policy(template),
        "Cache-Control": "no-store",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }

    async def show(_: Request) -> Response:
        return HTMLResponse(page, headers=headers)

    async def finished(_: Request) -> Response:
        objects = newest(await list_finished())
        return JSONResponse(
            {"objects": [_as_json(item) for item in objects]},
            headers={"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"},
        )

    return [Route("/", show), Route(f"/{FINISHED_PATH}", finished)]


def newest(objects: list[ListedObject]) -> list[ListedObject]:
    """The last FINISHED_MAX that were stored, newest first."""
    return sorted(objects, key=lambda item: item.modified, reverse=True)[:FINISHED_MAX]


def _as_json(item: ListedObject) -> dict[str, object]:
    return {
        "key": item.key,
        "size_bytes": item.size_bytes,
        "modified": item.modified.isoformat(),
    }


def _fill(template: str, config: Mapping[str, str | None]) -> str:
    return template.replace("{{CONFIG}}", html.escape(json.dumps(config), quote=True))


def _content_security_policy(page: str) -> str:
    """This page's own script and style by their hashes, Uppy's by address, and nothing else."""
    hashes: dict[str, list[str]] = {"script": [], "style": []}
    for kind, text in _INLINE.findall(page):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        hashes[kind].append(f"'sha256-{digest}'")
    directives = {
        "default-src": "'none'",
        "script-src": " ".join([_CDN, *hashes["script"]]),
        "style-src": " ".join([_CDN, *hashes["style"]]),
        # Uppy shows previews of the selected files, and its style sheet has icons in it.
        "img-src": "'self' blob: data:",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in directives.items())
