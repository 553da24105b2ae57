"""GET of an upload: the room of what goes out, beside the one of what comes in."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, TypeVar

from starlette.types import Receive, Scope, Send

from tusd_s3 import limits
from tusd_s3.app.body import AsgiBody
from tusd_s3.app.endpoints import Endpoint, Resource, requested_upload
from tusd_s3.app.outlet import Outlet
from tusd_s3.app.respond import start_message
from tusd_s3.budget import MemoryBudget
from tusd_s3.downloads import (
    Delivery,
    DeliveryBroken,
    DownloadRequest,
    Downloads,
    Unchanged,
)
from tusd_s3.engine import Uploads
from tusd_s3.pace import Pace
from tusd_s3.protocol.conditions import parse_conditions
from tusd_s3.protocol.download import render_content, render_link, render_not_modified
from tusd_s3.protocol.fields import Fields
from tusd_s3.protocol.message import Response
from tusd_s3.protocol.ranges import parse_range

logger = logging.getLogger("tusd_s3.app")

T = TypeVar("T")

_MUCH_BYTES: Final = 64 * limits.KIB
"""Pieces from here on ask the event loop's pace: a hundred fast readers at once would hold it."""

_CLIENT_LEFT: Final = Response(499)
"""For the log: nobody is there to be told."""

_GONE_WITHIN_S: Final = 1.0
"""How long a connection that was broken off may take to be reported as such."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadManners:
    """How downloads are served. is_redirected: by an address of the store's. stall_s: how long a
    client may take nothing. is_ours: see `Outlet`. pace: of the event loop, for wide windows."""

    is_redirected: bool
    stall_s: float
    is_ours: bool
    pace: Pace


@dataclass(frozen=True, slots=True)
class _Content(Response):
    """A response whose body is on its way, to a client that may leave."""

    delivery: Delivery | None = None
    gone: asyncio.Task[None] | None = None


class Download(Endpoint):
    """GET of an upload; all other methods are `resource`'s."""

    def __init__(
        self,
        resource: Resource,
        downloads: Callable[[], Downloads],
        uploads: Callable[[], Uploads],
        max_upload_bytes: int,
        budget: MemoryBudget,
        manners: DownloadManners,
    ) -> None:
        super().__init__(uploads, max_upload_bytes, budget)
        self.allow = resource.allow
        self._resource = resource
        self._downloads = downloads
        self._manners = manners

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["method"] == "GET":
            await super().__call__(scope, receive, send)
        else:
            await self._resource(scope, receive, send)

    async def handle(
        self, _method: str, /, scope: Scope, fields: Fields, body: AsgiBody
    ) -> Response:
        """GET."""
        upload_id = requested_upload(scope)
        downloads = self._downloads()
        if self._manners.is_redirected:
            return render_link(await downloads.link(upload_id))
        request = DownloadRequest(wanted=parse_range(fields), conditions=parse_conditions(fields))
        if body.is_pending:  # who sends a body instead of waiting is seen to leave later
            return _opened(downloads, await downloads.open(upload_id, request), gone=None)
        gone = asyncio.create_task(body.disconnected(), name="tusd-s3 download")
        try:
            answer = await _until(gone, downloads.open(upload_id, request))
            response = _opened(downloads, answer, gone)
        except BaseException:
            gone.cancel()
            raise
        if not isinstance(response, _Content):
            gone.cancel()
        return response

    async def send(
        self, response: Response, scope: Scope, receive: Receive, body: AsgiBody, send: Send
    ) -> None:
        """See `Endpoint.send`."""
        if not isinstance(response, _Content) or response.delivery is None:
            await super().send(response, scope, receive, body, send)
            return
        try:
            head = start_message(response)
            if body.is_pending:  # a GET with a body: nothing of it may be taken for a request
                await body.discard()
            if body.is_pending:
                head["headers"].append((b"connection", b"close"))
            gone = response.gone or asyncio.create_task(body.disconnected())
            try:
                await send(head)
                await self._deliver(response.delivery, scope, gone, send)
            finally:
                gone.cancel()
        finally:
            self._downloads().finish(response.delivery)

    async def _deliver(
        self, delivery: Delivery, scope: Scope, gone: asyncio.Task[None], send: Send
    ) -> None:
        """The body, until it is whole, or the client is gone or takes nothing any more, or the rest
        cannot be had."""
        outlet = Outlet(scope, send, is_ours=self._manners.is_ours)
        try:
            async with asyncio.timeout(None) as limit:
                end_now = functools.partial(_end_now, limit)
                gone.add_done_callback(end_now)
                with outlet.watched(self._manners.stall_s, end_now):
                    await pump(delivery, outlet, self._manners.pace)
        except (TimeoutError, DeliveryBroken) as error:
            if not gone.done():
                logger.info("%s broken off: %s", scope["path"], type(error).__name__)
                outlet.abort()
                # A server that does not know yet would complain that we go.
                await asyncio.wait({gone}, timeout=_GONE_WITHIN_S)


async def pump(delivery: Delivery, outlet: Outlet, pace: Pace) -> None:
    """All of `delivery` to the client, a window at a time. Raises DeliveryBroken."""
    loop, window = asyncio.get_running_loop(), delivery.window
    while (piece := await delivery.next()) is not None:
        is_full = len(piece) == len(window.room)
        if len(piece) >= _MUCH_BYTES:
            await pace.turn(len(piece))
        written_at_s = loop.time()
        await outlet.write(piece)
        window.taken(within_s=loop.time() - written_at_s, is_full=is_full)
    await outlet.end()


async def _until(gone: asyncio.Task[None], work: Awaitable[T]) -> T | None:
    """What comes of `work`; None if the client left before: then it is cancelled."""
    try:
        async with asyncio.timeout(None) as limit:
            end_now = functools.partial(_end_now, limit)
            gone.add_done_callback(end_now)
            try:
                return await work
            finally:
                gone.remove_done_callback(end_now)
    except TimeoutError:
        if limit.expired():
            return None
        raise  # it is the work's own


def _end_now(limit: asyncio.Timeout, _: object = None) -> None:
    with suppress(RuntimeError):  # it has ended already
        limit.reschedule(asyncio.get_running_loop().time())


def _opened(
    downloads: Downloads, answer: Delivery | Unchanged | None, gone: asyncio.Task[None] | None
) -> Response:
    if answer is None:
        return _CLIENT_LEFT
    if isinstance(answer, Unchanged):
        return render_not_modified(answer.validators)
    try:
        head = _head_of(answer)
    except BaseException:
        downloads.finish(answer)
        raise
    return _Content(head.status, head.headers, delivery=answer, gone=gone)


def _head_of(delivery: Delivery) -> Response:
    info = delivery.info
    return render_content(
        delivery.span,
        info.validators,
        is_partial=delivery.is_partial,
        content_type=info.content_type,
        content_disposition=info.content_disposition,
    )
