"""Bytes that are almost right, and bytes that are not right at all."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

JUNK = (
    *(b"", b" ", b"\t", b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"\0", b"\x0b", b"\x7f", b"\x80"),
    *(b"\xff", b"\xc2\xa0", b"\xd9\xa1", b"\xb2", b"\xed\xa0\x80"),
    *(b",", b";", b":", b"=", b'"', b"\\", b"'", b"<", b"{", b"*", b"@", b"?", b"#", b"&"),
    *(
        b"%",
        b"%0",
        b"%00",
        b"%0d%0aX-Injected:%20yes",
        b"%ff",
        b"%2e%2e",
        b"%2F",
        b"%25",
        b"%C0%AF",
    ),
    *(b"..", b"/", b"//", b"/../", b"\\..\\", b"http://", b"[::1]:80", b"a@b"),
    *(b"-", b"+", b"_", b".", b"0", b"00", b"1e3", b"0x10", b"-1", b"NaN", b"None", b"null"),
    *(b"9" * 18, b"9" * 19, b"18446744073709551615", b"18446744073709551616", b"9" * 400),
    *(
        b"0" * 1100,
        b"x" * 1100,
        b"x" * 9000,
        b"a,b" * 300,
        b" " * 900,
        b" \t" * 450,
        b"ffffffffffffffff",
        b"fffffffffffffffff",
    ),
    *(b"chunked", b"identity", b"close", b"keep-alive", b"100-continue", b"upload-checksum"),
    *(b"\r\nX-Injected: yes", b"\nX-Injected: yes", b"\rX-Injected: yes", b"\r\n folded"),
)
"""What parsers have stumbled over elsewhere: delimiters, controls, digits of other scripts, numbers
about the width of an integer, encodings, long values, further headers."""

_EDITS = ("insert", "replace", "cut", "double", "truncate", "swap case", "strip")

_kinds = st.sampled_from(_EDITS)
_lengths = st.integers(1, 12)
junk = st.sampled_from(JUNK) | st.binary(min_size=1, max_size=6)
wild = st.binary(max_size=80)


@st.composite
def mutated(draw: st.DrawFn, valid: st.SearchStrategy[bytes], *, edits_max: int = 3) -> bytes:
    """Something valid after one edit or a few."""
    data = draw(valid)
    for _ in range(draw(st.integers(1, edits_max))):
        kind = draw(_kinds)
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(_lengths))
        data = _edited(data, kind, start, end, draw(junk) if kind in ("insert", "replace") else b"")
    return data


def near(values: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """One of `values`, mostly as it is, often a little wrong, at times something else."""
    valid = st.sampled_from(values)
    return st.one_of(valid, valid, mutated(valid), mutated(valid), junk, wild)


def _edited(data: bytes, kind: str, start: int, end: int, put: bytes) -> bytes:
    before, middle, after = data[:start], data[start:end], data[end:]
    results = {
        "insert": before + put + middle + after,
        "replace": before + put + after,
        "cut": before + after,
        "double": before + middle + middle + after,
        "truncate": before,
        "swap case": before + middle.swapcase() + after,
        "strip": data.strip(),
    }
    return results[kind]
