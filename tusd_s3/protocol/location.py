"""The public address of the uploads, as clients must see it in `Location` (tus creation).

It has to be absolute, since some clients cannot use a relative one, and it has to carry the scheme,
host and path that clients use, which a server behind a proxy does not see by itself. In order:

1. A configured public URL: scheme and host, and perhaps a path, which is then the whole path of the
   collection as clients see it. Nothing that a request or a proxy says is asked then.
2. What the proxy said, item by item: `Forwarded` (RFC 7239) first, then `X-Forwarded-Proto`,
   `-Host`, `-Port` and `-Prefix`. Only the caller knows whether the peer is a proxy to be trusted;
   from anybody else these headers must not come here.
3. What the request itself says: its scheme, its Host header and the path the application is at.

Of a list the first value counts: each proxy appends, so the first is the one next to the client.

A forwarded value that is not what it should be is ignored as if absent: there is a fallback, and a
proxy's misconfiguration should not stop uploads. A Host header that is no host is refused with 400,
because there is nothing to fall back on. So whatever comes, no space, line break, user name, query
or second URL gets into `Location`.

`X-Forwarded-Port` completes a host that names no port. Port 80 beside https, or 443 beside http, is
the port of some inner hop, a common misconfiguration, and is ignored.

A path that a proxy cut off (`X-Forwarded-Prefix`) is put back unless the path already begins with
it, since frameworks are told of it through ASGI's root_path as well. Where the doubled path is
meant (`/files` cut off in front of `/files`), a mount path of another name helps.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv6Address
from typing import Final
from urllib.parse import quote, urlsplit

from tusd_s3 import limits
from tusd_s3.errors import InvalidHeader
from tusd_s3.protocol.fields import Fields

_DEFAULT_PORTS = {"http": 80, "https": 443}
_HOST_MAX_CHARS = 255 + len(":65535")

# A registered name, IPv4 address or bracketed IPv6 address, then perhaps a port.
_HOST = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?")
_PATH = re.compile(r"(?:/(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})+)+")
_PATH_SAFE = "/-._~!$&'()*+,;=:@"
# One pair of the first element of Forwarded, perhaps left out, and the delimiter after it.
_PAIR = re.compile(
    r"""[ \t]*+(?:([A-Za-z0-9!#$%&'*+.^_`|~-]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s";,]*)))?"""
    r"""[ \t]*+(;|,|\Z)"""
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardedInfo:
    """What a trusted proxy said of the request it got. None where it said nothing usable.

    scheme: "http" or "https". host: `host[:port]`. port: the port, should `host` name none.
    prefix: percent-encoded path that was cut off, "/" in front and not at the end.
    Raises ValueError for values that do not have that form.
    """

    scheme: str | None = None
    host: str | None = None
    port: int | None = None
    prefix: str | None = None

    def __post_init__(self) -> None:
        if self.scheme is not None and self.scheme not in _DEFAULT_PORTS:
            raise ValueError("scheme must be http or https")
        if self.host is not None and not _is_host(self.host):
            raise ValueError("host must be host[:port]")
        if self.port is not None and not 1 <= self.port <= 65535:
            raise ValueError("port must be in 1..65535")
        if self.prefix is not None and not _is_path(self.prefix):
            raise ValueError("prefix must be an absolute path without a slash at its end")


FORWARDING_NAMES: Final = frozenset(
    {
        b"forwarded",
        b"x-forwarded-proto",
        b"x-forwarded-host",
        b"x-forwarded-port",
        b"x-forwarded-prefix",
    }
)
"""The headers that `parse_forwarded` looks at, as ASGI names them."""


def parse_forwarded(fields: Fields) -> ForwardedInfo | None:
    """What the forwarding headers say, None when there is nothing usable in them. Never raises."""
    standard = _parse_rfc7239(fields.get_list("Forwarded") or "")
    scheme = _scheme(standard.get("proto")) or _scheme(_first(fields, "X-Forwarded-Proto"))
    host = _host(standard.get("host")) or _host(_first(fields, "X-Forwarded-Host"))
    port = _port(_first(fields, "X-Forwarded-Port"))
    prefix = _prefix(_first(fields, "X-Forwarded-Prefix"))
    if (scheme, host, port, prefix) == (None, None, None, None):
        return None
    return ForwardedInfo(scheme=scheme, host=host, port=port, prefix=prefix)


@lru_cache(maxsize=64)  # of the few names that a server has; the bound is for those that lie
def public_base(
    *,
    scheme: str,
    host: str,
    path_prefix: str,
    forwarded: ForwardedInfo | None = None,
    public_url: str | None = None,
) -> str:
    """The absolute URL of the collection, without a slash at its end.

    scheme, host: of the request; `host` is its Host header, "" when there is none.
    path_prefix: ASGI root_path and mount path, decoded as ASGI has them.
    forwarded: from a trusted proxy only.
    public_url: as configured and accepted by `check_public_url`.
    Raises InvalidHeader when no usable host is known.
    """
    path = quote(path_prefix.rstrip("/"), safe=_PATH_SAFE)
    if public_url is not None:
        parts = urlsplit(public_url)
        return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/') or path}"
    seen = forwarded or ForwardedInfo()
    scheme = seen.scheme or scheme
    host = seen.host or host
    if not _is_host(host):
        raise InvalidHeader("Host", "expected host[:port]")
    return f"{scheme}://{_with_port(host, seen.port)}{_with_prefix(path, seen.prefix)}"


def check_public_url(url: str) -> None:
    """Refuse what cannot be a public URL: it has a scheme (http, https), a host, perhaps a path.

    Raises ValueError with the rule.
    """
    match = re.fullmatch(r"(https?)://([^/?#]*)(/[^?#]*)?", url)
    if match is None or not _is_host(match[2]):
        raise ValueError("must look like https://host[:port][/path], without a query or a user")
    path = (match[3] or "").rstrip("/")
    if path and not _is_path(path):
        raise ValueError("must have a percent-encoded path without empty or dot segments")


def _is_ipv6(text: str) -> bool:
    try:
        IPv6Address(text)
    except ValueError:
        return False
    return True


def _is_host(text: str) -> bool:
    match = _HOST.fullmatch(text) if len(text) <= _HOST_MAX_CHARS else None
    if match is not None and text.startswith("[") and not _is_ipv6(text[1 : text.index("]")]):
        return False
    return match is not None and (match[1] is None or 1 <= int(match[1]) <= 65535)


def _is_path(text: str) -> bool:
    if len(text) > limits.HEADER_MAX_BYTES or not _PATH.fullmatch(text):
        return False
    # Clients resolve dot segments, also encoded ones, so they would end up elsewhere.
    segments = re.sub("%2[eE]", ".", text).split("/")
    return "." not in segments and ".." not in segments


def _scheme(text: str | None) -> str | None:
    lower = (text or "").lower()
    return lower if lower in _DEFAULT_PORTS else None


def _host(text: str | None) -> str | None:
    return text if text is not None and _is_host(text) else None


def _port(text: str | None) -> int | None:
    if text is None or not re.fullmatch("[0-9]{1,5}", text):
        return None
    return int(text) if 1 <= int(text) <= 65535 else None


def _prefix(text: str | None) -> str | None:
    path = (text or "").rstrip("/")
    return path if _is_path(path) else None


def _first(fields: Fields, name: str) -> str | None:
    values = fields.get_list(name)
    if values is None or len(values) > limits.HEADER_MAX_BYTES:
        return None
    return values.partition(",")[0].strip(" \t")


def _parse_rfc7239(text: str) -> dict[str, str]:
    """The pairs of the first element of `Forwarded`, names in lower case; {} when malformed."""
    pairs: dict[str, str] = {}
    position = 0
    while len(text) <= limits.HEADER_MAX_BYTES:
        match = _PAIR.match(text, position)
        if match is None:
            return {}
        name, quoted, plain, delimiter = match.groups()
        if name is not None:
            pairs[name.lower()] = plain if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
        position = match.end()
        if delimiter != ";":
            return pairs
    return {}


def _with_port(host: str, port: int | None) -> str:
    # Of 80 and 443, one goes without saying and the other belongs to an inner hop.
    names_port = ":" in host.rpartition("]")[2]
    if port is None or names_port or port in _DEFAULT_PORTS.values():
        return host
    return f"{host}:{port}"


def _with_prefix(path: str, prefix: str | None) -> str:
    if prefix is None or f"{path}/".startswith(f"{prefix}/"):
        return path
    return prefix + path
