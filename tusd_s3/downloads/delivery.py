"""The bytes of one download: read as the client takes them, and asked for again where they break.

A store that ends a transfer in the middle, which some do with slow readers, is asked for the rest.
`If-Match` and the answer's own tag make sure that it is the rest of the same object; bytes of two
objects are never handed out as one. What the client has been promised cannot be taken back, so all
that is left then is to break off where everybody notices: in the middle of the body.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from tusd_s3 import errors, limits
from tusd_s3.downloads.window import Window
from tusd_s3.ports_downloads import BehindTheEnd, ObjectBody, ObjectChanged, ObjectReads
from tusd_s3.protocol.ranges import RangeSpec

logger = logging.getLogger("tusd_s3.downloads")

TRIES_MAX: Final = 5
"""Asked again so often in a row. Each is an attempt that the adapter itself repeats."""

FIRST_PAUSE_S: Final = 0.1
"""Before the first of them; it doubles: 1.5 s for four, in which a store that was restarted or a
connection that was dropped is back."""

PROGRESS_BYTES: Final = 64 * limits.KIB
"""So much must have come before the count begins anew: a store that breaks off after every byte
would be asked for ever."""


class DeliveryBroken(errors.StorageUnavailable):
    """The rest cannot be had, or is another object's."""


class Delivery:
    """One download under way. To be closed.

    body: what the store gave first. window: where its bytes go. is_partial: whether that is what
    was asked for, and not the whole object instead.
    """

    def __init__(
        self,
        reads: ObjectReads,
        key: str,
        body: ObjectBody,
        window: Window,
        *,
        is_partial: bool,
    ) -> None:
        self._reads = reads
        self._key = key
        self._body: ObjectBody | None = body
        self._at = body.span.start
        self._tries = 0
        self._tried_at = self._at
        self.is_partial = is_partial
        self.info = body.info
        self.span = body.span
        self.window = window
        window.charge(body.own_bytes)

    async def next(self) -> memoryview | None:
        """The next bytes, which stay what they are until the next call; None behind the last.
        Raises DeliveryBroken."""
        left = self.span.stop - self._at
        if not left:
            self._close_body()
            return None
        room = self.window.room
        if left < len(room):
            room = room[:left]
        while True:
            try:
                body = self._body or await self._rest()
                size = await body.read_into(room)
            except errors.StorageUnavailable as error:
                await self._pause(error)
            else:
                self._at += size
                return room[:size]

    def close(self) -> None:
        """The client has all, or is gone."""
        self._close_body()
        self.window.close()

    async def _pause(self, error: errors.StorageUnavailable) -> None:
        """Before the next try, if there is one."""
        self._close_body()
        if isinstance(error, DeliveryBroken) or self.info.validators.etag is None:
            raise DeliveryBroken from error
        if self._at - self._tried_at >= PROGRESS_BYTES:
            self._tries = 0
        if self._tries == TRIES_MAX:
            logger.warning("a download ends after %s attempts to go on", TRIES_MAX)
            raise DeliveryBroken from error
        self._tried_at = self._at
        await asyncio.sleep(FIRST_PAUSE_S * 2**self._tries)
        self._tries += 1

    async def _rest(self) -> ObjectBody:
        """The object from where we are. Raises DeliveryBroken if it is not the same any more."""
        rest = RangeSpec(self._at, self.span.stop - 1)
        etag = self.info.validators.etag
        try:
            body = await self._reads.open(self._key, rest, if_match=etag)
        except (ObjectChanged, BehindTheEnd, errors.NoSuchObject) as error:
            logger.warning("a download ends: its object was replaced or removed")
            raise DeliveryBroken from error
        self._body = body
        is_rest = (body.span.start, body.span.stop) == (self._at, self.span.stop)
        if body.info.validators.etag != etag or not is_rest:
            logger.warning("a download ends: its object was replaced")
            raise DeliveryBroken
        return body

    def _close_body(self) -> None:
        if self._body is not None:
            self._body.close()
            self._body = None
