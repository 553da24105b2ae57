"""The bucket itself, made when missing, and listed: for the dev stack; uploads need neither."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from tusd_s3.stores.s3.recovery import DIRECTORY

if TYPE_CHECKING:
    from types_aiobotocore_s3.client import S3Client

LISTED_MAX = 10_000
"""Objects looked at for the newest ones: S3 lists by key, not by age."""


@dataclass(frozen=True, slots=True)
class ListedObject:
    """A finished upload as the bucket lists it. size_bytes: of the whole object."""

    key: str
    size_bytes: int
    modified: datetime


async def ensure_bucket(client: S3Client, bucket: str) -> None:
    """Make the bucket unless it is there."""
    taken = client.exceptions
    try:
        await client.create_bucket(Bucket=bucket)
    except (taken.BucketAlreadyOwnedByYou, taken.BucketAlreadyExists):
        return  # from an earlier start with the same data


async def newest_objects(
    client: S3Client, bucket: str, prefix: str, most: int
) -> list[ListedObject]:
    """At most `most` objects below `prefix`, newest first; recovery objects are left out."""
    pages = client.get_paginator("list_objects_v2").paginate(
        Bucket=bucket, Prefix=prefix, PaginationConfig={"MaxItems": LISTED_MAX}
    )
    found = [
        ListedObject(item["Key"], item["Size"], item["LastModified"])
        async for page in pages
        for item in page.get("Contents", [])
        if not item["Key"].startswith(f"{prefix}{DIRECTORY}")
    ]
    return heapq.nlargest(most, found, key=lambda item: item.modified)
