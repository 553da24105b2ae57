"""Lines 23 to 26: partial uploads, and final ones that are made of them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.conftest import StartServer
from tests.support.bodies import KIB, MIB, PART_BYTES, body_of
from tests.support.concat import (
    PARTIAL,
    assert_made_of,
    new_final,
    new_partial,
    partial_key,
    post_final,
)
from tests.support.server import ServerProcess
from tests.support.tus import OCTET_STREAM, TUS, RawClient, id_of, metadata_of, path_of
from tests.support.world import World

P = PART_BYTES
UNKNOWN = "/files/AAAAAAAAAAAAAAAAAAAAAA"
SIZES = [0, 1, P - 1, P, P + 1, 2 * P + 3, 3 * MIB, 8 * MIB, 100]


@pytest.fixture(scope="module")
def partials(world: World) -> list[tuple[str, bytes]]:
    """One finished partial upload of each size, to be used again and again."""
    bodies = [body_of(size, seed) for seed, size in enumerate(SIZES)]
    with ThreadPoolExecutor(4) as pool:
        paths = list(pool.map(lambda body: new_partial(world.client, body), bodies))
    return list(zip(paths, bodies, strict=True))


def test_line_23_a_final_upload_has_the_bytes_of_its_partials_in_order(world: World) -> None:
    bodies = [body_of(2 * P + 7, 1), body_of(100, 2), body_of(P + 1, 3)]
    paths = [new_partial(world.client, body) for body in bodies]
    response = post_final(world.client, paths)
    assert (response.status, response.offset) == (201, sum(map(len, bodies)))
    assert_made_of(world, path_of(response), bodies)
    assert_made_of(world, new_final(world.client, reversed(paths)), bodies[::-1])


@pytest.mark.parametrize(
    "order",
    [
        *([index] for index in range(len(SIZES))),
        *([first, second] for first in range(1, 6) for second in range(1, 6)),
        *([2, 1, 1, 4], [5, 8, 5], [0, 0, 0], [0, 7, 0, 6, 0], [6, 6, 6, 6, 6], [8] * 50),
        *([1, 5, 1, 5, 1], [4, 4, 4, 4], [5, 2, 3, 4, 1, 0, 7, 6, 8], [3, 2, 3, 2, 3]),
    ],
    ids=str,
)
def test_line_23_sizes_around_all_boundaries_in_any_order(
    world: World, partials: list[tuple[str, bytes]], order: list[int]
) -> None:
    chosen = [partials[index] for index in order]
    path = new_final(world.client, [path for path, _ in chosen])
    assert_made_of(world, path, [body for _, body in chosen])


def test_line_23_urls_may_be_absolute_of_a_foreign_host_or_relative(world: World) -> None:
    bodies = [body_of(10, 1), body_of(20, 2), body_of(30, 3)]
    first, second, third = (new_partial(world.client, body) for body in bodies)
    urls = [f"https://elsewhere.example:1{first}?a=b", id_of(second), f"../x/{id_of(third)}"]
    assert_made_of(world, new_final(world.client, ["", *urls]), bodies)


def test_line_23_a_partial_is_an_upload_like_any_other(world: World) -> None:
    """It is resumed, terminated, and declares its length late; PATCH and HEAD may name it."""
    body = body_of(2 * P + 9)
    path = path_of(world.client.create(len(body), headers=PARTIAL, body=body[:7]))
    head = world.client.head(path, PARTIAL)
    assert (head.offset, head.headers["Upload-Concat"]) == (7, "partial")
    response = world.client.patch(path, 7, body[7:], {"Upload-Concat": "final;nonsense"})
    assert (response.status, response.offset) == (204, len(body))
    deferred = new_partial(world.client, body, [P, P, 9], deferred=True)
    assert_made_of(world, new_final(world.client, [path, deferred]), [body, body])
    for partial in (path, deferred):
        assert world.client.delete(partial).status == 204
        assert world.traces_of(partial) == []


@pytest.mark.parametrize("size", [0, 1, P])
def test_line_23_a_short_partial_stays_a_tail_and_is_whole(world: World, size: int) -> None:
    body = body_of(size)
    created = world.client.create(size, headers=PARTIAL, body=body)
    path = path_of(created)
    assert created.offset == size
    head = world.client.head(path)
    assert (head.offset, head.headers["Upload-Length"]) == (size, f"{size}")
    assert world.client.patch(path, size, b"").status == 204
    assert not [key for key in world.bucket.keys(world.stores.object_prefix) if id_of(path) in key]


def test_line_23_a_long_partial_is_not_among_peoples_objects(world: World) -> None:
    path = new_partial(world.client, body_of(P + 1))
    assert world.bucket.get(world.key_of(path)) is None
    assert world.bucket.body(partial_key(world, path)) == body_of(P + 1)


def test_line_24_the_final_has_its_own_metadata(world: World) -> None:
    theirs = {"Upload-Metadata": metadata_of({"filename": "part.bin", "filetype": "text/html"})}
    paths = [
        path_of(world.client.create(P + 1, headers=PARTIAL | theirs, body=body_of(P + 1)))
        for _ in range(2)
    ]
    own = metadata_of({"filename": "Überflüge.pdf", "filetype": "application/pdf", "x": "y"})
    many = new_final(world.client, paths, {"Upload-Metadata": own})
    one = new_final(world.client, [new_partial(world.client, b"abc")], {"Upload-Metadata": own})
    for path in (many, one):
        stored = world.bucket.get(world.key_of(path))
        assert stored is not None
        assert stored.content_type == "application/pdf"
        assert "%C3%9Cberfl%C3%BCge.pdf" in (stored.content_disposition or "")
        assert stored.metadata["x"] == "y"
        assert world.client.head(path).headers["Upload-Metadata"] == own
    bare = world.bucket.get(world.key_of(new_final(world.client, paths)))
    assert bare is not None
    assert (bare.content_disposition, bare.metadata) == (None, {})


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({"Upload-Length": "3"}, b"", 400),
        ({"Upload-Defer-Length": "1"}, b"", 400),
        ({"Content-Type": OCTET_STREAM}, b"abc", 403),
    ],
)
def test_line_24_a_final_brings_neither_length_nor_bytes(
    world: World, headers: dict[str, str], body: bytes, status: int
) -> None:
    path = new_partial(world.client, b"abc")
    with world.unchanged():
        response = post_final(world.client, [path], headers, body)
    assert response.status == status


def test_line_24_a_patch_to_a_final_is_403(world: World) -> None:
    path = new_final(world.client, [new_partial(world.client, b"abc")])
    with world.unchanged():
        for offset in (0, 3):
            response = world.client.patch(path, offset, b"")
            assert (response.status, response.code) == (403, "final_upload")
    assert world.object_of(path) == b"abc"


def test_line_24_a_sum_over_the_maximum_is_413(start_server: StartServer) -> None:
    client = start_server(max_size="1MiB").client
    paths = [new_partial(client, body_of(MIB // 2 + extra)) for extra in (0, 1)]
    assert post_final(client, [paths[0]] * 2).status == 201
    refused = post_final(client, paths)
    assert (refused.status, refused.code) == (413, "upload_too_large")


def test_line_24_unfinished_partials_are_400(world: World) -> None:
    finished, begun = (
        new_partial(world.client, b"abc"),
        path_of(world.client.create(10, headers=PARTIAL, body=b"abc")),
    )
    deferred = path_of(world.client.create(None, headers=PARTIAL, body=b"abc"))
    for path in (begun, deferred):
        response = post_final(world.client, [finished, path])
        assert (response.status, response.code) == (400, "unfinished_partial")
    world.client.upload_from(begun, b"abcdefghij")
    assert_made_of(world, new_final(world.client, [finished, begun]), [b"abc", b"abcdefghij"])


def test_line_26_only_partials_of_this_server_can_be_concatenated(world: World) -> None:
    partial = new_partial(world.client, b"abc")
    ordinary = world.client.new_upload(3, body=b"abc")
    final = new_final(world.client, [partial])
    terminated = new_partial(world.client, b"abc")
    world.client.delete(terminated)
    with world.unchanged():
        for other in (ordinary, final, terminated, UNKNOWN):
            response = post_final(world.client, [partial, other])
            assert (response.status, response.code) == (400, "unusable_partial")
        for malformed in ("/files/../../etc/passwd", "/files/", f"{partial}%2f..", ""):
            assert post_final(world.client, [malformed]).status == 400


def test_line_25_head_says_all_of_a_final(world: World) -> None:
    paths = [new_partial(world.client, body) for body in (b"abc", b"de")]
    concat = f"final; http://x{paths[0]}  {paths[1]}"
    created = world.client.request("POST", "/files/", TUS | {"Upload-Concat": concat}, b"")
    head = world.client.head(path_of(created))
    assert head.headers["Upload-Concat"] == concat
    assert (head.offset, head.headers["Upload-Length"]) == (5, "5")
    assert "Upload-Expires" not in created.headers


@pytest.mark.parametrize("size", [3, 2 * P])
def test_line_26_a_repeated_final_gets_the_same_upload(
    world: World, second_server: ServerProcess, size: int
) -> None:
    paths = [new_partial(world.client, body_of(size, seed)) for seed in (1, 2)]
    absolute = [f"https://elsewhere.example{path}" for path in paths]
    made = {
        new_final(world.client, paths),
        new_final(second_server.client, paths),
        new_final(world.client, absolute),
    }
    assert len(made) == 1
    for headers in ({"Upload-Metadata": "a YQ=="}, {"Authorization": "Bearer other"}):
        assert new_final(world.client, paths, headers) not in made
    assert new_final(world.client, paths[::-1]) not in made


def test_line_26_many_at_the_same_moment_make_one(
    world: World, second_server: ServerProcess
) -> None:
    paths = [new_partial(world.client, body_of(P + 1, seed)) for seed in (1, 2)]
    clients = [world.client, second_server.client] * 6
    before = set(world.bucket.keys(world.stores.object_prefix))
    with ThreadPoolExecutor(len(clients)) as pool:
        made = set(pool.map(lambda client: new_final(client, paths), clients))
    assert len(made) == 1
    new = set(world.bucket.keys(world.stores.object_prefix)) - before
    assert new == {world.key_of(path) for path in made}


def test_line_26_a_terminated_final_is_made_anew_and_leaves_nothing(world: World) -> None:
    paths = [new_partial(world.client, body_of(P + KIB, seed)) for seed in (1, 2)]
    first = new_final(world.client, paths)
    assert world.client.delete(first).status == 204
    assert world.traces_of(first) == []
    assert world.client.head(first).status == 404
    second = new_final(world.client, paths)
    assert second != first
    assert_made_of(world, second, [body_of(P + KIB, seed) for seed in (1, 2)])


def test_line_23_the_extension_is_announced(client: RawClient) -> None:
    extensions = client.request("OPTIONS", "/files/").headers["Tus-Extension"]
    assert "concatenation" in extensions.split(",")
