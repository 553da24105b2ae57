"""What is answered to a request that never reaches the application, in the form of all errors."""

from __future__ import annotations

from typing import Final

from tusd_s3 import limits
from tusd_s3.protocol import tus1

HEAD_MAX_BYTES: Final = 64 * limits.KIB
"""Bytes of a request in a row that are not body: request line and headers, or trailers. Common
servers allow 8 to 64 KiB; more is no client of ours. One read beyond it may be kept."""


def _plain_response(status_line: str, text: str) -> bytes:
    head = (
        f"HTTP/1.1 {status_line}\r\ntus-resumable: {tus1.VERSION}\r\n"
        "content-type: text/plain; charset=utf-8\r\n"
        f"content-length: {len(text)}\r\nconnection: close\r\n\r\n"
    )
    return f"{head}{text}".encode("ascii")


TOO_LONG: Final = _plain_response(
    "431 Request Header Fields Too Large",
    f"header_too_long: A request's headers may have at most {HEAD_MAX_BYTES} bytes.\n",
)
MALFORMED: Final = _plain_response(
    "400 Bad Request", "bad_request: This is not a well-formed HTTP/1.1 request.\n"
)
