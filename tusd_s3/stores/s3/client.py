"""The S3 client: how the SDK is set up, and why."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aiobotocore.config import AioConfig
from aiobotocore.httpsession import AIOHTTPSession
from aiobotocore.session import get_session
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError
from botocore.loaders import Loader, create_loader

from tusd_s3.pace import Pace
from tusd_s3.stores.s3.direct import Direct, Wire
from tusd_s3.stores.s3.handover import allow_handover

if TYPE_CHECKING:
    from types_aiobotocore_s3.client import S3Client

ATTEMPTS_MAX = 3
"""Attempts of one call, in all. Each sends its whole body again."""

_CONNECT_TIMEOUT_MAX_S = 5.0
"""A store that does not accept a connection within this is as good as away."""

STALL_MARGIN_S = 10.0
"""What is allowed beyond the timeout of one attempt: connecting and the pause before the next."""

_CHECK_MAX_S = 15.0
"""For the check at start-up as a whole, credentials of a machine's role included: an operator waits
for its sentence."""


@dataclass(frozen=True, slots=True)
class S3Options:
    """Which bucket, where, and how patiently.

    endpoint: None for AWS. prefix: begins every object key. connections_max: sockets to S3 of
    one worker. timeout_s: how long a call may make no progress. conditional_writes: whether the
    store knows If-None-Match and If-Match on PutObject.
    """

    bucket: str
    region: str
    endpoint: str | None = None
    prefix: str = ""
    connections_max: int = 64
    timeout_s: float = 30.0
    force_path_style: bool = False
    conditional_writes: bool = True


@dataclass(frozen=True, slots=True)
class S3Clients:
    """Two ways to one bucket: the SDK's for everything, and ours for the first attempt of what
    every upload needs (`operations`)."""

    sdk: S3Client
    direct: Direct


def _sdk_config(options: S3Options, make_session: Callable[..., AIOHTTPSession]) -> AioConfig:
    s3: dict[str, Any] = {
        # Without this the SDK hashes every part (SHA-256) on the event loop. The bytes are covered
        # by TLS on the way, and by the ETags that Complete names afterwards.
        "payload_signing_enabled": False,
        "addressing_style": "path" if options.force_path_style else "auto",
    }
    return AioConfig(
        signature_version="s3v4",  # botocore otherwise signs presigned requests with version 2
        # The SDK's default checksums break stores that do not know them (Backblaze, GCS, ...).
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        max_pool_connections=options.connections_max,
        connect_timeout=connect_timeout_s(options),
        read_timeout=options.timeout_s,
        retries={"mode": "standard", "total_max_attempts": ATTEMPTS_MAX},
        s3=s3,
        http_session_cls=make_session,
    )


@functools.cache
def _loader(search_path: str | None) -> Loader:
    return create_loader(search_path)


def connect_timeout_s(options: S3Options) -> float:
    return min(_CONNECT_TIMEOUT_MAX_S, options.timeout_s)


@asynccontextmanager
async def open_s3(options: S3Options, pace: Pace | None = None) -> AsyncIterator[S3Clients]:
    """Clients for the time of the block. Credentials come from the SDK's own chain.

    pace: that of the event loop, where bodies come in, too.
    """
    session = get_session()
    # What it reads of the service's description stays in memory, for each loader anew.
    session.register_component("data_loader", _loader(session.get_config_variable("data_path")))
    wires: list[Wire] = []

    def make_session(**given: Any) -> AIOHTTPSession:  # noqa: ANN401 - has no types
        """The SDK's own HTTP client; notes how it is to reach the network."""
        wires.append(Wire(given["verify"], given["proxies"], given["client_cert"]))
        return AIOHTTPSession(**given)

    async with session.create_client(
        "s3",
        region_name=options.region,
        endpoint_url=options.endpoint,
        config=_sdk_config(options, make_session),
    ) as client:
        # With file-like bodies the SDK asks for a 100-continue, which aiohttp then awaits without
        # any timeout; a store that does not send one would hold the call for ever.
        client.meta.events.register_last("before-sign.s3", _drop_expect)
        allow_handover(client)
        direct = Direct(
            client,
            options.bucket,
            await session.get_credentials(),
            wires[-1],
            connect_timeout_s=connect_timeout_s(options),
            timeout_s=options.timeout_s,
            pace=Pace() if pace is None else pace,
        )
        try:
            yield S3Clients(client, direct)
        finally:
            await direct.close()


def _drop_expect(request: Any, **_: object) -> None:  # noqa: ANN401 - botocore's AWSRequest
    del request.headers["Expect"]


async def check_bucket(client: S3Client, bucket: str) -> str | None:
    """Whether the bucket answers; if not, one sentence that says what to look at."""
    try:
        async with asyncio.timeout(_CHECK_MAX_S):
            await client.head_bucket(Bucket=bucket)
    except NoCredentialsError:
        return "No AWS credentials were found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
    except ClientError as error:
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        reasons = {
            403: "the credentials do not allow it",
            404: "it does not exist",
            301: "it lies in another region",
        }
        reason = reasons.get(status or 0, f"S3 answered {status}")
        return f"The bucket {bucket!r} cannot be used: {reason} (--s3-bucket)."
    except (BotoCoreError, OSError, TimeoutError) as error:
        return f"S3 does not answer ({type(error).__name__}); check --s3-endpoint and the network."
    return None
