"""A client that does not give up, what is true when it has arrived, and what it cannot know."""

from __future__ import annotations

import re

import pytest

from tests.support.tus import RawClient
from tests.support.waiting import eventually
from tests.support.world import World

SETBACKS = frozenset({409, 423, 503})
"""Answers after which clients ask for the offset and go on."""

_UPLOAD_ID = re.compile(r"(?<![\w-])[\w-]{22}(?![\w-])")


def finish(client: RawClient, path: str, body: bytes, *, within_s: float = 30.0) -> None:
    """Bring an upload to its end as real clients do: ask where it is, send the rest, ask again.

    The length is declared on the way, for uploads that still defer it.
    """
    declared = {"Upload-Length": f"{len(body)}"}

    def arrived() -> bool:
        offset = client.offset_of(path)
        response = client.patch(path, offset, body[offset:], declared)
        if response.status in SETBACKS:
            return False
        if (response.status, response.offset) != (204, len(body)):
            pytest.fail(f"{path} was at {offset}: {response}")
        return True

    eventually(arrived, within_s=within_s, what=f"{path} arrives")


def assert_ends_well(world: World, path: str, body: bytes) -> None:
    """The upload can be brought to its end, and its object is `body`."""
    finish(world.client, path, body)
    assert world.client.head(path).offset == len(body)
    assert world.object_of(path) == body


def uploads_in(world: World) -> set[str]:
    """Paths of all uploads that Redis knows: also of those whose creation was never answered."""
    found = (_UPLOAD_ID.search(key) for key in world.redis.keys(""))
    return {world.client.base_path + match[0] for match in found if match}
