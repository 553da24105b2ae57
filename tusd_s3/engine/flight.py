"""Parts on their way to S3."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine

from tusd_s3 import errors
from tusd_s3.budget import Account
from tusd_s3.model.chunk import Chunk
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


class Flights:
    """The parts of one body that are not recorded yet, in order. Of those that have landed with
    none in flight before them, only the ETags are kept: no look at the others passes them again.
    """

    def __init__(self) -> None:
        self._landed: list[str] = []
        self._flights: deque[Flight] = deque()

    def begin(
        self, part: PlannedPart, sending: Coroutine[object, object, str], account: Account
    ) -> None:
        """See `Flight`."""
        self._flights.append(Flight(part, sending, account))

    @property
    def tasks(self) -> list[asyncio.Task[str]]:
        """Of all that have not landed, and perhaps of some that have."""
        return [flight.task for flight in self._flights]

    @property
    def running(self) -> list[asyncio.Task[str]]:
        """Of those that are in flight."""
        self._set_landed_aside()
        return [flight.task for flight in self._flights if flight.is_running]

    @property
    def failure(self) -> errors.UploadError | None:
        """The error of the first part in order that has failed so far."""
        failures = [flight.failure for flight in self._flights]
        return next((failure for failure in failures if failure is not None), None)

    @property
    def are_left(self) -> bool:
        """Whether `take_landed` has left any."""
        return bool(self._flights)

    @property
    def first_chunks(self) -> tuple[Chunk, ...]:
        """Of the first one that `take_landed` has left."""
        return self._flights[0].chunks

    def take_landed(self) -> list[str]:
        """ETags of the parts that are stored and contiguous with the recorded ones."""
        self._set_landed_aside()
        taken, self._landed = self._landed, []
        return taken

    def _set_landed_aside(self) -> None:
        while self._flights and self._flights[0].is_landed:
            self._landed.append(self._flights.popleft().task.result())
