"""Inside a host application: behind its authentication, and mounted twice with other settings.

Over hand-written bytes, like `tests/wire/by_hand`: what a host's layers do to a response shows.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.support.hosting import credentials, served, uploads_over
from tests.support.server import StoreSettings
from tests.support.stores import Bucket, RedisView
from tests.support.tus import id_of
from tests.support.waiting import eventually
from tests.support.wire_bytes import Peer, octets, patch_lines
from tusd_s3.app import UploadsApp

VERSION = "Tus-Resumable: 1.0.0"
PAGE = "https://app.example"
ORIGIN = f"Origin: {PAGE}"
KEY = "Authorization: Bearer of-good-news"
UNKNOWN = "AAAAAAAAAAAAAAAAAAAAAA"


class Authentication:
    """A host's middleware: everything but OPTIONS needs the key. It knows nothing of tus."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """401 without reading a byte of the body, or on to the application."""
        if scope["type"] == "http" and scope["method"] != "OPTIONS":
            name, _, value = KEY.partition(": ")
            if (name.lower().encode(), value.encode()) not in scope["headers"]:
                await PlainTextResponse("who are you?\n", 401)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def host_of(mounts: dict[str, UploadsApp], *middleware: Middleware) -> Starlette:
    """A host with each application under its path, all of them started with it."""

    @asynccontextmanager
    async def lifespan(_: object) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for app in mounts.values():
                await stack.enter_async_context(app.lifespan())
            yield

    async def home(_: object) -> PlainTextResponse:
        return PlainTextResponse("home\n")

    routes = [Route("/", home), *(Mount(path, app) for path, app in mounts.items())]
    return Starlette(routes=routes, lifespan=lifespan, middleware=middleware)


# --- behind authentication ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def keyed(stores: StoreSettings) -> Iterator[Peer]:
    """A host that demands a key of every request but OPTIONS."""
    app = host_of({"/media": uploads_over(stores)}, Middleware(Authentication))
    with credentials(stores), served(app) as port:
        yield Peer(("127.0.0.1", port), "/media/files/")


@pytest.fixture
def path(keyed: Peer) -> str:
    """Path of an upload of six bytes that has three."""
    created = keyed.post("Upload-Length: 6", KEY)
    assert keyed.patch(created.path, 0, b"abc", KEY).offset == 3
    return created.path


def status_of_refusal(peer: Peer, *lines: str, body: bytes = b"") -> int:
    """Status of an answer that the host made: our rules for answers do not hold for it."""
    with peer.connect() as wire:
        wire.send(octets(*lines) + body)
        wire.finish()
        return int(wire.rest().split(b" ")[1])


def test_line_02_options_pass_a_host_that_lets_them(keyed: Peer, path: str) -> None:
    for target in ("/media/files/", path, f"/media/files/{UNKNOWN}"):
        asked = keyed.ask(f"OPTIONS {target} HTTP/1.1", "Host: tus")
        assert asked.status == 204
        assert asked.fields["tus-version"] == "1.0.0"
        preflight = keyed.ask(
            f"OPTIONS {target} HTTP/1.1",
            "Host: tus",
            ORIGIN,
            "Access-Control-Request-Method: PATCH",
            "Access-Control-Request-Headers: authorization,upload-offset",
        )
        assert preflight.status == 200
        assert "authorization" in preflight.tokens("access-control-allow-headers")


@pytest.mark.parametrize("method", ["POST", "HEAD", "PATCH", "DELETE"])
def test_without_the_key_nothing_else_reaches_the_uploads(
    keyed: Peer, path: str, method: str
) -> None:
    target = keyed.base if method == "POST" else path
    lines = (VERSION, "Upload-Offset: 3", "Upload-Length: 6", "Content-Length: 3")
    bytes_ = "Content-Type: application/offset+octet-stream"
    head = (f"{method} {target} HTTP/1.1", "Host: tus", *lines, bytes_)
    assert status_of_refusal(keyed, *head, body=b"def") == 401
    assert keyed.head(path, KEY).offset == 3


def test_an_override_opens_no_way_around_the_key(keyed: Peer, path: str) -> None:
    for override in ("HEAD", "DELETE"):
        head = (f"POST {path} HTTP/1.1", "Host: tus", VERSION)
        assert status_of_refusal(keyed, *head, f"X-HTTP-Method-Override: {override}") == 401
        # OPTIONS passes without the key: no override may make anything else of it.
        options = (f"OPTIONS {path} HTTP/1.1", "Host: tus", VERSION)
        assert keyed.ask(*options, f"X-HTTP-Method-Override: {override}").status == 204
    assert keyed.head(path, KEY).offset == 3


def test_with_the_key_an_upload_goes_through(
    keyed: Peer, path: str, stores: StoreSettings, bucket: Bucket
) -> None:
    head = keyed.head(path, KEY, ORIGIN)
    assert (head.status, head.offset) == (200, 3)
    assert head.fields["upload-length"] == "6"
    assert head.fields["access-control-allow-origin"] in {"*", PAGE}
    assert keyed.patch(path, 3, b"def", KEY).offset == 6
    assert bucket.body(stores.object_prefix + id_of(path)) == b"abcdef"
    assert keyed.delete(path, KEY).status == 204


