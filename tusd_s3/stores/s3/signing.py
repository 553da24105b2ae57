"""AWS Signature Version 4 in the Authorization header, for S3. No I/O, no clock.

Source of every rule here: "Authenticating Requests: Using the Authorization Header (AWS Signature
Version 4)", https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-auth-using-authorization-header.html
S3 differs from the other services in that a path is encoded once and never normalised: `//` and
`..` in a key stay what they are.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Protocol
from urllib.parse import quote

ALGORITHM: Final = "AWS4-HMAC-SHA256"

UNSIGNED_PAYLOAD: Final = "UNSIGNED-PAYLOAD"
"""In the place of the body's hash: the body is not covered by the signature."""

EMPTY_PAYLOAD: Final = sha256(b"").hexdigest()
"""Of a request without a body."""

TIMESTAMP_FORMAT: Final = "%Y%m%dT%H%M%SZ"
"""Of X-Amz-Date, in UTC, as `time.strftime` takes it."""

_DATE_CHARS: Final = 8
_SCOPE_END: Final = "aws4_request"


class Credentials(Protocol):
    """The part of the SDK's frozen credentials that signs. token: None for long-lived ones."""

    @property
    def access_key(self) -> str: ...
    @property
    def secret_key(self) -> str: ...
    @property
    def token(self) -> str | None: ...


@dataclass(frozen=True, slots=True)
class Signable:
    """A request as far as its signature covers it.

    path, query: as they go out (`encode_path`, `encode_query`). headers: names in lower case and in
    alphabetical order, each once; Host and every X-Amz-* header must be among them. payload: the
    value of X-Amz-Content-SHA256.
    """

    method: str
    path: str
    query: str
    headers: Sequence[tuple[str, str]]
    payload: str = UNSIGNED_PAYLOAD


_UNRESERVED: Final = re.compile(r"[A-Za-z0-9._~-]*")
"""RFC 3986, 2.3. Nearly all that is asked for consists of it, and `quote` takes its time."""

_UNRESERVED_PATH: Final = re.compile(r"[A-Za-z0-9._~/-]*")


def encode_path(path: str) -> str:
    """UriEncode() of a path: UTF-8, all but unreserved characters and `/`, once."""
    return path if _UNRESERVED_PATH.fullmatch(path) else quote(path, safe="/~")


def _encode(text: str) -> str:
    return text if _UNRESERVED.fullmatch(text) else quote(text, safe="~")


def encode_query(pairs: Iterable[tuple[str, str]]) -> str:
    """The canonical query string, which also is a query string: encoded, sorted by name."""
    encoded = sorted([(_encode(name), _encode(value)) for name, value in pairs])
    return "&".join([f"{name}={value}" for name, value in encoded])


class Signer:
    """Signs requests for one region of one service.

    The key that signs is derived from the secret, the day, the region and the service; what HMAC
    makes of the latest one is kept, because it is the same for all requests of a day.
    """

    def __init__(self, region: str, service: str) -> None:
        self._region = region
        self._service = service
        self._derived_from = ("", "")
        self._keyed = hmac.new(b"", digestmod=sha256)

    def authorization(self, credentials: Credentials, request: Signable, timestamp: str) -> str:
        """Value of the Authorization header. timestamp: that of X-Amz-Date."""
        date = timestamp[:_DATE_CHARS]
        scope = f"{date}/{self._region}/{self._service}/{_SCOPE_END}"
        names = ";".join([name for name, _ in request.headers])
        digest = sha256(_canonical(request, names).encode()).hexdigest()
        to_sign = f"{ALGORITHM}\n{timestamp}\n{scope}\n{digest}"
        signature = self._keyed_with(credentials.secret_key, date)
        signature.update(to_sign.encode())
        return (
            f"{ALGORITHM} Credential={credentials.access_key}/{scope}, "
            f"SignedHeaders={names}, Signature={signature.hexdigest()}"
        )

    def _keyed_with(self, secret_key: str, date: str) -> hmac.HMAC:
        if self._derived_from != (secret_key, date):
            key = f"AWS4{secret_key}".encode()
            for step in (date, self._region, self._service, _SCOPE_END):
                key = hmac.digest(key, step.encode(), "sha256")
            self._keyed = hmac.new(key, digestmod=sha256)
            self._derived_from = (secret_key, date)
        return self._keyed.copy()


def _canonical(request: Signable, names: str) -> str:
    # Trimall(): no space around a value, and one where there were several.
    lines = "".join([f"{name}:{' '.join(value.split())}\n" for name, value in request.headers])
    return f"{request.method}\n{request.path}\n{request.query}\n{lines}\n{names}\n{request.payload}"
