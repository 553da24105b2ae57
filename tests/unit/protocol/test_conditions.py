"""Preconditions in the order of RFC 9110, 13.2.2."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tusd_s3.protocol.conditions import (
    TAGS_MAX_BYTES,
    Conditions,
    Validators,
    Verdict,
    parse_conditions,
    parse_http_date,
    strong_tag,
)
from tusd_s3.protocol.fields import Fields
from tusd_s3.protocol.headers import http_date

AT_S = 1_700_000_000
NOW, BEFORE, AFTER = (http_date(AT_S + delta) for delta in (0, -1, 1))
THIS = Validators(etag='"a"', modified_at_s=AT_S)
UNKNOWN = Validators(etag=None, modified_at_s=None)
PROCEED, SAME, FAILED = Verdict.PROCEED, Verdict.NOT_MODIFIED, Verdict.FAILED


def judged(validators: Validators = THIS, **headers: str) -> Verdict:
    return Conditions(**headers).judge(validators)


@pytest.mark.parametrize(
    ("headers", "verdict"),
    [
        ({}, PROCEED),
        ({"if_match": '"a"'}, PROCEED),
        ({"if_match": ' "b" , "a" '}, PROCEED),
        ({"if_match": "*"}, PROCEED),
        ({"if_match": '"b"'}, FAILED),
        ({"if_match": 'W/"a"'}, FAILED),
        ({"if_match": "a"}, FAILED),
        ({"if_match": ""}, FAILED),
        ({"if_none_match": '"a"'}, SAME),
        ({"if_none_match": 'W/"a"'}, SAME),
        ({"if_none_match": '"b", W/"a"'}, SAME),
        ({"if_none_match": "*"}, SAME),
        ({"if_none_match": '"b"'}, PROCEED),
        ({"if_none_match": '"a'}, PROCEED),
        ({"if_none_match": '"a" "b"'}, PROCEED),
        ({"if_modified_since": NOW}, SAME),
        ({"if_modified_since": AFTER}, SAME),
        ({"if_modified_since": BEFORE}, PROCEED),
        ({"if_modified_since": "nonsense"}, PROCEED),
        ({"if_unmodified_since": NOW}, PROCEED),
        ({"if_unmodified_since": BEFORE}, FAILED),
        ({"if_unmodified_since": "nonsense"}, PROCEED),
        # who has a say before whom
        ({"if_match": '"a"', "if_unmodified_since": BEFORE}, PROCEED),
        ({"if_none_match": '"b"', "if_modified_since": AFTER}, PROCEED),
        ({"if_match": '"b"', "if_none_match": '"a"'}, FAILED),
        ({"if_match": '"a"', "if_none_match": '"a"'}, SAME),
        ({"if_unmodified_since": BEFORE, "if_none_match": '"a"'}, FAILED),
    ],
)
def test_verdicts(headers: dict[str, str], verdict: Verdict) -> None:
    assert Conditions(**headers).judge(THIS) is verdict


def test_what_is_not_known_matches_nothing() -> None:
    assert judged(UNKNOWN, if_match='"a"') is FAILED
    assert judged(UNKNOWN, if_match="*") is PROCEED
    assert judged(UNKNOWN, if_none_match='"a"') is PROCEED
    assert judged(UNKNOWN, if_modified_since=AFTER) is PROCEED
    assert judged(UNKNOWN, if_unmodified_since=BEFORE) is PROCEED
    assert not Conditions(if_range='"a"').range_holds(UNKNOWN)
    assert not Conditions(if_range=NOW).range_holds(UNKNOWN)


@pytest.mark.parametrize(
    ("value", "holds"),
    [(None, True), ('"a"', True), ('"b"', False), ('W/"a"', False), (NOW, True), (BEFORE, False),
     (AFTER, False), ("nonsense", False), ("", False)],
)  # fmt: skip
def test_if_range(value: str | None, holds: bool) -> None:
    assert Conditions(if_range=value).range_holds(THIS) is holds


@pytest.mark.parametrize(
    ("headers", "match", "none_match"),
    [
        ({"if_match": ' "a"'}, '"a"', None),
        ({"if_none_match": '"a"'}, None, '"a"'),
        ({"if_none_match": 'W/"a"'}, None, '"a"'),
        ({"if_match": '"a", "b"', "if_none_match": '"a"'}, None, None),
        ({"if_match": 'W/"a"'}, None, None),
        ({"if_match": "*", "if_none_match": "*"}, None, None),
        ({"if_unmodified_since": NOW, "if_none_match": '"a"'}, None, None),
        ({"if_match": '"\u00e9"'}, None, None),
    ],
)
def test_what_a_store_can_judge_itself(
    headers: dict[str, str], match: str | None, none_match: str | None
) -> None:
    conditions = Conditions(**headers)
    assert (conditions.only_match, conditions.only_none_match) == (match, none_match)


def test_a_list_has_an_end() -> None:
    long = ", ".join(['"a"'] * (TAGS_MAX_BYTES // 5 + 1))
    assert len(long) > TAGS_MAX_BYTES
    assert judged(if_match=long) is FAILED
    assert judged(if_none_match=long) is PROCEED


def test_headers_that_occur_twice_are_one_list() -> None:
    fields = Fields([(b"if-none-match", b'"b"'), (b"if-none-match", b'"a"')])
    assert parse_conditions(fields).judge(THIS) is SAME


@given(st.integers(0, 253_402_300_799))
def test_dates_and_back(at_s: int) -> None:
    assert parse_http_date(http_date(at_s)) == at_s


@pytest.mark.parametrize(
    "text",
    ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT",
     "Sun Nov  6 08:49:37 1994"],
)  # fmt: skip
def test_the_three_forms_of_a_date(text: str) -> None:
    assert parse_http_date(text) == 784_111_777


@pytest.mark.parametrize(
    "text",
    [
        *("", "0", "1994-11-06T08:49:37Z", "Sun, 06 Nov 1994 08:49:37 +0100"),
        *("Sun, 99 Nov 1994 08:49:37 GMT", "Xxx, 06 Xxx 1994 08:49:37 GMT"),
        *("Sun, 06 Nov 1994 08:49:37 GMT\r\n", "Sun, 06 Nov 1994 25:49:37 GMT"),
    ],
)
def test_what_is_no_date(text: str) -> None:
    assert parse_http_date(text) is None


@given(st.text(max_size=60))
def test_no_text_is_an_error(text: str) -> None:
    parse_http_date(text)
    for conditions in (Conditions(if_match=text), Conditions(if_none_match=text)):
        assert conditions.judge(THIS) in Verdict
    assert strong_tag(text) in (text, None)
