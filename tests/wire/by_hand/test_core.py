"""Lines 1 to 5, in bytes: the version, OPTIONS, overridden methods, integers, HEAD."""

from __future__ import annotations

import pytest

from tests.support.wire_bytes import Peer, octets, patch_lines
from tests.support.world import World

UNKNOWN = "/files/AAAAAAAAAAAAAAAAAAAAAA"
VERSION = "Tus-Resumable: 1.0.0"
BYTES = "Content-Type: application/offset+octet-stream"


def test_line_01_every_response_names_the_version(peer: Peer) -> None:
    # That the header is there, once, is checked of every answer: here are all kinds of them.
    path = peer.upload(10)
    assert peer.head(path).status == 200
    assert peer.post("Upload-Length: 5").status == 201
    assert peer.patch(path, 0, b"a").status == 204
    assert peer.post("Upload-Length: five").status == 400
    assert peer.head(UNKNOWN).status == 404
    assert peer.ask("GET /nowhere HTTP/1.1", "Host: tus").status == 404
    assert peer.ask(f"PUT {path} HTTP/1.1", "Host: tus", VERSION).status == 405
    assert peer.patch(path, 7, b"a").status == 409
    assert peer.ask(f"DELETE {path} HTTP/1.1", "Host: tus").status == 412
    assert peer.patch(path, 1, b"a" * 10).status == 413
    assert peer.post("Upload-Length: 5", "Upload-Metadata: k " + "A" * 9000).status == 431
    assert peer.ask("OPTIONS /files/ HTTP/1.1", "Host: tus").status == 204
    assert peer.ask("G E T / HTTP/1.1").status == 400
    preflight = "Access-Control-Request-Method: PATCH"
    page = "Origin: https://app.example"
    assert peer.ask("OPTIONS /files/ HTTP/1.1", "Host: tus", page, preflight).status == 200


@pytest.mark.parametrize("line", [None, "Tus-Resumable: 0.2.2", "Tus-Resumable:"])
def test_line_01_without_the_version_it_is_412_and_nothing_is_processed(
    world: World, peer: Peer, line: str | None
) -> None:
    path = peer.upload(10, b"abc")
    version = [] if line is None else [line]
    rest = ("Host: tus", BYTES, "Upload-Offset: 3", "Upload-Length: 10", "Content-Length: 2")
    targets = {"PATCH": path, "DELETE": path, "POST": "/files/", "PUT": path}
    with world.unchanged():
        for method, target in targets.items():
            answer = peer.ask(f"{method} {target} HTTP/1.1", *version, *rest, body=b"de")
            if method == "PUT":
                assert answer.status == 405
                continue
            assert (answer.status, answer.code) == (412, "unsupported_version")
            assert answer.fields["tus-version"] == "1.0.0"


def test_line_01_head_may_leave_the_version_out_but_not_name_another(peer: Peer) -> None:
    path = peer.upload(10, b"abc")
    assert peer.ask(f"HEAD {path} HTTP/1.1", "Host: tus").offset == 3
    answer = peer.ask(f"HEAD {path} HTTP/1.1", "Host: tus", "Tus-Resumable: 0.2.2")
    assert (answer.status, answer.fields["tus-version"]) == (412, "1.0.0")
    assert "upload-offset" not in answer.fields


@pytest.mark.parametrize("line", ["X-None: 1", "Tus-Resumable: 0.2.2", VERSION])
def test_line_01_options_and_get_are_not_judged(peer: Peer, line: str) -> None:
    assert peer.ask("OPTIONS /files/ HTTP/1.1", "Host: tus", line).status == 204
    assert peer.ask("GET /files/ HTTP/1.1", "Host: tus", line).status == 405


def test_line_01_a_412_comes_before_any_byte_of_the_body(peer: Peer) -> None:
    path = peer.upload(10)
    with peer.connect() as wire:
        wire.send(
            octets(
                f"PATCH {path} HTTP/1.1", "Host: tus", "Upload-Offset: 0", BYTES,
                "Content-Length: 10", "Expect: 100-continue",
            )
        )  # fmt: skip
        answer = wire.read("PATCH")
    assert (answer.status, answer.interim) == (412, ())


