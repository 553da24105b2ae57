"""How to reach a bucket, learned from what the SDK itself would send.

Endpoint, addressing style, region, service name and kind of signature follow from rules of the
SDK's that nobody should write twice. So the SDK makes a request, which is never sent, and what it
looks like is the route. The proof that nothing was misunderstood is in the request: signed again by
us, its signature must come out the same. What it does not come out the same for (SigV4a, S3
Express, anonymous or custom signers, headers that we do not send) has no route, and stays with the
SDK.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from tusd_s3.stores.s3.signing import (
    ALGORITHM,
    UNSIGNED_PAYLOAD,
    Credentials,
    Signable,
    Signer,
)

if TYPE_CHECKING:
    from botocore.awsrequest import AWSPreparedRequest

PROBE_KEY: Final = "probe"
"""Of the request that is never sent. Nothing in it needs encoding."""

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}

_OURS: Final = frozenset(
    {
        *("authorization", "content-length", "host", "user-agent"),
        *("x-amz-content-sha256", "x-amz-date", "x-amz-security-token"),
    }
)
"""Headers that our requests have, too."""

_LEFT_OUT: Final = frozenset({"amz-sdk-invocation-id", "amz-sdk-request"})
"""Headers that tell the store which requests are repetitions, for statistics."""


class RouteError(Exception):
    """How the bucket is reached is not known."""


class NoRouteError(RouteError):
    """The SDK's requests are not such as ours could be; the message says in what."""


class OtherCredentialsError(RouteError):
    """The request was signed with other credentials than it is looked at with: they were renewed
    meanwhile. Another one will do."""


@dataclass(frozen=True, slots=True)
class Route:
    """Where requests for one bucket go, and how they are signed.

    host: value of the Host header. path: begins every path, encoded, and ends with a slash.
    """

    scheme: str
    hostname: str
    port: int
    host: str
    path: str
    user_agent: str
    signer: Signer


def route_of(probe: AWSPreparedRequest, credentials: Credentials) -> Route:
    """The route that `probe`, a PutObject of `PROBE_KEY` signed with `credentials`, would take.

    Raises NoRouteError, or OtherCredentialsError.
    """
    url = urlsplit(probe.url)
    if url.scheme not in _DEFAULT_PORTS or not url.hostname or url.query:
        raise NoRouteError("an address of another form")
    if not url.path.endswith(f"/{PROBE_KEY}"):
        raise NoRouteError("a path of another form")
    headers = {name.lower(): _text(value) for name, value in probe.headers.items()}
    unknown = headers.keys() - _OURS - _LEFT_OUT
    if unknown:
        raise NoRouteError(f"a header {min(unknown)}")
    if headers.get("x-amz-content-sha256") != UNSIGNED_PAYLOAD:
        raise NoRouteError("bodies that are hashed")
    port = url.port or _DEFAULT_PORTS[url.scheme]
    name = f"[{url.hostname}]" if ":" in url.hostname else url.hostname
    route = Route(
        scheme=url.scheme,
        hostname=url.hostname,
        port=port,
        host=name if port == _DEFAULT_PORTS[url.scheme] else f"{name}:{port}",
        path=url.path.removesuffix(PROBE_KEY),
        user_agent=headers.get("user-agent", ""),
        signer=_signer(headers.get("authorization", ""), credentials),
    )
    _check_signature(route, url.path, headers, credentials)
    return route


def _signer(authorization: str, credentials: Credentials) -> Signer:
    """Of the scope in it: `Credential=KEY/date/region/service/aws4_request, ...`."""
    algorithm, _, rest = authorization.partition(" Credential=")
    key, *scope = rest.partition(",")[0].rsplit("/", 4)
    if algorithm != ALGORITHM or len(scope) != 4:
        raise NoRouteError("a signature of another kind")
    if key != credentials.access_key:
        raise OtherCredentialsError
    _, region, service, _ = scope
    return Signer(region, service)


def _check_signature(
    route: Route, path: str, headers: Mapping[str, str], credentials: Credentials
) -> None:
    theirs = headers["authorization"]
    names = theirs.partition("SignedHeaders=")[2].partition(",")[0].split(";")
    values = {**headers, "host": route.host}
    request = Signable("PUT", path, "", [(name, values.get(name, "")) for name in names])
    timestamp = headers.get("x-amz-date", "")
    if route.signer.authorization(credentials, request, timestamp) != theirs:
        raise NoRouteError("a signature of another kind")


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("latin-1")
