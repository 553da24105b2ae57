"""Which path leads where, below any mount: as with Starlette's routes, which it stands in for."""

from __future__ import annotations

from itertools import product

import pytest
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tusd_s3.app.paths import Paths

BASES = ["/files", "/a/b", ""]
ROOTS = ["", "/mount", "/files"]
RESTS = ["", "/", "/x", "/x/", "/x/y", "//", "//x", "x", "/%2F", "/.."]
RESTS += ["/x/progress", "/progress", "//progress", "/x/y/progress", "/x/progress/", "/x/progressx"]


class Note:
    """An application that notes where a request came in, and with which id. A function would be
    something else to Starlette."""

    def __init__(self, found: list[tuple[str, str | None]], name: str) -> None:
        self._found = found
        self._name = name

    async def __call__(self, scope: Scope, _receive: Receive, _send: Send) -> None:
        self._found.append((self._name, scope.get("path_params", {}).get("upload_id")))


class Seen:
    """What its applications noted."""

    def __init__(self) -> None:
        self.found: list[tuple[str, str | None]] = []

    def app(self, name: str) -> ASGIApp:
        return Note(self.found, name)


async def receive() -> Message:
    return {"type": "http.disconnect"}


async def send(_: Message) -> None:
    raise AssertionError("nobody answers here")


@pytest.mark.parametrize(("base", "root"), list(product(BASES, ROOTS)))
async def test_as_starlette_would(base: str, root: str) -> None:
    ours, theirs = Seen(), Seen()
    paths = Paths(
        base,
        collection=ours.app("collection"),
        resource=ours.app("resource"),
        progress=ours.app("progress"),
        other=ours.app("other"),
    )
    router = Router(
        routes=[
            *(Route(path, theirs.app("collection")) for path in sorted({f"{base}/", base or "/"})),
            Route(f"{base}/{{upload_id}}", theirs.app("resource")),
            Route(f"{base}/{{upload_id}}/progress", theirs.app("progress")),
        ],
        redirect_slashes=False,
        default=theirs.app("other"),
    )
    for rest in RESTS:
        path = root + base + rest
        if not path.startswith("/"):
            continue
        for app in (paths, router):
            scope = {"type": "http", "method": "HEAD", "path": path, "root_path": root}
            await app(scope, receive, send)
        assert ours.found == theirs.found, path


async def test_what_is_no_http_request_goes_elsewhere() -> None:
    seen = Seen()
    paths = Paths(
        "/files",
        collection=seen.app("collection"),
        resource=seen.app("resource"),
        progress=seen.app("progress"),
        other=seen.app("other"),
    )
    await paths({"type": "websocket", "path": "/files/x"}, receive, send)
    await paths({"type": "lifespan"}, receive, send)
    assert seen.found == [("other", None)] * 2
