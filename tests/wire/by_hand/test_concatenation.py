"""Lines 23 to 26, in bytes: partial uploads, and the final one that is made of them."""

from __future__ import annotations

import pytest

from tests.support.bodies import PART_BYTES, body_of
from tests.support.tus import id_of
from tests.support.waiting import eventually
from tests.support.wire_bytes import Answer, Peer, octets
from tests.support.world import World

UNKNOWN = "/files/AAAAAAAAAAAAAAAAAAAAAA"
PARTIAL = "Upload-Concat: partial"
BYTES = "Content-Type: application/offset+octet-stream"


def partial(peer: Peer, body: bytes, *lines: str) -> str:
    """Path of a finished partial upload."""
    created = peer.post(f"Upload-Length: {len(body)}", PARTIAL, *lines)
    assert (created.status, created.offset) == (201, 0)
    if body:
        assert peer.patch(created.path, 0, body, PARTIAL).offset == len(body)
    return created.path


def final(peer: Peer, *urls: str, lines: tuple[str, ...] = ()) -> Answer:
    """The answer to a POST that concatenates `urls`."""
    return peer.post(f"Upload-Concat: final;{' '.join(urls)}", "Content-Length: 0", *lines)


def assert_whole(world: World, peer: Peer, made: Answer, body: bytes) -> None:
    """The final upload becomes `body`, and nothing less was ever said to be it."""
    assert made.status == 201, made
    assert made.fields.get("upload-offset") in {None, f"{len(body)}"}

    def said() -> Answer | None:
        answer = peer.head(made.path)
        return answer if "upload-offset" in answer.fields else None

    # The first offset that is told must be the whole, so it is judged out here.
    head = eventually(said, what="the final upload is whole")
    assert head.offset == len(body)
    assert head.fields["upload-length"] == f"{len(body)}"
    assert world.object_of(made.path) == body


def test_line_23_options_names_the_extension(peer: Peer) -> None:
    answer = peer.ask("OPTIONS /files/ HTTP/1.1", "Host: tus")
    assert "concatenation" in answer.fields["tus-extension"].split(",")


def test_line_23_partials_become_one_in_the_order_that_is_told(world: World, peer: Peer) -> None:
    first, second = partial(peer, b"hello "), partial(peer, b"world")
    assert_whole(world, peer, final(peer, first, second), b"hello world")
    assert_whole(world, peer, final(peer, second, first), b"worldhello ")


@pytest.mark.parametrize(
    "form",
    ["{0}", "http://tus{0}", "https://elsewhere.example:8443{0}", "http://[::1]{0}"],
)
def test_line_23_a_url_counts_by_its_path(world: World, peer: Peer, form: str) -> None:
    urls = [form.format(partial(peer, body)) for body in (b"abc", b"def")]
    assert_whole(world, peer, final(peer, *urls), b"abcdef")


def test_line_23_urls_are_understood_as_they_were_given_behind_a_proxy(
    world: World, peer: Peer
) -> None:
    proxy = ("X-Forwarded-Proto: https", "X-Forwarded-Prefix: /storage")
    urls = []
    for body in (b"abc", b"def"):
        created = peer.post("Upload-Length: 3", PARTIAL, *proxy)
        urls.append(created.fields["location"])
        assert urls[-1].startswith("https://tus/storage/files/")
        assert peer.patch(f"/files/{id_of(created.path)}", 0, body).offset == 3
    made = final(peer, *urls)
    assert_whole(world, peer, made, b"abcdef")


def test_line_23_a_space_behind_final_is_tolerated(world: World, peer: Peer) -> None:
    urls = (partial(peer, b"abc"), partial(peer, b"def"))
    made = peer.post(f"Upload-Concat: final; {urls[0]} {urls[1]}")
    assert_whole(world, peer, made, b"abcdef")


def test_line_23_a_partial_may_repeat_or_be_empty(world: World, peer: Peer) -> None:
    some, empty = partial(peer, b"abc"), partial(peer, b"")
    assert_whole(world, peer, final(peer, some, empty, some), b"abcabc")
    assert_whole(world, peer, final(peer, empty, empty), b"")


@pytest.mark.parametrize("sizes", [(PART_BYTES + 1, 10), (10, PART_BYTES + 1), (PART_BYTES,) * 2])
def test_line_23_partials_of_any_size_fit_together(
    world: World, peer: Peer, sizes: tuple[int, ...]
) -> None:
    bodies = [body_of(size, seed=turn) for turn, size in enumerate(sizes)]
    paths = [partial(peer, body) for body in bodies]
    assert_whole(world, peer, final(peer, *paths), b"".join(bodies))


@pytest.mark.parametrize("value", ["", "part", "final", "final;", "final; ", "partial;/files/x"])
def test_line_23_anything_else_is_400(world: World, peer: Peer, value: str) -> None:
    with world.unchanged():
        for lines in ((), ("Upload-Length: 3",)):
            assert peer.post(f"Upload-Concat: {value}", *lines).status == 400


def test_line_05_head_gives_concat_as_it_came(peer: Peer) -> None:
    paths = [partial(peer, body) for body in (b"abc", b"def")]
    for path in paths:
        assert peer.head(path).fields["upload-concat"] == "partial"
    said = f"final;http://elsewhere.example{paths[0]} {paths[1]}"
    made = peer.post(f"Upload-Concat: {said}")
    assert peer.head(made.path).fields["upload-concat"] == said


