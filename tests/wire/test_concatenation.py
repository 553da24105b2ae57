"""Lines 23 to 26: partial uploads, and final ones that are made of them."""

from __future__ import annotations

from itertools import permutations

import pytest

from tests.support.bodies import KIB, MIB, PART_BYTES, body_of
from tests.support.concat import (
    PARTIAL,
    assert_made_of,
    new_final,
    new_partial,
    partial_key,
    post_final,
)
from tests.support.tus import OCTET_STREAM, TUS, RawClient, id_of, metadata_of, path_of
from tests.support.world import World

P = PART_BYTES


def test_line_23_a_final_upload_has_the_bytes_of_its_partials_in_order(world: World) -> None:
    bodies = [body_of(2 * P + 7, 1), body_of(100, 2), body_of(P + 1, 3)]
    paths = [new_partial(world.client, body) for body in bodies]
    response = post_final(world.client, paths)
    assert (response.status, response.offset) == (201, sum(map(len, bodies)))
    assert_made_of(world, path_of(response), bodies)
    assert_made_of(world, new_final(world.client, reversed(paths)), bodies[::-1])
