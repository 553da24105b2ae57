"""The S3 client: how the SDK is set up, and why."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError
from botocore.loaders import Loader, create_loader

if TYPE_CHECKING:
    from types_aiobotocore_s3.client import S3Client

ATTEMPTS_MAX = 3
"""Attempts of one call, in all. Each sends its whole body again."""

_CONNECT_TIMEOUT_MAX_S = 5.0
"""A store that does not accept a connection within this is as good as away."""


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


def _sdk_config(options: S3Options) -> AioConfig:
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
        connect_timeout=min(_CONNECT_TIMEOUT_MAX_S, options.timeout_s),
        read_timeout=options.timeout_s,
        retries={"mode": "standard", "total_max_attempts": ATTEMPTS_MAX},
        s3=s3,
    )


@functools.cache
def _loader(search_path: str | None) -> Loader:
    return create_loader(search_path)


@asynccontextmanager
async def open_s3(options: S3Options) -> AsyncIterator[S3Client]:
    """A client for the time of the block. Credentials come from the SDK's own chain."""
    session = get_session()
    # What it reads of the service's description stays in memory, for each loader anew.
    session.register_component("data_loader", _loader(session.get_config_variable("data_path")))
    async with session.create_client(
        "s3",
        region_name=options.region,
        endpoint_url=options.endpoint,
        config=_sdk_config(options),
    ) as client:
        # With file-like bodies the SDK asks for a 100-continue, which aiohttp then awaits without
        # any timeout; a store that does not send one would hold the call for ever.
        client.meta.events.register_last("before-sign.s3", _drop_expect)
        yield client


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