def test_line_24_metadata_of_partials_stays_theirs(world: World, peer: Peer) -> None:
    theirs = ("Upload-Metadata: filename YS5tcDQ=,filetype dmlkZW8vbXA0",)
    paths = [partial(peer, body, *theirs) for body in (b"abc", b"def")]
    bare = final(peer, *paths)
    assert_whole(world, peer, bare, b"abcdef")
    assert "upload-metadata" not in peer.head(bare.path).fields
    stored = world.bucket.get(world.key_of(bare.path))
    assert stored is not None
    assert stored.content_type != "video/mp4"
    own = final(peer, *paths, lines=("Upload-Metadata: filetype dGV4dC9wbGFpbg==",))
    assert_whole(world, peer, own, b"abcdef")
    assert peer.head(own.path).fields["upload-metadata"] == "filetype dGV4dC9wbGFpbg=="
    stored = world.bucket.get(world.key_of(own.path))
    assert stored is not None
    assert stored.content_type == "text/plain"


@pytest.mark.parametrize("line", ["Upload-Length: 3", "Upload-Length: 4", "Upload-Defer-Length: 1"])
def test_line_24_a_length_on_a_final_is_400(world: World, peer: Peer, line: str) -> None:
    path = partial(peer, b"abc")
    with world.unchanged():
        assert final(peer, path, lines=(line,)).status == 400


def test_line_24_a_body_on_a_final_is_403(world: World, peer: Peer) -> None:
    path = partial(peer, b"abc")
    with world.unchanged():
        answer = peer.post(f"Upload-Concat: final;{path}", BYTES, "Content-Length: 3", body=b"def")
        assert answer.status == 403


def test_line_24_a_final_over_the_maximum_is_413(world: World, guarded: Peer) -> None:
    path = partial(guarded, b"x" * 60)
    with world.unchanged():
        answer = final(guarded, path, path)
        assert (answer.status, answer.code) == (413, "upload_too_large")


def test_line_24_a_patch_to_a_final_is_403(world: World, peer: Peer) -> None:
    made = final(peer, partial(peer, b"abc"), partial(peer, b"def"))
    assert_whole(world, peer, made, b"abcdef")
    for answer in (
        peer.patch(made.path, 6, b"g"),
        peer.patch(made.path, 0, b"abc"),
        peer.patch(made.path, 6, b""),
    ):
        assert answer.status == 403
    assert world.object_of(made.path) == b"abcdef"


def test_line_24_unfinished_partials_are_400(world: World, peer: Peer) -> None:
    done = partial(peer, b"abc")
    begun = peer.post("Upload-Length: 3", PARTIAL).path
    assert peer.patch(begun, 0, b"de").offset == 2
    deferred = peer.post("Upload-Defer-Length: 1", PARTIAL).path
    with world.unchanged():
        for unfinished in (begun, deferred):
            assert final(peer, done, unfinished).status == 400
    assert peer.patch(begun, 2, b"f").offset == 3
    assert_whole(world, peer, final(peer, done, begun), b"abcdef")


def test_line_25_a_final_has_no_offset_but_its_length(world: World, peer: Peer) -> None:
    bodies = [body_of(PART_BYTES, seed=turn) for turn in range(3)]
    made = final(peer, *[partial(peer, body) for body in bodies])
    # Each HEAD up to the first offset is held against the rule in there.
    assert_whole(world, peer, made, b"".join(bodies))
    assert peer.head(made.path).offset == 3 * PART_BYTES


def test_line_26_a_final_that_is_asked_for_again_is_the_same_upload(
    world: World, peer: Peer
) -> None:
    paths = [partial(peer, body) for body in (b"abc", b"def")]
    made = final(peer, *paths)
    assert_whole(world, peer, made, b"abcdef")
    objects = world.bucket.keys(world.stores.object_prefix)
    again = final(peer, *paths)
    assert (again.status, again.fields["location"]) == (201, made.fields["location"])
    assert world.bucket.keys(world.stores.object_prefix) == objects


def test_line_26_a_final_whose_answer_was_lost_is_made_once(world: World, peer: Peer) -> None:
    paths = [partial(peer, body) for body in (b"lost ", b"answer")]
    request = octets(
        "POST /files/ HTTP/1.1",
        "Host: tus",
        "Tus-Resumable: 1.0.0",
        f"Upload-Concat: final;{paths[0]} {paths[1]}",
        "Content-Length: 0",
    )
    with peer.connect() as wire:
        wire.send(request)
    assert_whole(world, peer, final(peer, *paths), b"lost answer")
    keys = world.bucket.keys(world.stores.object_prefix)
    assert [world.bucket.body(key) for key in keys].count(b"lost answer") == 1


@pytest.mark.parametrize(
    "url",
    [
        UNKNOWN,
        "http://elsewhere.example/not/files/x",
        "/files/../files/x",
        "/files/%2e%2e%2fetc",
        "/files/",
        "/",
        "javascript:alert(1)",
        "{0}/",
        "{0}%00",
    ],
)
def test_line_26_nothing_but_our_partials_can_be_concatenated(
    world: World, peer: Peer, url: str
) -> None:
    path = partial(peer, b"abc")
    with world.unchanged():
        answer = final(peer, path, url.format(path))
        assert answer.status in {400, 404}


@pytest.mark.parametrize("kind", ["ordinary", "final", "terminated"])
def test_line_26_only_partials_can_be_concatenated(world: World, peer: Peer, kind: str) -> None:
    some = partial(peer, b"abc")
    path = {"ordinary": peer.upload(3, b"abc"), "final": "", "terminated": partial(peer, b"x")}[
        kind
    ]
    if kind == "final":
        made = final(peer, some)
        assert_whole(world, peer, made, b"abc")
        path = made.path
    if kind == "terminated":
        assert peer.delete(path).status == 204
    with world.unchanged():
        assert final(peer, some, path).status in {400, 403, 404}
