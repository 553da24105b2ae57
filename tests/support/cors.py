"""Line 27: what a page of another origin may send, and what it may read."""

from __future__ import annotations

METHODS = {"post", "get", "head", "patch", "delete", "options"}
ALLOWED = {
    "authorization", "content-type", "tus-resumable", "upload-length", "upload-offset",
    "upload-metadata", "upload-defer-length", "upload-concat", "upload-checksum",
    "x-http-method-override", "x-request-id", "x-requested-with", "upload-complete",
    "upload-draft-interop-version",
    # of downloads
    "range", "if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "if-range",
}  # fmt: skip
EXPOSED = {
    "location", "upload-offset", "upload-length", "upload-defer-length", "upload-metadata",
    "upload-concat", "upload-expires", "tus-resumable", "tus-version", "tus-extension",
    "tus-max-size", "tus-checksum-algorithm", "upload-complete", "upload-limit",
    "upload-draft-interop-version",
    # of downloads
    "accept-ranges", "content-disposition", "content-length", "content-range", "etag",
}  # fmt: skip
