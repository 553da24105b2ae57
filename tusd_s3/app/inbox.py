"""A request body on its way from our own HTTP server to the application.

ASGI would have it copied into one buffer and out of it again. Here the pieces go on as they came
off the socket, and the connection is read only while somebody waits for more.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from tusd_s3.budget import Account
from tusd_s3.ports import BodyEnd

INBOX_KEY: Final = "tusd_s3.inbox"
"""Scope key under which our own HTTP server leaves the body of a request."""

BUDGET_KEY: Final = "tusd_s3.budget"
"""Key of the lifespan state under which that server finds what bodies are charged to."""


class Inbox:
    """The body of one request.

    account: what comes in is charged there.
    resume: called when more is wanted, so that the connection is read.
    """

    def __init__(self, account: Account, resume: Callable[[], None]) -> None:
        self.account = account
        self._resume = resume
        self._chunks: deque[bytes] = deque()
        self._end: BodyEnd | None = None
        self._closed = False
        self._waiter: asyncio.Future[None] | None = None

    @property
    def is_wanted(self) -> bool:
        """Whether somebody waits for more."""
        return self._waiter is not None and not self._waiter.done()

    @property
    def has_some(self) -> bool:
        """Whether `read` would answer at once."""
        return bool(self._chunks) or self._end is not None

    def push(self, chunk: bytes) -> None:
        """The next bytes, as they came."""
        if self._closed:
            return
        self.account.charge(len(chunk))
        self._chunks.append(chunk)
        self._wake()

    def end(self, end: BodyEnd) -> None:
        """Nothing more comes. The first end counts."""
        if self._end is None:
            self._end = end
            self._wake()

    def close(self) -> None:
        """Nobody reads any more: what was not read is dropped."""
        self._closed = True
        self._chunks.clear()
        self.account.close()

    async def read(self) -> bytes | BodyEnd:
        """The next chunk, or how the body ended. Cancelling a call loses no byte."""
        while not self._chunks:
            if self._end is not None:
                return self._end
            self._waiter = asyncio.get_running_loop().create_future()
            self._resume()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return self._chunks.popleft()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
