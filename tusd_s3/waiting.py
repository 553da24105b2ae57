"""Waiting for something that may not come."""

from __future__ import annotations

import asyncio


async def event_or_timeout(event: asyncio.Event, timeout_s: float) -> None:
    """Return when the event is set, or after `timeout_s`."""
    try:
        async with asyncio.timeout(timeout_s):
            await event.wait()
    except TimeoutError:
        pass
