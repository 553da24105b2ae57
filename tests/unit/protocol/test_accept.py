"""Which form of an answer a client wants."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tusd_s3.protocol.accept import preferred

OFFERED = ("text/event-stream", "application/json")


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        # realistic: nothing, EventSource, curl, fetch, a library for JSON, a browser's address bar
        (None, 0),
        ("text/event-stream", 0),
        ("*/*", 0),
        ("application/json", 1),
        ("application/json, text/plain, */*", 0),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", 0),
        # synthetic
        ("APPLICATION/JSON", 1),
        ("text/event-stream;q=0.5, application/json;q=0.6", 1),
        ("text/event-stream;q=0, */*;q=0.1", 1),
        ("application/*", 1),
        ("text/*;q=0.1, application/json;q=0.1", 0),
        ("application/json;charset=utf-8", 1),
        ("text/html", 0),
        # pathological
        ("", 0),
        (",;q=,;;", 0),
        ("application/json;q=2", 1),
        ("application/json," * 100, 0),
    ],
)
def test_what_is_preferred(accept: str | None, expected: int) -> None:
    assert preferred(accept, OFFERED) == OFFERED[expected]


@given(st.text(max_size=200))
def test_anything_else_is_understood_somehow(accept: str) -> None:
    assert preferred(accept, OFFERED) in OFFERED
