"""`Upload-Concat` on a POST (tus concatenation): `partial`, or `final;<url> <url> ...`.

URLs may be absolute or relative and name whatever host, since proxies rename hosts; which upload is
meant is the last segment of the path. White space after `final;` and between the URLs is any.

Only POST gives the header a meaning: tus-js-client repeats it on every request of a partial upload.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

from tusd_s3 import limits
from tusd_s3.errors import FinalUpload, HeaderTooLong, InvalidHeader
from tusd_s3.model.concat import FINAL, PARTIAL, source_id, source_urls
from tusd_s3.model.upload_id import UploadId
from tusd_s3.protocol.fields import Fields

_FIELD: Final = "Upload-Concat"
_PRINTABLE = re.compile(r"[\t -~]*")  # it is sent back in a header
_SAID: Final = ("Upload-Metadata", "Authorization", "Idempotency-Key")


def concat_of(fields: Fields) -> str:
    """The header as it came, "" if it is absent. Raises InvalidHeader for anything but the two
    forms, HeaderTooLong."""
    text = fields.get(_FIELD, max_bytes=limits.CONCAT_MAX_BYTES)
    if text is None:
        return ""
    if text != PARTIAL:
        parse_final(text)
    return text


def parse_final(text: str) -> tuple[UploadId, ...]:
    """The uploads that `final;<url> ...` names, in order; the same one may occur again.

    Raises InvalidHeader, HeaderTooLong.
    """
    if len(text) > limits.CONCAT_MAX_BYTES:
        raise HeaderTooLong(_FIELD, limits.CONCAT_MAX_BYTES)
    if not text.startswith(FINAL) or not _PRINTABLE.fullmatch(text):
        raise InvalidHeader(_FIELD, "expected partial, or final; and URLs of uploads")
    urls = source_urls(text)
    if not 1 <= len(urls) <= limits.CONCAT_PARTIALS_MAX:
        raise InvalidHeader(_FIELD, f"expected 1 to {limits.CONCAT_PARTIALS_MAX} URLs")
    ids: list[UploadId] = []
    for position, url in enumerate(urls, start=1):
        if (upload_id := source_id(url)) is None:
            raise InvalidHeader(_FIELD, f"expected the URL of an upload as number {position}")
        ids.append(upload_id)
    return tuple(ids)


def refuse_bytes(fields: Fields, *, has_body: bool) -> None:
    """What a final upload must not bring along: a length of its own (400), bytes (403)."""
    for name in ("Upload-Length", "Upload-Defer-Length"):
        if name in fields:
            raise InvalidHeader(name, "expected none on a final upload, whose length is the sum")
    if has_body:
        raise FinalUpload


def final_name(fields: Fields, sources: tuple[UploadId, ...]) -> str:
    """What names the creation of a final upload among its retries (hexadecimal SHA-256).

    It is what the request says: the same partial uploads in the same order, with the same metadata
    and the same credentials, are the same final one. How their URLs are written does not matter.
    """
    digest = hashlib.sha256(b"final")
    for text in (*(fields.get_list(name) or "" for name in _SAID), *sources):
        raw = text.encode("latin-1")
        digest.update(b"%d:%b" % (len(raw), raw))  # lengths keep the pieces apart
    return digest.hexdigest()
