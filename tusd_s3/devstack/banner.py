"""What `tusd-s3 dev` prints: addresses, and commands that work when they are pasted."""

from __future__ import annotations

import shlex
import sys
from importlib.util import find_spec

from tusd_s3.devstack.stores import StoreAddresses


def banner(
    origin: str, upload_path: str, bucket: str, stores: StoreAddresses, shared: str | None = None
) -> str:
    """The text for a server at `origin` (no slash at its end). `shared`: so for other machines."""
    uploads = origin + upload_path
    elsewhere = "" if shared is None else f"\n            {shared}/ for other machines"
    return f"""
tusd-s3 is ready; Ctrl-C stops it.

  Page      {origin}/{elsewhere}
  Uploads   {uploads}
  S3        {stores.s3_endpoint}  bucket: {bucket}
            access key: {stores.s3_access_key}  secret key: {stores.s3_secret_key}
  Redis     {stores.redis_url}

Upload with curl:
  {curl_line(uploads)}
Upload with Python:
  {tuspy_line(uploads)}
See what arrived:
  {aws_line(bucket, stores)}

"""


def curl_line(uploads: str) -> str:
    """A whole upload in one request (creation with upload)."""
    return (
        f"printf 'hello' | curl -i -X POST {shlex.quote(uploads)} -H 'Tus-Resumable: 1.0.0' "
        "-H 'Upload-Length: 5' -H 'Content-Type: application/offset+octet-stream' --data-binary @-"
    )


def tuspy_line(uploads: str) -> str:
    """20 MB in several requests; with this Python where it has tuspy."""
    script = (
        "from io import BytesIO; from tusclient.client import TusClient; "
        f"u = TusClient('{uploads}').uploader(file_stream=BytesIO(bytes(20_000_000)), "
        "chunk_size=8_000_000); u.upload(); print(u.url)"
    )
    if find_spec("tusclient") is None:
        return f'pip install tuspy && python -c "{script}"'
    return f'{shlex.quote(sys.executable)} -c "{script}"'


def aws_line(bucket: str, stores: StoreAddresses) -> str:
    """The bucket's objects, with the credentials of the local S3."""
    return (
        f"AWS_ACCESS_KEY_ID={stores.s3_access_key} "
        f"AWS_SECRET_ACCESS_KEY={stores.s3_secret_key} AWS_DEFAULT_REGION={stores.s3_region} "
        f"aws --endpoint-url {stores.s3_endpoint} s3 ls s3://{bucket}/"
    )
