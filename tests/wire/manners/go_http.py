"""How Go's HTTP client writes a request: its own lines, the application's sorted by name, and what
its transport adds. Names are in their canonical form; a `Content-Length` that the application sets
among its headers is dropped, and one is written of the body instead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tests.support.raw import RawResponse
from tests.wire.manners.line import Line, Request


def ask(
    line: Line,
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes = b"",
    *,
    agent: str = "Go-http-client/1.1",
    trailers: Sequence[tuple[str, str]] | None = None,
) -> RawResponse:
    """The answer to a request; with `trailers`, which may be none, its body is chunked."""
    framing: list[tuple[str, str]] = []
    if trailers is not None:
        framing.append(("Transfer-Encoding", "chunked"))
        framing += [("Trailer", name) for name, _ in trailers]
    elif body or method in {"POST", "PATCH"}:
        framing.append(("Content-Length", f"{len(body)}"))
    fields = [
        *(("Host", line.host), ("User-Agent", agent)),
        *framing,
        *sorted(headers.items()),
    ]
    if method != "HEAD":
        fields.append(("Accept-Encoding", "gzip"))
    return line.ask(Request(method, url, fields, body, 32 * 1024, trailers or ()))