def test_line_27_errors_below_a_host_can_be_read_by_a_page(keyed: Peer, path: str) -> None:
    answers = [
        keyed.head(f"/media/files/{UNKNOWN}", KEY, ORIGIN),
        keyed.patch(path, 1, b"x", KEY, ORIGIN),
        keyed.patch(path, 3, b"too long", KEY, ORIGIN),
        keyed.post("Upload-Length: x", KEY, ORIGIN),
        keyed.ask("GET /media/elsewhere HTTP/1.1", "Host: tus", KEY, ORIGIN),
        keyed.ask(f"DELETE {path} HTTP/1.1", "Host: tus", KEY, ORIGIN),
        keyed.ask(f"PUT {path} HTTP/1.1", "Host: tus", KEY, ORIGIN),
    ]
    assert [answer.status for answer in answers] == [404, 409, 413, 400, 404, 412, 405]
    for answer in answers:
        assert answer.fields["access-control-allow-origin"] in {"*", PAGE}, answer
        assert "upload-offset" in answer.tokens("access-control-expose-headers")


def test_line_11_a_host_may_refuse_before_the_body_and_no_100_goes_out(
    keyed: Peer, path: str
) -> None:
    with keyed.connect() as wire:
        head = patch_lines(path, 3)
        wire.send(octets(*head, "Content-Length: 3", "Expect: 100-continue"))
        wire.finish()
        answer = wire.rest()
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert keyed.head(path, KEY).offset == 3


# --- mounted twice --------------------------------------------------------------------------------


class Twice:
    """A host with two collections: other corners of the stores, other limits, other origins."""

    def __init__(self, port: int, one: StoreSettings, two: StoreSettings) -> None:
        self.one = Peer(("127.0.0.1", port), "/one/files/")
        self.two = Peer(("127.0.0.1", port), "/deep/two/up/")
        self.stores = {"one": one, "two": two}

    def peers(self) -> tuple[Peer, Peer]:
        """Both collections."""
        return self.one, self.two


@pytest.fixture(scope="module")
def twice(stores: StoreSettings) -> Iterator[Twice]:
    """One host that mounts two applications of ours."""
    corners = [
        replace(
            stores,
            object_prefix=f"{stores.object_prefix}{name}/",
            redis_prefix=f"{stores.redis_prefix}{name}:",
        )
        for name in ("one", "two")
    ]
    one = uploads_over(corners[0], max_size="10", cors_allow_origin=PAGE)
    two = uploads_over(corners[1], max_size="20", base_path="/up/", cors_allow_origin="")
    with credentials(stores), served(host_of({"/one": one, "/deep/two": two})) as port:
        yield Twice(port, *corners)


def test_line_14_each_mount_gives_its_own_locations(twice: Twice) -> None:
    for peer in twice.peers():
        created = peer.ask(
            f"POST {peer.base} HTTP/1.1", "Host: u.example", VERSION, "Upload-Length: 3"
        )
        expected = f"http://u.example{peer.base}"
        assert created.fields["location"].startswith(expected)
        assert id_of(created.path) == created.fields["location"].removeprefix(expected)
        assert peer.head(created.path).offset == 0


def test_an_id_of_one_mount_means_nothing_to_the_other(twice: Twice, bucket: Bucket) -> None:
    mine, other = twice.one.post("Upload-Length: 6").path, twice.two.base
    assert twice.one.patch(mine, 0, b"abc").offset == 3
    there = f"{other}{id_of(mine)}"
    for answer in (
        twice.two.head(there),
        twice.two.patch(there, 3, b"def"),
        twice.two.delete(there),
    ):
        assert (answer.status, "upload-offset" in answer.fields) == (404, False)
    assert twice.one.patch(mine, 3, b"def").offset == 6
    assert twice.two.delete(there).status == 404
    assert bucket.body(twice.stores["one"].object_prefix + id_of(mine)) == b"abcdef"


def test_each_mount_stores_in_its_own_corner(twice: Twice, bucket: Bucket) -> None:
    made = {"one": twice.one.post("Upload-Length: 6"), "two": twice.two.post("Upload-Length: 6")}
    for peer, created in zip(twice.peers(), made.values(), strict=True):
        assert peer.patch(created.path, 0, b"abc").offset == 3
    for name, created in made.items():
        for corner, there in twice.stores.items():
            records = RedisView(there.redis_url, there.redis_prefix).keys(id_of(created.path))
            assert bool(records) == (corner == name)
    for name, peer in (("one", twice.one), ("two", twice.two)):
        upload_id = id_of(made[name].path)
        assert peer.patch(made[name].path, 3, name.encode()).offset == 6
        for corner, there in twice.stores.items():
            stored = bucket.get(there.object_prefix + upload_id)
            assert (stored is not None) == (corner == name)


def test_each_mount_keeps_its_own_settings(twice: Twice) -> None:
    for peer, maximum in ((twice.one, 10), (twice.two, 20)):
        asked = peer.ask(f"OPTIONS {peer.base} HTTP/1.1", "Host: tus")
        assert asked.fields["tus-max-size"] == f"{maximum}"
        assert peer.post(f"Upload-Length: {maximum}").status == 201
        assert peer.post(f"Upload-Length: {maximum + 1}").code == "upload_too_large"
    from_page = [peer.post("Upload-Length: 3", ORIGIN) for peer in twice.peers()]
    assert from_page[0].fields["access-control-allow-origin"] == PAGE
    assert "access-control-allow-origin" not in from_page[1].fields


def test_a_holder_below_one_mount_is_not_disturbed_by_the_other(twice: Twice) -> None:
    mine = twice.one.post("Upload-Length: 6").path
    there = twice.stores["one"]
    records = RedisView(there.redis_url, there.redis_prefix)
    with twice.one.connect() as wire:
        wire.send(octets(*patch_lines(mine, 0), "Content-Length: 6") + b"abc")
        eventually(lambda: [key for key in records.keys(id_of(mine)) if key.endswith(":lease")])
        assert twice.two.head(f"{twice.two.base}{id_of(mine)}").status == 404
        assert twice.two.post("Upload-Length: 3").status == 201
        wire.assert_silent_for(0.3)
        wire.send(b"def")
        assert wire.read("PATCH").offset == 6
