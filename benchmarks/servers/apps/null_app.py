"""The floor: an ASGI application that takes bodies, drops them, and answers as a tus server would.

It hands out as many bytes again, which it says are zeros.

What is measured of it is the price of uvicorn and of the bytes themselves. It keeps the offsets of
its uploads in memory, so it is for one worker; with several, it believes what clients say.
"""

from __future__ import annotations

import itertools
import os

from starlette.types import Message, Receive, Scope, Send

_BASE_PATH = "/files/"
_ZEROS = bytes(256 * 1024)
_Headers = list[tuple[bytes, bytes]]

_ids = itertools.count()
_offsets: dict[str, int] = {}


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """The application."""
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
        return
    if scope["method"] == "GET":
        await _give(_offsets.get(scope["path"], 0), send)
        return
    headers = dict(scope["headers"])
    status, answer = 204, []
    if scope["method"] == "POST":
        path = f"{_BASE_PATH}{os.getpid()}-{next(_ids)}"
        status = 201
        answer = [(b"location", path.encode()), *await _take(path, 0, receive)]
    elif scope["method"] == "PATCH":
        start = int(headers[b"upload-offset"])
        answer = await _take(scope["path"], start, receive)
    elif scope["method"] == "HEAD":
        status = 200
        answer = [(b"upload-offset", b"%d" % _offsets.get(scope["path"], 0))]
    await send(_start(status, answer))
    await send({"type": "http.response.body", "body": b""})


async def _take(path: str, offset: int, receive: Receive) -> _Headers:
    """Drop a body, and say to which offset it brought the upload."""
    more = True
    while more:
        message = await receive()
        more = message.get("more_body", False)
        offset += len(message.get("body", b""))
        # A PATCH that was cut may still be read while the one that goes on is.
        _offsets[path] = max(offset, _offsets.get(path, 0))
    return [(b"upload-offset", b"%d" % offset)]


async def _give(size: int, send: Send) -> None:
    """As many bytes as were taken, all of them zero."""
    headers = [(b"content-length", b"%d" % size), (b"x-bytes", b"zero")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    while size > len(_ZEROS):
        size -= len(_ZEROS)
        await send({"type": "http.response.body", "body": _ZEROS, "more_body": True})
    await send({"type": "http.response.body", "body": _ZEROS[:size]})


def _start(status: int, headers: _Headers) -> Message:
    common = [(b"tus-resumable", b"1.0.0")]
    if status != 204:
        common.append((b"content-length", b"0"))
    return {"type": "http.response.start", "status": status, "headers": [*common, *headers]}


async def _lifespan(receive: Receive, send: Send) -> None:
    while (await receive())["type"] != "lifespan.shutdown":
        await send({"type": "lifespan.startup.complete"})
    await send({"type": "lifespan.shutdown.complete"})
