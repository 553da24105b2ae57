"""The model itself: it explains what is possible, and nothing else."""

from __future__ import annotations

import pytest

from tests.campaign.ledger import Ledger, Violation, Writer
from tests.support.bodies import PART_BYTES

LENGTH = 30


def variant(which: int) -> bytes:
    return bytes([65 + which]) * LENGTH


def observe(ledger: Ledger, offset: int) -> None:
    ledger.observe(offset, told_before=ledger.acknowledged, losses_before=ledger.losses)


def acknowledge(ledger: Ledger, writer: Writer, offset: int) -> None:
    ledger.acknowledge(writer, offset, losses_before=ledger.losses)


def bodies(ledger: Ledger, length: int) -> set[bytes]:
    return set(ledger.bodies(length, variant))


def sent(ledger: Ledger, start: int, end: int, which: int = 0) -> Writer:
    writer = Writer(start, end, which)
    ledger.send(writer)
    return writer


def test_an_offset_below_what_was_acknowledged_is_a_violation() -> None:
    ledger = Ledger()
    acknowledge(ledger, sent(ledger, 0, 10), 10)
    with pytest.raises(Violation, match="10 bytes were acknowledged"):
        observe(ledger, 9)


def test_an_offset_that_nobody_sent_bytes_for_is_a_violation() -> None:
    ledger = Ledger()
    acknowledge(ledger, sent(ledger, 0, 10), 10)
    with pytest.raises(Violation, match="no order of the requests explains"):
        observe(ledger, 11)


def test_a_cut_request_may_have_brought_any_of_its_bytes() -> None:
    ledger = Ledger()
    sent(ledger, 0, 10)
    observe(ledger, 4)
    observe(ledger, 4)
    sent(ledger, 4, 12)
    observe(ledger, 12)
    assert bodies(ledger, 12) == {b"A" * 12}


def test_a_request_cannot_begin_where_the_upload_is_not() -> None:
    ledger = Ledger()
    sent(ledger, 0, 4)
    sent(ledger, 6, 12)
    with pytest.raises(Violation):
        observe(ledger, 12)


def test_of_two_racing_writers_the_acknowledged_one_decides() -> None:
    ledger = Ledger()
    loser, winner = sent(ledger, 0, 10), sent(ledger, 0, 10, which=1)
    ledger.refused(loser)
    acknowledge(ledger, winner, 10)
    assert bodies(ledger, 10) == {b"B" * 10}


def test_without_an_answer_either_writer_may_have_won_but_they_do_not_mix() -> None:
    ledger = Ledger()
    sent(ledger, 0, 10)
    sent(ledger, 0, 10, which=1)
    observe(ledger, 10)
    assert bodies(ledger, 10) == {b"A" * 10, b"B" * 10}


def test_an_acknowledgement_against_what_is_known_is_a_violation() -> None:
    ledger = Ledger()
    first, second = sent(ledger, 0, 10), sent(ledger, 0, 10, which=1)
    acknowledge(ledger, first, 10)
    with pytest.raises(Violation, match="of variant 1 were acknowledged"):
        acknowledge(ledger, second, 10)


def test_a_late_answer_may_tell_an_offset_that_has_been_passed() -> None:
    ledger = Ledger()
    first = sent(ledger, 0, 5)
    acknowledge(ledger, first, 5)
    acknowledge(ledger, sent(ledger, 5, 10), 10)
    ledger.observe(5, told_before=0, losses_before=0)
    assert ledger.acknowledged == 10


def test_after_a_loss_the_upload_may_fall_back_to_the_floor_and_no_further() -> None:
    for offset, is_fine in [(5, True), (7, True), (10, True), (4, False), (11, False)]:
        ledger = Ledger()
        acknowledge(ledger, sent(ledger, 0, 10), 10)
        ledger.lose(5)
        if is_fine:
            observe(ledger, offset)
            assert ledger.acknowledged == offset
        else:
            with pytest.raises(Violation):
                observe(ledger, offset)


def test_what_was_acknowledged_around_a_loss_may_be_lost() -> None:
    ledger = Ledger()
    writer = sent(ledger, 0, 10)
    ledger.lose(3)
    ledger.acknowledge(writer, 10, losses_before=0)
    observe(ledger, 3)
    assert ledger.acknowledged == 3
    sent(ledger, 3, 12)
    observe(ledger, 12)
    assert bodies(ledger, 12) == {b"A" * 12}


def test_after_a_loss_an_old_request_may_still_be_on_its_way() -> None:
    ledger = Ledger()
    sent(ledger, 0, 6, which=1)
    acknowledge(ledger, sent(ledger, 0, 10), 10)
    ledger.lose(0)
    observe(ledger, 6)
    assert bodies(ledger, 6) == {b"A" * 6, b"B" * 6}


def test_after_a_loss_parts_behind_one_that_failed_may_count() -> None:
    ledger = Ledger()
    sent(ledger, 0, 4 * PART_BYTES)
    observe(ledger, PART_BYTES)
    acknowledge(ledger, sent(ledger, PART_BYTES, 2 * PART_BYTES), 2 * PART_BYTES)
    with pytest.raises(Violation):
        observe(ledger, 3 * PART_BYTES)
    ledger.lose(2 * PART_BYTES)
    observe(ledger, 4 * PART_BYTES)


def test_after_a_loss_whole_parts_may_count_in_the_place_of_a_tail() -> None:
    ledger = Ledger()
    sent(ledger, 0, 2 * PART_BYTES)
    observe(ledger, 0)
    acknowledge(ledger, sent(ledger, 0, 1, which=1), 1)
    with pytest.raises(Violation):
        observe(ledger, 2 * PART_BYTES)
    ledger.lose(2 * PART_BYTES)
    observe(ledger, 2 * PART_BYTES)
