"""Where a server says its uploads are, whatever proxies and clients said before."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from hypothesis import strategies as st

from tests.fuzz import fields as f
from tests.fuzz.noise import junk, mutated, near
from tests.fuzz.parsers import Target
from tests.fuzz.settled import settled
from tusd_s3.errors import InvalidHeader
from tusd_s3.protocol.fields import Fields
from tusd_s3.protocol.location import (
    ForwardedInfo,
    check_public_url,
    parse_forwarded,
    public_base,
)

ADDRESS = re.compile(
    r"https?://(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?"
    r"(?:/(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})*)*"
)
"""Nothing that could begin a query, a fragment, a user name, another header or another URL."""

_FORWARDING = tuple(name for name in f.NAMES if b"Forwarded" in name)
_INSIDE = "inside.example:8080"
_PREFIXES = (b"/files/", b"/", b"", b"/a b/\xc3\xa9", b"/api/files", b"/a%20b")
_PUBLIC = (b"https://up.example.com", b"http://[::1]:8/a/b/", b"https://h/%2e%2e", b"http://u@h/")

# ASGI's paths are empty or begin with a slash.
_prefixes = (near(_PREFIXES) | junk).map(lambda path: path and b"/" + path.lstrip(b"/"))


@st.composite
def _forwarding(draw: st.DrawFn) -> list[f.Pair]:
    names = draw(st.lists(st.sampled_from(_FORWARDING), min_size=1, max_size=4))
    return [pair for name in names for pair in draw(f.pairs(name))]


def _check_forwarded(pairs: list[f.Pair]) -> None:
    info = settled(lambda: parse_forwarded(Fields(pairs))).value
    if info is None:
        return
    again = ForwardedInfo(scheme=info.scheme, host=info.host, port=info.port, prefix=info.prefix)
    assert again == info != ForwardedInfo()
    base = public_base(scheme="http", host=_INSIDE, path_prefix="/files", forwarded=info)
    _check_address(base)
    assert base.endswith("/files")
    sent = b" ".join(value for _, value in pairs).replace(b"\\", b"").lower()
    if info.host is not None:
        assert info.host.lower().encode() in sent
        assert urlsplit(base).netloc.startswith(info.host)


def _check_host(pairs: list[f.Pair]) -> None:
    hosts = [value for name, value in pairs if name.lower() == b"host"]
    host = hosts[0].strip(b" \t").decode("latin-1") if hosts else ""
    found = settled(
        lambda: public_base(scheme="https", host=host, path_prefix="/files/"), InvalidHeader
    )
    assert found.error is None or "Host" in found.error.text
    if found.value is not None:
        _check_address(found.value)
        assert found.value == f"https://{host}/files"


def _check_base(given: tuple[bytes, bytes, list[f.Pair], bytes]) -> None:
    host, prefix, pairs, public = (given[0], given[1].decode("utf-8", "replace"), *given[2:])
    url: str | None = public.decode("latin-1")
    try:
        check_public_url(url or "")
    except ValueError:
        url = None
    info = parse_forwarded(Fields(pairs))
    found = settled(
        lambda: public_base(
            scheme="http",
            host=host.decode("latin-1"),
            path_prefix=prefix,
            forwarded=info,
            public_url=url,
        ),
        InvalidHeader,
    ).value
    if url is not None:
        assert found is not None, "with a public URL nothing else is asked"
        assert found.startswith(url.rstrip("/"))
    if found is not None:
        _check_address(found)
        assert not found.endswith("/")


def _check_public_url(raw: bytes) -> None:
    text = raw.decode("latin-1")
    try:
        check_public_url(text)
    except ValueError:
        return
    _check_address(public_base(scheme="http", host="", path_prefix="/f", public_url=text))
    assert ".." not in text.split("/")


def _check_address(url: str) -> None:
    assert ADDRESS.fullmatch(url), url
    parts = urlsplit(url)
    assert parts.hostname
    assert parts.port is None or 1 <= parts.port <= 65535
    assert parts.username is None


ADDRESS_TARGETS: tuple[Target, ...] = (
    Target("Forwarded", _forwarding(), _check_forwarded),
    Target(
        "Forwarded, edited",
        mutated(st.sampled_from(f.VALUES[b"Forwarded"]), edits_max=6).map(
            lambda value: [(b"Forwarded", value)]
        ),
        _check_forwarded,
    ),
    Target("Host", f.pairs(b"Host"), _check_host),
    Target(
        "public_base",
        st.tuples(f.values(b"Host"), _prefixes, _forwarding(), near(_PUBLIC)),
        _check_base,
    ),
    Target("check_public_url", near(_PUBLIC), _check_public_url),
)
