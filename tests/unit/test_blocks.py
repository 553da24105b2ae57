"""Blocks of memory: in use as long as anybody can see them, and used again after that."""

from __future__ import annotations

import pytest

from tests.support.bodies import KIB, MIB
from tusd_s3.blocks import SPARE_BYTES, Blocks

SIZE = 64 * KIB
SPARE = SPARE_BYTES // SIZE


def blocks_of(room: int = 1024 * MIB) -> Blocks:
    return Blocks(SIZE, lambda: room)


def test_a_block_is_whole_and_writable() -> None:
    block = blocks_of().take()
    block[:] = bytes(range(256)) * (SIZE // 256)
    assert (len(block), block[255], block[-1]) == (SIZE, 255, 255)


def test_no_two_uses_share_memory() -> None:
    blocks = blocks_of()
    taken = [blocks.take() for _ in range(8)]
    for number, block in enumerate(taken):
        block[:] = bytes([number]) * SIZE
    assert [set(block) for block in taken] == [{number} for number in range(8)]


@pytest.mark.parametrize("last", [slice(0, 1), slice(SIZE - 1, SIZE), slice(0, SIZE)])
def test_a_block_is_in_use_until_its_last_view_is_gone(last: slice) -> None:
    blocks = blocks_of()
    block = blocks.take()
    view = block[1:][:-1]
    rest = block[last].toreadonly()
    del block
    del view
    assert (blocks.used_count, blocks.free_bytes) == (1, 0)
    del rest
    assert (blocks.used_count, blocks.free_bytes) == (0, SIZE)


def test_what_was_given_back_is_used_again() -> None:
    blocks = blocks_of()
    block = blocks.take()
    block[:4] = b"mark"
    del block
    again = blocks.take()
    assert (bytes(again[:4]), blocks.free_bytes) == (b"mark", 0)


def test_of_free_blocks_some_are_kept() -> None:
    blocks = blocks_of()
    taken = [blocks.take() for _ in range(3 * SPARE)]
    taken.clear()
    assert blocks.free_bytes == SPARE_BYTES


def test_beside_blocks_in_use_as_many_free_ones_are_kept() -> None:
    blocks = blocks_of()
    held = [blocks.take() for _ in range(10)]
    taken = [blocks.take() for _ in range(3 * SPARE)]
    taken.clear()
    assert blocks.free_bytes == SPARE_BYTES + len(held) * SIZE


def test_free_blocks_are_kept_only_where_there_is_room() -> None:
    room = 1024 * MIB
    blocks = Blocks(SIZE, lambda: room)
    taken = [blocks.take() for _ in range(8)]
    room = 2 * SIZE + 1
    taken.clear()
    assert blocks.free_bytes == 2 * SIZE
    room = -1
    blocks.trim()
    assert blocks.free_bytes == 0
