"""A part on its way to S3."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine

from tusd_s3 import errors
from tusd_s3.budget import Account
from tusd_s3.planner.cutter import PlannedPart


class Flight:
    """`sending` in a task of its own, of a part that `account` has let go (`Account.send`). Its
    chunks are kept only while they may have to be parked."""

    def __init__(
        self, part: PlannedPart, sending: Coroutine[object, object, str], account: Account
    ) -> None:
        self.chunks = part.chunks
        self._charged = part.fresh_bytes
        self._account = account
        self.task = asyncio.create_task(sending)
        self.task.add_done_callback(self._drop_chunks)

    @property
    def is_running(self) -> bool:
        """Whether it has neither arrived nor failed."""
        return not self.task.done()

    @property
    def is_landed(self) -> bool:
        """Whether S3 has it; its ETag is the task's result then."""
        return self.task.done() and not self.task.cancelled() and self.task.exception() is None

    @property
    def failure(self) -> errors.UploadError | None:
        """Why the part could not be stored. Raises what is not an expected failure."""
        if not self.task.done():
            return None
        if self.task.cancelled():
            return errors.LeaseLost()
        if (error := self.task.exception()) is None:
            return None
        if isinstance(error, errors.UploadError):
            return error
        raise error

    def _drop_chunks(self, _: asyncio.Task[str]) -> None:
        # In this order: memory that is free before there is room for it goes back to the system.
        self._account.sent(self._charged, is_stored=self.is_landed)
        if self.is_landed:
            self.chunks = ()
