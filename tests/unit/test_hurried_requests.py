"""Whose requests shorten the turns of the event loop: those that move little."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from uvicorn import Config
from uvicorn._types import ASGIReceiveCallable, ASGISendCallable, Scope
from uvicorn.server import ServerState

from tests.support.bodies import MIB
from tusd_s3.app.inbox import BUDGET_KEY, PACE_KEY
from tusd_s3.budget import READ_MAX_BYTES, MemoryBudget
from tusd_s3.pace import Pace
from tusd_s3.serving.reads import MeasuredReads


class CountingPace(Pace):
    """Counts who is in a hurry."""

    count = 0

    def hurry(self) -> None:
        self.count += 1
        super().hurry()


async def answer_at_once(
    _scope: Scope, _receive: ASGIReceiveCallable, send: ASGISendCallable
) -> None:
    """The body is nobody's concern."""
    await send({"type": "http.response.start", "status": 204, "headers": [], "trailers": False})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


@asynccontextmanager
async def listening(pace: Pace) -> AsyncIterator[int]:
    """The port of our HTTP server, which uses `pace`."""
    config = Config(answer_at_once, lifespan="off", log_config=None)
    config.load()
    state = {BUDGET_KEY: MemoryBudget(64 * MIB, 5 * MIB), PACE_KEY: pace}

    def protocol() -> MeasuredReads:
        return MeasuredReads(config=config, server_state=ServerState(), app_state=state)

    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.mark.parametrize(
    ("method", "field", "is_hurried"),
    [
        ("HEAD", "", True),
        ("POST", "Content-Length: 0\r\n", True),
        ("PATCH", f"Content-Length: {READ_MAX_BYTES}\r\n", True),
        ("PATCH", f"Content-Length: {READ_MAX_BYTES + 1}\r\n", False),
        ("PATCH", "Transfer-Encoding: chunked\r\n", False),
    ],
)
async def test_only_what_moves_little_shortens_turns(
    method: str, field: str, is_hurried: bool
) -> None:
    pace = CountingPace()
    async with asyncio.timeout(10), listening(pace) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"{method} / HTTP/1.1\r\nHost: here\r\n{field}\r\n".encode())
        assert (await reader.readline()).startswith(b"HTTP/1.1 204")
        writer.close()
        await writer.wait_closed()
    assert pace.count == is_hurried
