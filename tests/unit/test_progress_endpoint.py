"""The stream of a watcher that takes nothing, on a server that cannot tell."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from starlette.types import Message, Scope

from tests.unit.progress.test_state import an_upload
from tests.unit.progress.test_watching import World, watched
from tusd_s3.app.progress import ProgressResource
from tusd_s3.app.streaming import STREAM_KEY
from tusd_s3.budget import MemoryBudget
from tusd_s3.engine import Uploads

STALL_MAX_S = 0.05


class Connection:
    """`StreamConnection`; notes what is asked of it."""

    def __init__(self) -> None:
        self.asked: list[object] = []

    def begin_stream(self, stall_max_s: float) -> None:
        self.asked.append(stall_max_s)

    def abort(self) -> None:
        self.asked.append("abort")


def no_uploads() -> Uploads:
    raise AssertionError("who watches needs none")


async def never() -> Message:
    await asyncio.Event().wait()
    raise AssertionError


def stalling(sent: list[Message]) -> Callable[[Message], asyncio.Future[None]]:
    """Takes the head and one piece, and nothing after that."""

    def send(message: Message) -> asyncio.Future[None]:
        sent.append(message)
        taken = asyncio.get_running_loop().create_future()
        if len(sent) <= 2:
            taken.set_result(None)
        return taken

    return send


async def test_it_is_cut_after_the_time_and_its_place_is_free() -> None:
    world, connection, sent = World(), Connection(), list[Message]()
    upload = an_upload()
    world.uploads[upload.id] = upload
    budget = MemoryBudget(1 << 20, 1 << 18)
    async with watched(world) as service:
        resource = ProgressResource(no_uploads, lambda: service, 1, budget, STALL_MAX_S)
        scope: Scope = {
            "type": "http", "method": "GET", "path": "/", "headers": [],
            "path_params": {"upload_id": upload.id}, STREAM_KEY: connection,
        }  # fmt: skip
        await asyncio.wait_for(resource(scope, never, stalling(sent)), 5)
        assert connection.asked == [STALL_MAX_S, "abort"]
        assert len(sent) == 3
        assert service._watched == {}
        assert budget.body_count == 0
