"""Headers, one at a time and as the sets that requests have."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from functools import cache

from hypothesis import strategies as st

from tests.fuzz.noise import JUNK, junk, near, wild

Pair = tuple[bytes, bytes]

_B64 = base64.b64encode(b"some name.bin")
CHECKSUM = b"sha1 " + base64.b64encode(hashlib.sha1(b"abcde").digest())
ID = b"AAAAAAAAAAAAAAAAAAAAAA"
FINAL = b"final;/files/" + ID + b" https://up.example/" + ID[::-1]
OCTETS = b"application/offset+octet-stream"

VALUES: dict[bytes, tuple[bytes, ...]] = {
    b"Tus-Resumable": (b"1.0.0", b"1.0.0", b"0.2.2", b""),
    b"Upload-Length": (b"0", b"1", b"100", b"007", b"9" * 18, b"1342177280000", b"1342177280001"),
    b"Upload-Offset": (b"0", b"7", b"8", b"007", b"9" * 18),
    b"Upload-Defer-Length": (b"1", b"0", b"", b"01"),
    b"Upload-Metadata": (
        *(b"", b" ", b"k", b"k ", b"filename " + _B64, b"a YQ==,b Yg==", b"a YQ==, b ,c\t"),
        *(b",".join(b"k%d" % n for n in range(65)), b"k" * 256, b"k" * 257, b"k " + b"QUFB" * 2047),
        *(b"a YQ=", b"a YQ===", b"a _-8=", b"a,a", b"a YR==", b"filetype dGV4dC9odG1s"),
    ),
    b"Content-Type": (OCTETS, OCTETS.upper(), OCTETS + b"; charset=utf-8", b"text/plain", b""),
    b"Content-Length": (b"0", b"5", b"100", b"05", b"18446744073709551615", b"-1"),
    b"Transfer-Encoding": (b"chunked", b"Chunked", b"gzip, chunked", b"identity", b""),
    b"Trailer": (b"Upload-Checksum", b"X, upload-checksum", b"Upload-Offset", b"", b",,"),
    b"X-HTTP-Method-Override": (b"PATCH", b"delete", b"HEAD", b"POST", b"TRACE", b""),
    b"Idempotency-Key": (b"k" * 16, b"k" * 15, b"k" * 255, b"k" * 256, b'"8e03978e-40d5-43e8"'),
    b"Upload-Concat": (
        *(b"partial", b"Partial", b"final;/files/a /files/b", b"final;", b"", FINAL, FINAL + b" "),
        *(b"final;" + b" /" * 256 + ID, b"final;" + (b"/" + ID + b" ") * 257, FINAL * 2),
    ),
    b"Upload-Checksum": (
        *(CHECKSUM, b"md5 q1a02St33aRRXfVkX/YN3Q==", b"crc32 hYfYZQ==", b"SHA1 AA==", b""),
        *(b"sha1 2jmj7l5rSw0yVb/vlWAYkK/YBwk=", b"sha1", b"sha1  ", CHECKSUM + b"=", b"sha9 AA=="),
    ),
    b"Forwarded": (
        *(b"proto=https;host=up.example", b"for=a;proto=https, for=b", b'host="u\\p.example:1"'),
        *(b"", b";;;", b'host="[::1]:8"', b'proto=https;host="a b"', b"host=a/../b"),
    ),
    b"X-Forwarded-Proto": (b"https", b"http", b"https, http", b"HTTPS", b"ftp"),
    b"X-Forwarded-Host": (
        b"up.example",
        b"up.example:8443, in",
        b"[2001:db8::1]:1",
        b"a b",
        b"a/b",
    ),
    b"X-Forwarded-Port": (b"443", b"8443", b"0", b"65535", b"65536", b"080"),
    b"X-Forwarded-Prefix": (b"/api", b"/api/", b"/a%20b", b"/", b"/../x", b"/%2e%2e", b"api"),
    b"Host": (b"up.example", b"127.0.0.1:8080", b"[::1]", b"a:65536", b"a:0", b"", b"u@h", b"a/b"),
    b"Expect": (b"100-continue", b"100-Continue", b"200-ok", b""),
    b"Connection": (b"close", b"keep-alive", b"upgrade", b"Upgrade, HTTP2-Settings", b""),
    b"Upgrade": (b"h2c", b"websocket", b"TLS/1.0", b""),
    b"HTTP2-Settings": (b"AAMAAABkAAQAAP__",),
    b"Origin": (b"https://page.example", b"null", b""),
    b"Cookie": (b"a=b",),
    b"Access-Control-Request-Method": (b"PATCH", b"POST", b"PUT", b""),
    b"Access-Control-Request-Headers": (b"upload-offset", b"upload-offset, x-y", b""),
    b"Authorization": (b"Bearer abc", b""),
    b"Accept-Encoding": (b"gzip",),
    b"Content-Encoding": (b"gzip",),
    b"X-Request-ID": (b"r-1",),
}
"""What real clients and proxies send in each header, the bounds of it, and common mistakes."""

NAMES = tuple(VALUES)

CREATE: tuple[tuple[Pair, ...], ...] = (
    ((b"Tus-Resumable", b"1.0.0"), (b"Upload-Length", b"100")),
    ((b"Tus-Resumable", b"1.0.0"), (b"Upload-Length", b"0"), (b"Upload-Metadata", b"k dg==")),
    ((b"Tus-Resumable", b"1.0.0"), (b"Upload-Defer-Length", b"1"), (b"Content-Length", b"0")),
    (
        (b"Tus-Resumable", b"1.0.0"),
        (b"Upload-Length", b"5"),
        (b"Content-Type", OCTETS),
        (b"Content-Length", b"5"),
        (b"Upload-Metadata", b"filename " + _B64),
        (b"Idempotency-Key", b"0123456789abcdef"),
    ),
    ((b"Tus-Resumable", b"1.0.0"), (b"Upload-Length", b"9"), (b"Upload-Concat", b"partial")),
    ((b"Tus-Resumable", b"1.0.0"), (b"Upload-Concat", FINAL), (b"Upload-Metadata", b"k dg==")),
)
APPEND: tuple[tuple[Pair, ...], ...] = (
    (
        (b"Tus-Resumable", b"1.0.0"),
        (b"Upload-Offset", b"7"),
        (b"Content-Type", OCTETS),
        (b"Content-Length", b"5"),
    ),
    (
        (b"Tus-Resumable", b"1.0.0"),
        (b"Upload-Offset", b"7"),
        (b"Content-Type", OCTETS + b"; x=y"),
        (b"Transfer-Encoding", b"chunked"),
        (b"Upload-Length", b"100"),
    ),
    (
        (b"Tus-Resumable", b"1.0.0"),
        (b"Upload-Offset", b"7"),
        (b"Content-Type", OCTETS),
        (b"Content-Length", b"5"),
        (b"Upload-Checksum", CHECKSUM),
    ),
    (
        (b"Tus-Resumable", b"1.0.0"),
        (b"Upload-Offset", b"7"),
        (b"Content-Type", OCTETS),
        (b"Transfer-Encoding", b"chunked"),
        (b"Trailer", b"Upload-Checksum"),
    ),
)
PLAIN: tuple[tuple[Pair, ...], ...] = ((), ((b"Tus-Resumable", b"1.0.0"),))
"""Sets of headers that are right, for POST, PATCH and the rest."""

names = st.one_of(
    st.sampled_from(NAMES),
    st.sampled_from(NAMES).map(bytes.lower),
    st.sampled_from(NAMES).map(bytes.upper),
)


@cache
def values(name: bytes) -> st.SearchStrategy[bytes]:
    """Right and wrong values of one header."""
    return near(VALUES[name])


@cache
def pairs(name: bytes) -> st.SearchStrategy[list[Pair]]:
    """One header: once, not at all, several times, or among others."""
    return _pairs(st.tuples(st.sampled_from((name, name.lower())), values(name)))


_counts = st.sampled_from((1, 1, 1, 1, 1, 1, 0, 2, 3))
_others = st.lists(st.tuples(names, st.sampled_from(JUNK)), max_size=1)


@st.composite
def _pairs(draw: st.DrawFn, one: st.SearchStrategy[Pair]) -> list[Pair]:
    return [draw(one) for _ in range(draw(_counts))] + draw(_others)


_edits = st.sampled_from(("drop", "repeat", "value", "value", "add", "add", "wild"))
_edit_counts = st.sampled_from((0, 1, 1, 1, 2, 3))
_odd_names = names | junk


def sets(valid: Sequence[Sequence[Pair]]) -> st.SearchStrategy[list[Pair]]:
    """One of the `valid` sets after no edit or a few."""
    return _edited_sets(st.sampled_from(valid))


@st.composite
def _edited_sets(draw: st.DrawFn, valid: st.SearchStrategy[Sequence[Pair]]) -> list[Pair]:
    found = list(draw(valid))
    for _ in range(draw(_edit_counts)):
        edit = draw(_edits)
        if edit == "add":
            name = draw(names)
            found.append((name, draw(values(_known(name)))))
        elif edit == "wild":
            found.append((draw(_odd_names), draw(wild)))
        elif found:
            at = draw(st.integers(0, len(found) - 1))
            name, value = found[at]
            changed = draw(values(_known(name))) if edit == "value" else value
            kept = {"drop": 0, "repeat": 2}.get(edit, 1)
            found[at : at + 1] = [(name, changed)] * kept
    return found


_BY_LOWER = {name.lower(): name for name in NAMES}


def _known(name: bytes) -> bytes:
    return _BY_LOWER.get(name.lower(), b"X-Request-ID")