@pytest.mark.parametrize("target", ["/files/", UNKNOWN, "an upload"])
@pytest.mark.parametrize("line", ["X-None: 1", "Tus-Resumable: 0.2.2", VERSION])
def test_line_02_options_says_what_the_server_can(peer: Peer, target: str, line: str) -> None:
    path = peer.upload(10) if target == "an upload" else target
    answer = peer.ask(f"OPTIONS {path} HTTP/1.1", "Host: tus", line)
    assert answer.status == 204
    assert "1.0.0" in answer.fields["tus-version"].split(",")
    extensions = answer.fields["tus-extension"]
    assert " " not in extensions, "TUSKit does not trim"
    basic = {"creation", "creation-with-upload", "creation-defer-length"}
    assert basic | {"expiration", "termination"} <= set(extensions.split(","))


def test_line_02_options_names_the_maximum(guarded: Peer) -> None:
    for target in ("/files/", UNKNOWN):
        answer = guarded.ask(f"OPTIONS {target} HTTP/1.1", "Host: tus")
        assert answer.fields["tus-max-size"] == "100"


def test_line_02_a_preflight_is_answered_200(peer: Peer) -> None:
    for target in ("/files/", UNKNOWN):
        answer = peer.ask(
            f"OPTIONS {target} HTTP/1.1",
            "Host: tus",
            "Origin: https://app.example",
            "Access-Control-Request-Method: PATCH",
            "Access-Control-Request-Headers: tus-resumable,upload-offset,content-type",
        )
        assert answer.status == 200


def test_line_03_an_override_over_post_is_that_method(peer: Peer) -> None:
    path = peer.upload(6)
    post = (f"POST {path} HTTP/1.1", "Host: tus", VERSION)
    patch = ("Upload-Offset: 0", BYTES, "Content-Length: 3", "X-HTTP-Method-Override: PATCH")
    patched = peer.ask(*post, *patch, body=b"abc")
    assert (patched.status, patched.offset) == (204, 3)
    head = peer.ask(*post, "X-HTTP-Method-Override: HEAD")
    assert (head.status, head.offset, head.body) == (200, 3, b"")
    assert head.fields["upload-length"] == "6"
    assert peer.ask(*post, "X-HTTP-Method-Override: DELETE").status == 204
    assert peer.head(path).status == 404


def test_line_03_what_is_overridden_is_judged_as_that_method(world: World, peer: Peer) -> None:
    path = peer.upload(6, b"abc")
    override = "X-HTTP-Method-Override: PATCH"
    head = (f"POST {path} HTTP/1.1", "Host: tus", override, "Content-Length: 1")
    with world.unchanged():
        assert peer.ask(*head, "Upload-Offset: 3", BYTES, body=b"d").status == 412
        assert peer.ask(*head, VERSION, "Upload-Offset: 3", body=b"d").status == 415
        assert peer.ask(*head, VERSION, "Upload-Offset: 2", BYTES, body=b"d").offset == 3
        collection = peer.ask("POST /files/ HTTP/1.1", "Host: tus", VERSION, override)
        assert collection.status == 405
    # The version is HEAD's to leave out, also when HEAD is written as POST.
    as_head = "X-HTTP-Method-Override: HEAD"
    assert peer.ask(f"POST {path} HTTP/1.1", "Host: tus", as_head).offset == 3


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "GET", "PUT", "PATCH"])
def test_line_03_an_override_beside_another_method_is_ignored(
    world: World, peer: Peer, method: str
) -> None:
    path = peer.upload(6, b"abc")
    statuses = {"HEAD": 200, "OPTIONS": 204, "GET": 404, "PUT": 405, "PATCH": 204}
    override = "X-HTTP-Method-Override: DELETE"
    lines = [f"{method} {path} HTTP/1.1", "Host: tus", VERSION, override]
    if method == "PATCH":
        lines += ["Upload-Offset: 3", BYTES, "Content-Length: 0"]
    assert peer.ask(*lines).status == statuses[method]
    assert peer.head(path).offset == 3
    assert world.traces_of(path)


@pytest.mark.parametrize(
    "value", ["PUT", "POST", "OPTIONS", "GET", "CONNECT", "PATCH, DELETE", "x y", "", "D\u00c9L"]
)
def test_line_03_any_other_override_is_400(world: World, peer: Peer, value: str) -> None:
    path = peer.upload(6, b"abc")
    override = f"X-HTTP-Method-Override: {value}"
    with world.unchanged():
        for target in (path, "/files/"):
            lines = (f"POST {target} HTTP/1.1", "Host: tus", VERSION, "Upload-Length: 3", override)
            answer = peer.ask(*lines)
            assert (answer.status, answer.code) == (400, "invalid_header")


