"""tus concatenation over `RawClient`: partial uploads, and the final ones made of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tests.support.raw import HeaderItems, RawResponse
from tests.support.tus import TUS, RawClient, id_of, path_of
from tests.support.waiting import eventually
from tests.support.world import World

PARTIAL = {"Upload-Concat": "partial"}
WHOLE_WITHIN_S = 60.0


def new_partial(
    client: RawClient, body: bytes, sizes: Sequence[int] | None = None, *, deferred: bool = False
) -> str:
    """A finished partial upload of these bytes, sent in PATCHes of `sizes`; its path."""
    length = None if deferred else len(body)
    path = path_of(client.create(length, headers=PARTIAL))
    if body:
        client.upload_from(path, body, sizes)
    if deferred:
        declared = {"Upload-Length": f"{len(body)}"}
        assert client.patch(path, len(body), b"", declared).status == 204
    return path


def post_final(
    client: RawClient, paths: Iterable[str], headers: HeaderItems = (), body: bytes = b""
) -> RawResponse:
    """POST of a final upload made of the partial ones at `paths`."""
    concat = {"Upload-Concat": f"final;{' '.join(paths)}"}
    return client.request("POST", client.base_path, TUS | concat | dict(headers), body)


def new_final(client: RawClient, paths: Iterable[str], headers: HeaderItems = ()) -> str:
    """A final upload; its path. It may not be whole yet."""
    return path_of(post_final(client, paths, headers))


def head_when_whole(world: World, path: str, *, within_s: float = WHOLE_WITHIN_S) -> RawResponse:
    """What HEAD says of a final upload as soon as that is whole."""

    def whole() -> RawResponse | None:
        head = world.client.head(path)
        assert head.status in {200, 423}, head
        return head if "Upload-Offset" in head.headers else None

    return eventually(whole, within_s=within_s, what=f"{path} is whole")


def assert_made_of(world: World, path: str, bodies: Sequence[bytes]) -> None:
    """The final upload at `path` is complete and has these bytes, and nothing else is left."""
    body = b"".join(bodies)
    head = head_when_whole(world, path)
    assert head.headers["Upload-Length"] == f"{len(body)}"
    assert head.offset == len(body)
    assert world.object_of(path) == body
    leftovers = [trace for trace in world.traces_of(path) if trace != world.key_of(path)]
    assert leftovers in ([], [f"{world.redis.prefix}{{{id_of(path)}}}"])


def partial_key(world: World, path: str) -> str:
    """Where a partial upload's object lies."""
    return f"{world.stores.object_prefix}.tus/{id_of(path)}.partial"
