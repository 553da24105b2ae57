"""The settings: one field each, with its bounds, its description and the reason for its default."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, model_validator
from pydantic.config import JsonDict
from pydantic_core import PydanticUndefined
from pydantic_settings import BaseSettings, SettingsConfigDict

from tusd_s3 import limits
from tusd_s3.config.types import (
    BasePath,
    EmptyIsNone,
    EndpointUrl,
    HeaderNames,
    KeyPrefix,
    KeyTemplate,
    Networks,
    Origins,
    PublicUrl,
    RedisKeyPrefix,
    RedisUrl,
    Seconds,
    SizeBytes,
)

ENV_PREFIX: Final = "TUSD_S3_"


def _setting(
    group: str,
    metavar: str,
    default: Any,  # noqa: ANN401 - of the field's own type, which pydantic checks
    description: str,
    **bounds: Any,  # noqa: ANN401 - as for pydantic.Field
) -> Any:  # noqa: ANN401 - as for pydantic.Field
    """A field, with what the command line needs to show it."""
    shown: JsonDict = {"group": group, "metavar": metavar}
    return Field(default, description=description, json_schema_extra=shown, **bounds)


_S3, _REDIS, _HTTP, _UPLOADS, _CORS, _LOG = "S3", "Redis", "HTTP", "Uploads", "CORS", "Logging"
_CLEANUP, _DOWNLOADS = "Clean-up", "Downloads"


class Settings(BaseSettings):
    """All settings, validated; immutable and picklable, for the workers to inherit.

    `tusd_s3.config.load_settings` makes one and reports what is wrong as one sentence.
    """

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix=ENV_PREFIX, validate_default=True
    )

    # --- S3
    s3_bucket: str = _setting(
        _S3, "NAME", ..., "Bucket that takes the uploads. It must exist.",
        min_length=3, max_length=63, pattern=r"^[A-Za-z0-9._-]+$",
    )  # fmt: skip
    s3_endpoint: Annotated[EndpointUrl | None, EmptyIsNone] = _setting(
        _S3, "URL", None, "Address of an S3 that is not Amazon's, such as http://minio:9000."
    )
    s3_region: str = _setting(
        _S3, "NAME", "us-east-1",
        "Region to sign requests for. Stores that have no regions take this default.",
        pattern=r"^[A-Za-z0-9-]+$",
    )  # fmt: skip
    s3_object_prefix: KeyPrefix = _setting(
        _S3, "PREFIX", "",
        "What every key of this server begins with, such as uploads/; clean-up never leaves it.",
    )  # fmt: skip
    s3_object_key: KeyTemplate = _setting(
        _S3, "TEMPLATE", "{id}",
        "Template of an object's key after the prefix, from {id} and {filename}, such as "
        "{id}/{filename}. The default, the upload's random id, cannot collide or be guessed.",
    )  # fmt: skip
    s3_part_size: SizeBytes = _setting(
        _S3, "SIZE", limits.S3_PART_SIZE_MIN_BYTES,
        "Size of the parts that an upload is sent in; it grows where the upload would need more "
        "than --s3-parts-max of them. The default is the least S3 takes, which keeps memory and "
        "the share of an upload that waits in Redis small.",
        ge=limits.S3_PART_SIZE_MIN_BYTES, le=limits.PART_SIZE_MAX_BYTES,
    )  # fmt: skip
    s3_parts_max: int = _setting(
        _S3, "N", limits.S3_PARTS_MAX,
        "Most parts an upload may have. S3 takes 10000; Scaleway, for one, takes 1000.",
        ge=1, le=limits.S3_PARTS_MAX,
    )  # fmt: skip
    s3_equal_parts: bool = _setting(
        _S3, "", False,
        "Use one part size for uploads of unknown length too, as Cloudflare R2 demands. Off, their "
        "parts grow as they go on, so that small ones stay cheap and large ones still fit.",
    )  # fmt: skip
    s3_concurrent_part_uploads: int = _setting(
        _S3, "N", 4,
        "Parts of one upload that are sent at the same time. More hide the store's latency, and "
        "each holds a part in memory. All uploads together have half of the memory budget for it.",
        ge=1, le=64,
    )  # fmt: skip
    s3_force_path_style: Annotated[bool | None, EmptyIsNone] = _setting(
        _S3, "", None,
        "Put the bucket into the path instead of the host name. Unless told, on exactly when "
        "--s3-endpoint is set: few stores but Amazon's have a host name for each bucket.",
    )  # fmt: skip
    s3_conditional_writes: bool = _setting(
        _S3, "", True,
        "Store small uploads with If-None-Match, so that a request that was overtaken can never "
        "replace what its successor stored. Off for stores that fail on it; those that answer 501 "
        "are noticed.",
    )  # fmt: skip
    s3_connections: int = _setting(
        _S3, "N", 64, "Connections to S3 that one worker uses at the same time.", ge=1, le=4096
    )
    s3_timeout: Seconds = _setting(
        _S3, "DURATION", 30.0,
        "A request to S3 that makes no progress for so long is given up and tried again.",
        ge=1, le=600,
    )  # fmt: skip

    # --- Redis
    redis_url: RedisUrl = _setting(
        _REDIS, "URL", ...,
        "Redis that holds the records and tails of uploads: redis://localhost:6379/0, "
        "redis+sentinel://s1,s2,s3/service or redis+cluster://r1,r2,r3, with rediss for TLS. It "
        "must not evict keys (maxmemory-policy noeviction).",
        repr=False,
    )  # fmt: skip
    redis_key_prefix: RedisKeyPrefix = _setting(
        _REDIS, "PREFIX", "tusd-s3:",
        "What every Redis key of this server begins with, so that a Redis can be shared.",
        max_length=128,
    )  # fmt: skip
    redis_timeout: Seconds = _setting(
        _REDIS, "DURATION", 5.0, "How long Redis may take to answer.", ge=0.1, le=60
    )
    redis_outage_wait: Seconds = _setting(
        _REDIS, "DURATION", 15.0,
        "How long a request that is writing an upload waits for a Redis that is away. Fail-overs "
        "take about 10s.",
        ge=0, le=300,
    )  # fmt: skip

    # --- HTTP
    host: str = _setting(
        _HTTP, "ADDRESS", "127.0.0.1",
        "Address to listen on. The default is this machine only, because whoever reaches the "
        "server may upload; in a container use 0.0.0.0.",
        min_length=1, pattern=r"^[^\s/]+$",
    )  # fmt: skip
    port: int = _setting(
        _HTTP, "PORT", 8080, "Port to listen on; 0 lets the system choose one.", ge=0, le=65535
    )
    workers: int = _setting(
        _HTTP, "N", 1,
        "Processes that serve requests. All state is in Redis and S3, so any of them serves any "
        "request; one for each CPU is a good number.",
        ge=1, le=256,
    )  # fmt: skip
    base_path: BasePath = _setting(
        _HTTP, "PATH", "/files/", "Path that uploads are created at and live under."
    )
    public_url: Annotated[PublicUrl | None, EmptyIsNone] = _setting(
        _HTTP, "URL", None,
        "How clients reach this server, such as https://upload.example.com; with a path it is the "
        "whole address of the uploads. Unless told, each request says it, or the trusted proxy in "
        "front.",
    )  # fmt: skip
    trusted_proxies: Networks = _setting(
        _HTTP, "NETWORKS", ("127.0.0.0/8", "::1/128"),
        "Addresses of proxies whose Forwarded and X-Forwarded-* headers are believed. The default "
        "is this machine: from anybody else, these headers are what a client chose to send.",
    )  # fmt: skip
    shutdown_timeout: Seconds = _setting(
        _HTTP, "DURATION", 25.0,
        "How long a stopping server may take to store what has arrived. Less than the 30s after "
        "which Kubernetes kills.",
        ge=0, le=3600,
    )  # fmt: skip

    memory_budget: SizeBytes = _setting(
        _HTTP, "SIZE", 256 * limits.MIB,
        "Bytes of bodies that one worker holds at most; when they are spent, clients are made to "
        "wait. At least two parts. Other memory of a worker comes to at most about 120MiB.",
        ge=2 * limits.S3_PART_SIZE_MIN_BYTES,
    )  # fmt: skip

    # --- Uploads
    max_size: Annotated[Annotated[SizeBytes, Field(ge=1)] | None, EmptyIsNone] = _setting(
        _UPLOADS, "SIZE", None,
        "Longest upload that is taken. Unless told, what --s3-parts-max parts can hold.",
    )  # fmt: skip
    upload_lifetime: Seconds = _setting(
        _UPLOADS, "DURATION", 86400.0,
        "An unfinished upload is gone when it took no bytes for so long. Some stores drop "
        "unfinished uploads themselves after 24h.",
        ge=1, le=365 * 86400,
    )  # fmt: skip
    network_timeout: Seconds = _setting(
        _UPLOADS, "DURATION", 60.0,
        "A request whose body falls silent for so long is ended, and what came is kept. A download "
        "whose reader takes nothing for so long is cut; players ask again when they go on.",
        ge=1, le=3600,
    )  # fmt: skip
    lease_ttl: Seconds = _setting(
        _UPLOADS, "DURATION", 4.0,
        "How long an upload stays reserved for a server that died. Clients give up after about 9s "
        "of retries, so it must be well below that.",
        ge=1, le=60,
    )  # fmt: skip
    lease_wait: Seconds = _setting(
        _UPLOADS, "DURATION", PydanticUndefined,
        "How long a request waits for another one to let go of the upload. Unless told, 1s more "
        "than --lease-ttl, so that it outlasts a dead server.",
        default_factory=lambda known: known["lease_ttl"] + 1.0, gt=0, le=120,
    )  # fmt: skip
    checkpoint_interval: Seconds = _setting(
        _UPLOADS, "DURATION", 3.0,
        "How often bytes of a slow upload that do not fill a part are made durable: what a killed "
        "server costs it.",
        ge=0.1, le=3600,
    )  # fmt: skip

    concatenation_wait: Seconds = _setting(
        _UPLOADS, "DURATION", 45.0,
        "How long a request that concatenates uploads waits until the whole is there; then it is "
        "answered, and the work goes on. Less than proxies wait: nginx gives up after 60s.",
        ge=0, le=3600,
    )  # fmt: skip

    # --- Downloads
    downloads: Literal["proxy", "redirect", "off"] = _setting(
        _DOWNLOADS, "proxy|redirect|off", "proxy",
        "What GET of a finished upload does: send it through this server; lead to an address of "
        "the store's that works for a while, so that the store or a CDN does the work; or "
        "nothing. The default works wherever uploads do: clients need not reach the store.",
    )  # fmt: skip
    downloads_max: int = _setting(
        _DOWNLOADS, "N", 512,
        "Downloads that one worker serves at the same time; whoever comes then is told to try "
        "again. Each takes a connection to S3 besides --s3-connections, two open files, and of a "
        "slow reader 8KiB of --memory-budget.",
        ge=1, le=65536,
    )  # fmt: skip
    downloads_link_life: Seconds = _setting(
        _DOWNLOADS, "DURATION", 900.0,
        "How long the store's address works with --downloads redirect. Whoever has it needs no "
        "leave of this server any more; a player that seeks later asks for another one.",
        ge=1, le=7 * 86400,
    )  # fmt: skip

    downloads_endpoint: Annotated[EndpointUrl | None, EmptyIsNone] = _setting(
        _DOWNLOADS, "URL", None,
        "Where clients reach the store, or a CDN before it that passes the Host header on, with "
        "--downloads redirect. Unless told, where this server reaches it.",
    )  # fmt: skip

    # --- Clean-up
    cleanup_interval: Seconds = _setting(
        _CLEANUP, "DURATION", 60.0,
        "How often one of the workers looks through the records for completions that got stuck "
        "and for idle tails. What is in S3 is listed more rarely: four times in "
        "--upload-lifetime, at least every 10m.",
        ge=1, le=86400,
    )  # fmt: skip
    tail_idle: Seconds = _setting(
        _CLEANUP, "DURATION", 900.0,
        "Bytes short of a part that waited in Redis for so long are moved to S3. A client that "
        "comes back later waits for one read of S3 more; most that come back do so within "
        "minutes.",
        ge=1, le=365 * 86400,
    )  # fmt: skip
    redis_memory_bound: Annotated[Annotated[SizeBytes, Field(ge=1)] | None, EmptyIsNone] = _setting(
        _CLEANUP, "SIZE", None,
        "When Redis uses more memory, the bytes that have waited for longest are moved to S3 at "
        "once. Unless told, three quarters of Redis' own maxmemory, if it has one.",
    )  # fmt: skip

    # --- CORS
    cors_allow_origin: Origins = _setting(
        _CORS, "ORIGINS", ("*",), "Exact origins whose pages may upload, or * for all."
    )
    cors_allow_credentials: bool = _setting(
        _CORS, "", False,
        "Let pages send cookies. It needs a list of origins: any page could act as its visitor "
        "otherwise.",
    )  # fmt: skip
    cors_allow_headers: HeaderNames = _setting(
        _CORS, "NAMES", (), "Request headers that pages may send besides those of the protocol."
    )
    cors_expose_headers: HeaderNames = _setting(
        _CORS, "NAMES", (), "Response headers that pages may read besides those of the protocol."
    )
    cors_max_age: Seconds = _setting(
        _CORS, "DURATION", 86400.0,
        "How long a browser may remember what is allowed. Browsers cap it, at 2h or 24h.",
        ge=0, le=86400,
    )  # fmt: skip

    # --- Logging
    log_level: Literal["debug", "info", "warning", "error"] = _setting(
        _LOG,
        "debug|info|warning|error",
        "info",
        "Least severity that is logged; debug also logs every request.",
    )
    log_format: Literal["text", "json"] = _setting(
        _LOG, "text|json", "text", "Lines for people, or one JSON object a line for machines."
    )

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        """What is wrong only in combination. Each clause names the settings it is about."""
        origins = ",".join(self.cors_allow_origin)
        if "*" in self.cors_allow_origin and origins != "*":
            raise ValueError(f"cors_allow_origin is {origins!r}: it must be * or a list of origins")
        if origins == "*" and self.cors_allow_credentials:
            raise ValueError(
                "cors_allow_credentials is 'true', but cors_allow_origin is '*': it must list "
                "origins, or any page could upload in its visitor's name"
            )
        connections, parts = self.s3_connections, self.s3_concurrent_part_uploads
        if connections < parts:
            raise ValueError(
                f"s3_connections is '{connections}', but must be at least "
                f"s3_concurrent_part_uploads, which is '{parts}': parts would wait for connections"
            )
        if self.memory_budget < 2 * self.s3_part_size:
            raise ValueError(
                f"memory_budget is '{self.memory_budget}', but must be at least twice "
                f"s3_part_size, which is '{self.s3_part_size}': no part could be filled while "
                "another one is sent"
            )
        return self

    @property
    def max_upload_bytes(self) -> int:
        """Length of the longest upload that is taken: `max_size`, if the parts can hold it."""
        capacity = self.s3_parts_max * self.part_max_bytes
        return capacity if self.max_size is None else min(self.max_size, capacity)

    @property
    def part_max_bytes(self) -> int:
        """The largest part that an upload may get: two of them must fit the memory budget."""
        return min(limits.PART_SIZE_MAX_BYTES, self.memory_budget // 2)


def group(field: str) -> str:
    """The heading that `field` stands under in the help."""
    return _shown(field, "group")


def metavar(field: str) -> str:
    """What the help shows as the value of `field`: `SIZE`, `DURATION`, ...; "" for a switch."""
    return _shown(field, "metavar")


def _shown(field: str, key: str) -> str:
    shown = Settings.model_fields[field].json_schema_extra
    assert isinstance(shown, dict)
    return str(shown[key])
