"""The public address: what a proxy says is believed item by item, and nothing hostile gets out."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tusd_s3 import limits
from tusd_s3.errors import InvalidHeader
from tusd_s3.protocol.fields import Fields
from tusd_s3.protocol.location import (
    ForwardedInfo,
    check_public_url,
    parse_forwarded,
    public_base,
)


def forwarded(**headers: str) -> ForwardedInfo | None:
    """What headers say; `x_forwarded_host` stands for X-Forwarded-Host."""
    pairs = ((name.replace("_", "-"), value) for name, value in headers.items())
    return parse_forwarded(
        Fields((name.encode(), value.encode("latin-1")) for name, value in pairs)
    )


def base(info: ForwardedInfo | None = None, *, path: str = "/files", host: str = "in:8080") -> str:
    return public_base(scheme="http", host=host, path_prefix=path, forwarded=info)


def test_line_14_without_a_proxy_the_request_says_where_it_is() -> None:
    assert base() == "http://in:8080/files"
    assert base(path="/files/") == "http://in:8080/files"
    assert base(path="/") == base(path="") == "http://in:8080"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        # realistic: nginx, AWS ALB, Traefik with a strip-prefix middleware, chains of two
        ({"x_forwarded_proto": "https"}, "https://in:8080/files"),
        (
            {"x_forwarded_proto": "https", "x_forwarded_host": "up.example.com"},
            "https://up.example.com/files",
        ),
        (
            {
                "x_forwarded_proto": "https",
                "x_forwarded_host": "up.example.com",
                "x_forwarded_port": "443",
                "x_forwarded_prefix": "/api/v1",
            },
            "https://up.example.com/api/v1/files",
        ),
        (
            {"x_forwarded_proto": "https, http", "x_forwarded_host": "out.example, in.example"},
            "https://out.example/files",
        ),
        (
            {"forwarded": "for=192.0.2.60;proto=https;host=up.example.com, for=10.0.0.1"},
            "https://up.example.com/files",
        ),
        # synthetic
        ({"forwarded": 'Proto=HTTPS; HOST="up.example:8443"'}, "https://up.example:8443/files"),
        ({"forwarded": 'host="u\\p.example";for="[::1]:1"'}, "http://up.example/files"),
        ({"forwarded": ";host=u.example;;"}, "http://u.example/files"),
        ({"forwarded": "for=a", "x_forwarded_host": "x.example"}, "http://x.example/files"),
        (
            {"forwarded": "host=f.example", "x_forwarded_host": "x.example"},
            "http://f.example/files",
        ),
        ({"forwarded": "host=f.example", "x_forwarded_proto": "https"}, "https://f.example/files"),
        ({"x_forwarded_host": "[2001:db8::1]:8443"}, "http://[2001:db8::1]:8443/files"),
        ({"x_forwarded_prefix": "/api/"}, "http://in:8080/api/files"),
        ({"x_forwarded_prefix": "/a%20b"}, "http://in:8080/a%20b/files"),
    ],
)
def test_line_14_what_the_proxy_says_is_used(headers: dict[str, str], expected: str) -> None:
    assert base(forwarded(**headers)) == expected


@pytest.mark.parametrize(
    ("host", "proto", "port", "expected"),
    [
        ("a.example", "https", "8443", "https://a.example:8443/files"),
        ("[::1]", "https", "8443", "https://[::1]:8443/files"),
        ("a.example", "http", "65535", "http://a.example:65535/files"),
        ("a.example:1", "https", "8443", "https://a.example:1/files"),
        ("[::1]:1", "https", "8443", "https://[::1]:1/files"),
        ("a.example", "https", "443", "https://a.example/files"),
        ("a.example", "http", "80", "http://a.example/files"),
        ("a.example", "https", "80", "https://a.example/files"),
        ("a.example", "http", "443", "http://a.example/files"),
        ("a.example", "http", "0", "http://a.example/files"),
        ("a.example", "http", "65536", "http://a.example/files"),
        ("a.example", "http", "+81", "http://a.example/files"),
        ("a.example", "http", "\u00b2", "http://a.example/files"),
    ],
)
def test_line_14_the_forwarded_port_completes_a_host_without_one(
    host: str, proto: str, port: str, expected: str
) -> None:
    info = forwarded(x_forwarded_host=host, x_forwarded_proto=proto, x_forwarded_port=port)
    assert base(info) == expected


@pytest.mark.parametrize(
    ("prefix", "path", "expected"),
    [
        ("/api", "/api/files", "/api/files"),
        ("/api", "/api", "/api"),
        ("/api", "/apifiles", "/api/apifiles"),
        ("/api", "", "/api"),
        ("/files", "/f", "/files/f"),
    ],
)
def test_line_14_a_prefix_known_through_root_path_is_not_put_back_twice(
    prefix: str, path: str, expected: str
) -> None:
    info = forwarded(x_forwarded_prefix=prefix)
    assert base(info, path=path) == f"http://in:8080{expected}"


HOSTILE_HOSTS = [
    *(
        "",
        " ",
        "a b",
        "a/b",
        "a?b",
        "a#b",
        "user@a",
        "a:b",
        "a:",
        ":80",
        "a:0",
        "a:65536",
        "a:123456",
    ),
    *(
        "a\r\nX: y",
        "a\n",
        "a\x00",
        "a\\b",
        "::1",
        "[::1",
        "[zz]",
        "[.]",
        "[:]",
        "[1:2]",
        "[1.2.3.4]",
        "\u00e9.example",
        "h" * 300,
    ),
    *("https://a", "a,b", "a;b", '"a"', "<a>", "a%0d"),
]


@pytest.mark.parametrize("host", HOSTILE_HOSTS)
def test_line_14_a_host_that_is_none_is_ignored_or_refused(host: str) -> None:
    quoted = host.replace("\\", "\\\\").replace('"', '\\"')
    assert forwarded(forwarded=f'host="{quoted}"') is None
    if "," not in host:  # there the first value of the list may well be a host
        assert forwarded(x_forwarded_host=host) is None
    with pytest.raises(ValueError, match=r"host\[:port\]"):
        ForwardedInfo(host=host)
    with pytest.raises(InvalidHeader, match="Host: expected host"):
        base(host=host)


@pytest.mark.parametrize("scheme", ["", "ftp", "javascript", "https:", "http\n", "ws"])
def test_line_14_a_scheme_other_than_http_and_https_is_ignored(scheme: str) -> None:
    assert forwarded(x_forwarded_proto=scheme) is None
    with pytest.raises(ValueError, match="http or https"):
        ForwardedInfo(scheme=scheme)


@pytest.mark.parametrize(
    "prefix",
    [
        *("", "/", "api", "//evil.example", "/a//b", "/..", "/a/../b", "/.", "/%2e%2E/a", "/.%2e"),
        *("/a b", "/a\r\nX: y", "/a?b", "/a#b", "/a\\b", "/%zz", "/%", "/\u00e9", "/" + "a" * 1024),
    ],
)
def test_line_14_a_prefix_that_is_no_plain_path_is_ignored(prefix: str) -> None:
    assert forwarded(x_forwarded_prefix=prefix) is None
    with pytest.raises(ValueError, match="absolute path"):
        ForwardedInfo(prefix=prefix)


@pytest.mark.parametrize(
    "text",
    [
        *("", "host", "=a", "host=", "host=a host=b", 'host="a', 'host="a"b', ";", "host=a b"),
        *(" host = a", 'host="' + "\\" * 500, "a=" * 600, "host=a;" + "x=y;" * 300, "host=a;;b"),
    ],
)
def test_line_14_a_malformed_forwarded_header_is_ignored(text: str) -> None:
    assert forwarded(forwarded=text) is None


def test_line_14_forwarding_headers_are_bounded() -> None:
    most = limits.HEADER_MAX_BYTES
    longest = "a.example,".ljust(most, "x")
    assert forwarded(x_forwarded_host=longest) == ForwardedInfo(host="a.example")
    assert forwarded(x_forwarded_host=longest + "x") is None
    longest = "host=a.example;x=".ljust(most, "x")
    assert forwarded(forwarded=longest) == ForwardedInfo(host="a.example")
    assert forwarded(forwarded=longest + "x") is None


def test_line_14_repeated_headers_are_one_list() -> None:
    fields = Fields([(b"x-forwarded-proto", b"https"), (b"x-forwarded-proto", b"http")])
    assert parse_forwarded(fields) == ForwardedInfo(scheme="https")


def test_line_14_a_port_out_of_range_is_no_port() -> None:
    for port in (0, 65536):
        with pytest.raises(ValueError, match=r"1\.\.65535"):
            ForwardedInfo(port=port)


ANY_VALUE = st.text(st.characters(max_codepoint=255), max_size=40) | st.text(
    'hostp=;:,/."\\ []a1%-', max_size=40
)


@given(ANY_VALUE, ANY_VALUE, ANY_VALUE, ANY_VALUE)
def test_line_14_whatever_is_forwarded_the_base_is_one_plain_url(
    standard: str, host: str, prefix: str, scheme: str
) -> None:
    info = forwarded(
        forwarded=standard,
        x_forwarded_host=host,
        x_forwarded_prefix=prefix,
        x_forwarded_proto=scheme,
    )
    url = base(info)
    assert url.isascii()
    assert url.isprintable()
    parts = urlsplit(url)
    assert parts.scheme in ("http", "https")
    assert parts.hostname
    assert parts.username is None
    assert parts.path.endswith("/files")
    assert " " not in url
    assert not parts.query
    assert not parts.fragment


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
def test_line_14_the_path_of_the_application_is_percent_encoded(segment: str) -> None:
    """ASGI hands over root_path decoded."""
    path = "/" + segment.replace("/", "") + "/files"
    url = base(path=path)
    assert urlsplit(url).netloc == "in:8080"
    assert unquote(url.removeprefix("http://in:8080")) == path


@pytest.mark.parametrize(
    ("public_url", "expected"),
    [
        ("https://up.example.com", "https://up.example.com/files"),
        ("https://up.example.com/", "https://up.example.com/files"),
        ("https://up.example.com:8443/api/", "https://up.example.com:8443/api"),
        ("https://up.example.com/files", "https://up.example.com/files"),
        ("http://[::1]:80", "http://[::1]:80/files"),
    ],
)
def test_line_14_a_configured_url_overrules_all(public_url: str, expected: str) -> None:
    check_public_url(public_url)
    info = ForwardedInfo(scheme="http", host="evil.example", port=1, prefix="/evil")
    url = public_base(
        scheme="http",
        host="also evil",
        path_prefix="/files",
        forwarded=info,
        public_url=public_url,
    )
    assert url == expected


@pytest.mark.parametrize(
    "url",
    [
        *("", "up.example.com", "/files", "ftp://a", "HTTPS://a", "https://", "https:///files"),
        *("https://a?b", "https://a#b", "https://u@a", "https://a/ b", "https://a/../b"),
        *("https://a//b", "https://a:0", "https://a\n", "https://a/\n", "https://a/é"),
    ],
)
def test_line_14_what_is_no_public_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"^must"):
        check_public_url(url)
