"""Blocks of memory: in use as long as anybody can see them, and used again after that."""

from __future__ import annotations

import math

import pytest

from tests.support.bodies import KIB, MIB
from tusd_s3.blocks import SPARE_BYTES, TIDY_BYTES, Blocks, Stock

SIZE = 64 * KIB
SPARE = SPARE_BYTES // SIZE
LATER_S = math.inf


def blocks_of() -> Blocks:
    return Stock(lambda: 1024 * MIB, [SIZE]).kinds[0]


def free(blocks: Blocks, count: int) -> None:
    """Make so many free ones."""
    taken = [blocks.take() for _ in range(count)]
    assert len(taken) == blocks.used_count


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


def test_the_block_that_was_used_last_is_used_first() -> None:
    blocks = blocks_of()
    first, last = blocks.take(), blocks.take()
    first[:4], last[:4] = b"1st.", b"last"
    del first
    del last
    assert bytes(blocks.take()[:4]) == b"last"


def test_free_blocks_are_kept_until_there_is_no_room() -> None:
    room = 64 * MIB
    stock = Stock(lambda: room, [SIZE, 4 * SIZE])
    small, large = stock.kinds
    free(small, 8)
    free(large, 2)
    stock.fit()
    assert stock.free_bytes == 16 * SIZE
    room = 5 * SIZE + 1
    stock.fit()
    assert (small.free_bytes, large.free_bytes) == (5 * SIZE, 0), "the largest go first"
    room = -1
    stock.fit()
    assert stock.free_bytes == small.free_bytes == 0


def test_free_blocks_of_one_size_make_way_for_another() -> None:
    stock = Stock(lambda: room, [SIZE, 4 * SIZE])
    small, large = stock.kinds
    room = 8 * SIZE
    free(small, 8)
    room = 4 * SIZE  # what is about to be taken was charged
    block = large.take()
    assert (stock.free_bytes, len(block)) == (4 * SIZE, 4 * SIZE)


def test_what_nobody_needed_for_long_goes_back_a_little_at_a_time() -> None:
    stock = Stock(lambda: 1024 * MIB, [SIZE])
    [blocks] = stock.kinds
    step = TIDY_BYTES // SIZE
    free(blocks, SPARE + 2 * step + 1)
    for left in (SPARE + step + 1, SPARE + 1):
        assert stock.tidy(LATER_S)
        assert stock.free_bytes == blocks.free_bytes == left * SIZE
    assert not stock.tidy(LATER_S)
    assert not stock.tidy(LATER_S)
    assert blocks.free_bytes == SPARE_BYTES


def test_what_was_needed_meanwhile_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now_s)
    stock = Stock(lambda: 1024 * MIB, [SIZE])
    [blocks] = stock.kinds
    free(blocks, SPARE + 5)
    now_s = 110.0
    free(blocks, SPARE + 3)
    assert stock.tidy(100.0)
    assert blocks.free_bytes == (SPARE + 5) * SIZE, "not for longer than that"
    assert stock.tidy(105.0)
    assert blocks.free_bytes == (SPARE + 3) * SIZE


def test_while_blocks_are_in_use_there_will_be_more_to_give_back() -> None:
    stock = Stock(lambda: 1024 * MIB, [SIZE])
    block = stock.kinds[0].take()
    assert stock.tidy(LATER_S)
    del block
    assert not stock.tidy(LATER_S)
