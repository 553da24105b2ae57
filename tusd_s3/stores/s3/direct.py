"""The calls of every upload without the SDK's pipeline: our own signature, one request, one try.

The SDK spends a millisecond or two of CPU on a call (endpoint rules, events, serialisation,
signing, its HTTP client). These calls (`operations`) are all that grows with the load, and they are
simple.
What the SDK knows is still asked of it: where the bucket is (`route`), how to verify TLS, which
credentials are valid now. What comes out other than plain success is for the SDK to judge.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import BotoCoreError, ClientError
from botocore.httpsession import ProxyConfiguration, create_urllib3_context, get_cert_path

from tusd_s3.pace import Pace
from tusd_s3.stores.s3.answers import Answer, ExchangeError
from tusd_s3.stores.s3.calls import Call, UnsayableError, build_head
from tusd_s3.stores.s3.connection import Request
from tusd_s3.stores.s3.handover import instead_of_sending
from tusd_s3.stores.s3.pool import Address, Pool
from tusd_s3.stores.s3.route import PROBE_KEY, NoRouteError, Route, RouteError, route_of
from tusd_s3.stores.s3.signing import TIMESTAMP_FORMAT, Credentials

if TYPE_CHECKING:
    from botocore.awsrequest import AWSPreparedRequest
    from types_aiobotocore_s3.client import S3Client

logger = logging.getLogger("tusd_s3.s3")

_SDK_ERRORS: Final = (BotoCoreError, ClientError, OSError, RuntimeError)
"""What signing can meet: credentials that cannot be had, or that are renewed and expired."""

REST_S: Final = 60.0
"""How long nothing is sent after `rest`: what it costs to find out again is a few slow calls."""

_PLAIN_ANSWERS: Final = frozenset({304, 404, 409, 412, 416})
"""Refusals that speak of the object or the multipart upload; any other may mean that we ask in the
wrong place or in the wrong way."""


@dataclass(frozen=True, slots=True)
class Wire:
    """What the SDK told its HTTP client. verify: whether to verify certificates, or a file of
    authorities. client_cert: in any form; None for none."""

    verify: bool | str
    proxies: Mapping[str, str] | None
    client_cert: object


@dataclass(frozen=True, slots=True)
class Way:
    """How a request gets to the bucket, and what signs it. timestamp: see `signing`."""

    route: Route
    address: Address
    credentials: Credentials
    timestamp: str


class Direct:
    """Sends to one bucket. credentials: the SDK's own, which refresh themselves; None if it has
    none."""

    def __init__(
        self,
        client: S3Client,
        bucket: str,
        credentials: Any,  # noqa: ANN401 - published without types
        wire: Wire,
        *,
        connect_timeout_s: float,
        timeout_s: float,
        pace: Pace,
    ) -> None:
        self._client = client
        self._bucket = bucket
        self._credentials = credentials
        self._wire = wire
        self._connect_timeout_s = connect_timeout_s
        self._pace = pace
        self._timeout_s = timeout_s
        self._finding = asyncio.Lock()
        self._route: Route | None = None
        self._is_off = credentials is None
        self._rests_until_s = 0.0
        self._pools: dict[tuple[str, str, int], Pool] = {}

    async def attempt(
        self, call: Call, progressed: Callable[[], None]
    ) -> Answer | Exception | None:
        """Send it once: what S3 answered, or why it did not; None if nothing was sent.

        A cancellation ends the connection.
        """
        way = await self.way()
        if way is None:
            return None
        try:
            head = build_head(way.route, way.credentials, call, way.timestamp)
        except (UnsayableError, *_SDK_ERRORS):
            return None  # the SDK can do it, or it meets the same and has a name for it
        pool = self._pools[way.route.scheme, way.route.hostname, way.route.port]
        try:
            request = Request(head, call.chunks, call.size, progressed)
            answer = await pool.exchange(request, is_repeatable=call.is_repeatable)
        except (ExchangeError, OSError) as error:
            return error
        self.judge(answer.status)
        return answer

    async def way(self) -> Way | None:
        """How a request of ours would go now; None if the SDK alone can send it."""
        if self._is_off or asyncio.get_running_loop().time() < self._rests_until_s:
            return None
        try:
            route = self._route or await self._find_route()
            credentials = await self._credentials.get_frozen_credentials()
        except (RouteError, *_SDK_ERRORS):
            return None
        address = self._pools[route.scheme, route.hostname, route.port].address
        timestamp = time.strftime(TIMESTAMP_FORMAT, time.gmtime())
        return Way(route, address, credentials, timestamp)

    def judge(self, status: int) -> None:
        """A request of ours was answered so: perhaps we ask in the wrong place."""
        if 300 <= status < 500 and status not in _PLAIN_ANSWERS:
            self._route = None

    def rest(self) -> None:
        """Send nothing for a while."""
        self._rests_until_s = asyncio.get_running_loop().time() + REST_S

    async def close(self) -> None:
        """Close all connections."""
        for pool in self._pools.values():
            await pool.close()

    async def _find_route(self) -> Route:
        """Raises NoRouteError, now and for good, or what keeps us from it this time."""
        async with self._finding:
            if self._route is None:
                try:
                    self._route = await self._probe()
                except NoRouteError as error:
                    self._is_off = True
                    logger.warning("all calls to S3 go through the SDK: it uses %s", error)
                    raise
            return self._route

    async def _probe(self) -> Route:
        if self._wire.client_cert:
            raise NoRouteError("a client certificate")
        seen: list[AWSPreparedRequest] = []

        def look(request: AWSPreparedRequest) -> Answer:
            seen.append(request)
            return Answer(200, {}, b"", is_framed=True, keeps_alive=True)

        with instead_of_sending(look):
            await self._client.put_object(Bucket=self._bucket, Key=PROBE_KEY, Body=b"")
        if ProxyConfiguration(self._wire.proxies).proxy_url_for(seen[0].url):
            raise NoRouteError("a proxy")
        credentials = await self._credentials.get_frozen_credentials()
        route = route_of(seen[0], credentials)
        if (route.scheme, route.hostname, route.port) not in self._pools:
            context = None
            if route.scheme == "https":
                context = await asyncio.to_thread(_tls, self._wire.verify)  # it reads files
            self._pools[route.scheme, route.hostname, route.port] = Pool(
                Address(route.hostname, route.port, context),
                connect_timeout_s=self._connect_timeout_s,
                timeout_s=self._timeout_s,
                pace=self._pace,
            )
        return route


def _tls(verify: bool | str) -> ssl.SSLContext:
    """A context like the one of the SDK's own HTTP client (AIOHTTPSession)."""
    context: ssl.SSLContext = create_urllib3_context()
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    context.check_hostname = True
    context.load_verify_locations(get_cert_path(True) if verify is True else verify)
    return context