def test_line_03_two_overrides_are_400(world: World, peer: Peer) -> None:
    path = peer.upload(6, b"abc")
    twice = ("X-HTTP-Method-Override: DELETE", "X-HTTP-Method-Override: HEAD")
    with world.unchanged():
        assert peer.ask(f"POST {path} HTTP/1.1", "Host: tus", VERSION, *twice).status == 400


@pytest.mark.parametrize("value", ["-1", "+1", "1.0", "0x1", "1_0", "", "1, 1", "1e1", "\u0661"])
def test_line_04_integers_that_are_none_are_400(world: World, peer: Peer, value: str) -> None:
    path = peer.upload(10)
    deferred = peer.post("Upload-Defer-Length: 1").path
    patch = (f"PATCH {path} HTTP/1.1", "Host: tus", VERSION, BYTES, "Content-Length: 1")
    with world.unchanged():
        for answer in (
            peer.post(f"Upload-Length: {value}"),
            peer.ask(*patch, f"Upload-Offset: {value}", body=b"a"),
            peer.patch(deferred, 0, b"", f"Upload-Length: {value}"),
        ):
            assert (answer.status, answer.code) == (400, "invalid_header")


def test_line_04_the_offset_must_be_there_and_no_integer_may_be_there_twice(
    world: World, peer: Peer
) -> None:
    path = peer.upload(10)
    patch = (f"PATCH {path} HTTP/1.1", "Host: tus", VERSION, BYTES, "Content-Length: 1")
    with world.unchanged():
        assert peer.ask(*patch, body=b"a").status == 400
        assert peer.ask(*patch, "Upload-Offset: 0", "Upload-Offset: 0", body=b"a").status == 400
        assert peer.post("Upload-Length: 1", "Upload-Length: 1").status == 400


def test_line_05_head_is_200_with_offset_and_length_and_is_not_to_be_stored(peer: Peer) -> None:
    for sent in (b"", b"abc", b"abcdef"):
        answer = peer.head(peer.upload(6, sent))
        assert (answer.status, answer.offset) == (200, len(sent))
        assert answer.fields["upload-length"] == "6"
        assert answer.fields["cache-control"] == "no-store"
        assert "upload-defer-length" not in answer.fields


def test_line_05_head_says_when_the_length_is_deferred(peer: Peer) -> None:
    answer = peer.head(peer.post("Upload-Defer-Length: 1").path)
    assert (answer.status, answer.offset) == (200, 0)
    assert answer.fields["upload-defer-length"] == "1"
    assert "upload-length" not in answer.fields


@pytest.mark.parametrize("metadata", ["filename YS50eHQ=,private", "k ,l YQ==", "k YQ== , L Yg=="])
def test_line_05_head_gives_the_metadata_as_it_came(peer: Peer, metadata: str) -> None:
    path = peer.post("Upload-Length: 3", f"Upload-Metadata: {metadata}").path
    assert peer.head(path).fields["upload-metadata"] == metadata
    assert peer.patch(path, 0, b"abc").status == 204
    assert peer.head(path).fields["upload-metadata"] == metadata


@pytest.mark.parametrize("state", ["never made", "terminated", "no id"])
def test_line_05_an_unknown_upload_is_404_without_an_offset(peer: Peer, state: str) -> None:
    path = {"never made": UNKNOWN, "no id": "/files/x", "terminated": peer.upload(3)}[state]
    if state == "terminated":
        assert peer.delete(path).status == 204
    for answer in (peer.head(path), peer.patch(path, 0, b"a"), peer.delete(path)):
        assert answer.status == 404, "tus-java-client makes another upload on 404 only"
        assert "upload-offset" not in answer.fields


def test_line_05_a_head_leaves_the_connection_usable(peer: Peer) -> None:
    # A body behind a HEAD's headers, or half of one, would be taken for the next response.
    known, unknown = peer.upload(3), UNKNOWN
    with peer.connect() as wire:
        for path, status in ((known, 200), (unknown, 404), (known, 200)):
            wire.send(octets(f"HEAD {path} HTTP/1.1", "Host: tus", VERSION))
            assert wire.read("HEAD").status == status
        wire.send(octets(*patch_lines(known, 0), "Content-Length: 1") + b"a")
        assert wire.read("PATCH").offset == 1
