"""What workers tell each other: short messages on a channel that each of them has (pub/sub).

A message is a verb and what it is about. Nothing is kept: one that is sent while nobody listens, or
while the connection is broken, is lost, so nothing may rely on its coming.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable

from tusd_s3.stores.redis.client import FAILURES, Client, subscribed
from tusd_s3.stores.redis.keys import Keys

logger = logging.getLogger("tusd_s3.leases")

Handler = Callable[[str], None]
"""Takes what follows the verb. Called on the event loop's thread; it must not raise."""

_RECONNECT_PAUSE_S = 0.2
"""Between attempts to listen again after the connection of the channel broke."""

_LISTEN_TIMEOUT_S = 1.0
"""How long one wait for a message lasts before the connection's health is looked at."""


class WorkerChannel:
    """The channel of this worker. worker: its name, different for each that ever runs."""

    def __init__(self, client: Client, keys: Keys) -> None:
        self.worker = secrets.token_hex(8)
        self._client = client
        self._keys = keys
        self._handlers: dict[str, Handler] = {}

    def on(self, verb: str, handler: Handler) -> None:
        """From now on, messages with this verb go to `handler`."""
        self._handlers[verb] = handler

    async def listen_forever(self, listening: asyncio.Event) -> None:
        """Take messages, over a new connection whenever one breaks; sets `listening` at first."""
        while True:
            try:
                async with subscribed(self._client, self._keys.channel(self.worker)) as channel:
                    listening.set()
                    while True:
                        message = await channel.get_message(timeout=_LISTEN_TIMEOUT_S)
                        if message is not None and isinstance(message["data"], bytes):
                            self._take(message["data"].decode())
            except FAILURES as error:
                logger.warning("the worker's channel broke: %s", type(error).__name__)
                await asyncio.sleep(_RECONNECT_PAUSE_S)

    def _take(self, message: str) -> None:
        verb, _, rest = message.partition(" ")
        handler = self._handlers.get(verb)
        if handler is not None:
            handler(rest)
