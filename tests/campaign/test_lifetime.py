"""The model of an upload's end: it holds the servers to what they announced, and to no more."""

from __future__ import annotations

import pytest

from tests.campaign.ledger import Violation
from tests.campaign.lifetime import Lifetime, seconds_of

SENT, ANSWERED = 100.6, 101.2


def test_without_a_lifetime_nothing_is_ever_over() -> None:
    lifetime = Lifetime(None)
    lifetime.heard(SENT, SENT, ANSWERED, renews=True)
    assert not lifetime.is_over(10**9)


def test_what_was_announced_is_a_promise_until_then() -> None:
    lifetime = Lifetime(8)
    lifetime.heard(109, SENT, ANSWERED, renews=True)
    assert not lifetime.is_over(108.99)
    assert lifetime.is_over(109)


def test_a_promise_is_not_taken_back_by_an_earlier_one() -> None:
    lifetime = Lifetime(8)
    lifetime.heard(109, SENT, ANSWERED, renews=False)
    lifetime.heard(105, SENT, ANSWERED, renews=False)
    assert not lifetime.is_over(108)


def test_a_complete_upload_announces_nothing_and_lives_on_from_what_completed_it() -> None:
    lifetime = Lifetime(8)
    lifetime.heard(None, SENT, ANSWERED, renews=True)
    lifetime.heard(None, SENT + 5, ANSWERED + 5, renews=False)
    assert not lifetime.is_over(107.9)
    assert lifetime.is_over(108)


@pytest.mark.parametrize(
    ("announced_s", "renews", "complaint"),
    [
        (100, False, "it was over"),
        (110, True, "beyond a lifetime"),
        (110, False, "beyond a lifetime"),
        (107, True, "did not renew it"),
    ],
)
def test_an_end_that_cannot_be_is_a_violation(
    announced_s: int, renews: bool, complaint: str
) -> None:
    with pytest.raises(Violation, match=complaint):
        Lifetime(8).heard(announced_s, SENT, ANSWERED, renews=renews)


@pytest.mark.parametrize(("announced_s", "renews"), [(101, False), (108, True), (109, True)])
def test_an_end_that_can_be_is_none(announced_s: int, renews: bool) -> None:
    Lifetime(8).heard(announced_s, SENT, ANSWERED, renews=renews)


def test_a_loss_takes_promises_back_also_those_still_on_their_way() -> None:
    lifetime = Lifetime(8)
    lifetime.heard(109, SENT, ANSWERED, renews=True)
    lifetime.lost()
    lifetime.heard(109, SENT, ANSWERED, renews=True, counts=False)
    assert lifetime.is_over(ANSWERED)


def test_a_lifetime_is_given_as_the_servers_take_it() -> None:
    assert seconds_of("8s") == 8
    assert seconds_of("2m") == 120
    assert seconds_of(None) is None
