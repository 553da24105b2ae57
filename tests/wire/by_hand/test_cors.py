"""Line 27, in bytes: what a browser must read to let a page upload."""

from __future__ import annotations

import pytest

from tests.support.cors import ALLOWED, EXPOSED, METHODS
from tests.support.wire_bytes import Answer, Peer

UNKNOWN = "/files/AAAAAAAAAAAAAAAAAAAAAA"
PAGE = "https://app.example"
STRANGER = "https://app.example.evil.org"


def preflight(peer: Peer, target: str, origin: str, method: str, headers: str) -> Answer:
    return peer.ask(
        f"OPTIONS {target} HTTP/1.1",
        "Host: tus",
        f"Origin: {origin}",
        f"Access-Control-Request-Method: {method}",
        f"Access-Control-Request-Headers: {headers}",
    )


@pytest.mark.parametrize("target", ["/files/", UNKNOWN])
@pytest.mark.parametrize("method", ["POST", "GET", "HEAD", "PATCH", "DELETE"])
def test_line_27_a_preflight_allows_what_tus_clients_send(
    peer: Peer, target: str, method: str
) -> None:
    answer = preflight(peer, target, PAGE, method, ",".join(sorted(ALLOWED)))
    assert answer.status == 200
    assert answer.fields["access-control-allow-origin"] in {"*", PAGE}
    assert answer.tokens("access-control-allow-methods") == METHODS
    assert answer.tokens("access-control-allow-headers") >= ALLOWED


def each_kind(peer: Peer, origin: str) -> list[Answer]:
    """Answers of many kinds to a page of `origin`, errors above all."""
    said = f"Origin: {origin}"
    path = peer.upload(10)
    return [
        peer.post("Upload-Length: 5", said),
        peer.head(path, said),
        peer.patch(path, 0, b"abc", said),
        peer.ask("OPTIONS /files/ HTTP/1.1", "Host: tus", said),
        peer.post("Upload-Length: x", said),
        peer.head(UNKNOWN, said),
        peer.ask("GET /files/not/there HTTP/1.1", "Host: tus", said),
        peer.ask(f"PUT {path} HTTP/1.1", "Host: tus", said),
        peer.patch(path, 9, b"a", said),
        peer.ask(f"PATCH {path} HTTP/1.1", "Host: tus", said),
        peer.patch(path, 3, b"a" * 20, said),
        peer.patch(path, 3, b"a", said, "X-HTTP-Method-Override: PUT"),
        peer.post("Upload-Length: 5", "Upload-Metadata: k " + "A" * 9000, said),
        peer.delete(path, said),
    ]


def test_line_27_a_page_can_read_every_answer(peer: Peer) -> None:
    answers = each_kind(peer, PAGE)
    assert {answer.status for answer in answers} >= {200, 201, 204, 400, 404, 405, 409, 412, 413}
    for answer in answers:
        assert answer.fields["access-control-allow-origin"] in {"*", PAGE}, answer
        assert answer.tokens("access-control-expose-headers") >= EXPOSED, answer
        assert "access-control-allow-credentials" not in answer.fields


@pytest.mark.parametrize("origin", [PAGE, "http://localhost:3000"])
def test_line_27_with_credentials_the_origin_is_echoed(guarded: Peer, origin: str) -> None:
    asked = preflight(guarded, "/files/", origin, "PATCH", "upload-offset,x-mine")
    assert asked.status == 200
    assert "x-mine" in asked.tokens("access-control-allow-headers")
    for answer in [asked, *each_kind(guarded, origin)]:
        assert answer.fields["access-control-allow-origin"] == origin, answer
        assert answer.fields["access-control-allow-credentials"] == "true"
        assert "origin" in answer.tokens("vary")
        stars = [name for name, value in answer.fields.items() if "*" in value]
        assert not stars, "a star means nothing to a request with credentials"


def test_line_27_configured_headers_are_exposed_too(guarded: Peer) -> None:
    for answer in each_kind(guarded, PAGE):
        assert answer.tokens("access-control-expose-headers") >= EXPOSED | {"x-ours"}


@pytest.mark.parametrize("origin", [STRANGER, "http://app.example", "null", "*"])
def test_line_27_other_origins_are_told_nothing(guarded: Peer, origin: str) -> None:
    for answer in each_kind(guarded, origin):
        assert "access-control-allow-origin" not in answer.fields, answer
        assert "origin" in answer.tokens("vary"), "a cache must not hand this to another origin"
