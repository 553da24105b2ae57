"""From a client's metadata to what S3 is told of the object: its attributes and its key.

Metadata is whatever a stranger typed. Here it becomes headers of an object that browsers will
open, and part of a key, so every value passes through exactly one of three gates: a media type is
taken as it is or not at all; a file name is cleaned, then percent-encoded or narrowed further for
the key; everything else is percent-encoded where it is not plain ASCII.

`Content-Type` alone never reaches S3: a client that may choose it could have its own HTML page
served from the bucket's address. With it goes `Content-Disposition: attachment`, always.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from urllib.parse import quote, quote_from_bytes

from tusd_s3 import limits
from tusd_s3.model.media_type import is_media_type, is_token
from tusd_s3.model.metadata import Metadata, ObjectAttributes
from tusd_s3.model.upload import UploadId, parse_upload_id

_TYPE_KEYS = ("filetype", "type", "contentType")
_NAME_KEYS = ("filename", "name")
_NAMELESS = "file"

# What RFC 8187 lets stand in an extended value beyond the letters, digits and "_.-~" of quote().
_EXTENDED_VALUE_SAFE = "!#$&+^`|"
# Runs of spaces are folded when S3 requests are signed, and outer ones are cut.
_PLAIN_VALUE = re.compile(r"(?:[!-$&-~]+(?: [!-$&-~]+)*)?")

OWN_FOLDER = ".tus/"
"""Below the prefix, for what is this server's own business and no finished upload's object."""

_PARTIAL_SUFFIX = ".partial"

_FIELD = re.compile(r"\{(id|filename)\}")
_FIELD_PATTERNS = {
    "id": rf"(?P<id>[A-Za-z0-9_-]{{{limits.UPLOAD_ID_CHARS}}})",
    "filename": r"(?P<filename>[^/]+)",
}
_KEY_PUNCTUATION = " -_.()"

# Most names need no cleaning; these tell so in one step, not one for each character.
_CLEAN_NAME = re.compile(r"[ -.0-\[\]-~]*")  # printable ASCII but for slashes
_CLEAN_KEY_NAME = re.compile(rf"[A-Za-z0-9{re.escape(_KEY_PUNCTUATION)}]*")


def object_attributes(metadata: Metadata) -> ObjectAttributes:
    """What an S3 object can carry of `metadata`.

    Content-Type: the first of filetype, type, contentType that is a media type.
    Content-Disposition: `attachment`, named by the first of filename, name that is not empty
    (RFC 6266, 8187).
    User metadata: all pairs that fit, keys in lower case; `urllib.parse.unquote` restores values.
    """
    content_type = _content_type(metadata)
    name = _file_name(metadata)
    disposition = None if content_type is None else "attachment"
    if name is not None:
        disposition = f"attachment; filename*=UTF-8''{quote(name, safe=_EXTENDED_VALUE_SAFE)}"
    user_metadata, left_out = _user_metadata(metadata)
    return ObjectAttributes(
        content_type=content_type,
        content_disposition=disposition,
        user_metadata=user_metadata,
        left_out=left_out,
    )


def render_key(template: str, *, prefix: str, upload_id: UploadId, metadata: Metadata) -> str:
    """The key of an upload's object: `prefix` and the template with its fields filled in.

    `{filename}` is narrowed to letters, marks and digits of any script, space and `-_.()`, and
    shortened so that the key has at most `limits.S3_KEY_MAX_BYTES`. Raises ValueError when prefix
    and template leave it no room, which limits on both rule out.
    """
    fixed = prefix + _FIELD.sub(lambda m: upload_id if m[1] == "id" else "", template)
    room = min(limits.FILENAME_MAX_BYTES, limits.S3_KEY_MAX_BYTES - len(fixed.encode()))
    if room < (len(_NAMELESS) if "{filename}" in template else 0):
        raise ValueError("prefix and template leave the key too little room")
    name = _key_name(_file_name(metadata) or "", room) if "{filename}" in template else ""
    return prefix + _FIELD.sub(lambda m: upload_id if m[1] == "id" else name, template)


def partial_key(prefix: str, upload_id: UploadId) -> str:
    """The key of a partial upload's object, apart from those that people look for."""
    return f"{prefix}{OWN_FOLDER}{upload_id}{_PARTIAL_SUFFIX}"


def key_beginning(template: str, *, prefix: str, upload_id: UploadId) -> str | None:
    """How the upload's key begins, as far as its id alone tells; all of it where the template has
    no name. None if the name stands before the id, so that the id finds nothing."""
    before = template.partition("{filename}")[0]
    return prefix + before.replace("{id}", upload_id) if "{id}" in before else None


def upload_id_in_key(template: str, *, prefix: str, key: str) -> UploadId | None:
    """The id of the upload whose key this is: the inverse of `render_key`.

    Also that of `partial_key`. None for a key that this prefix and template cannot have made.
    Whoever chooses keys of this very form makes keys that cannot be told from ours."""
    own = key.removeprefix(f"{prefix}{OWN_FOLDER}").removesuffix(_PARTIAL_SUFFIX)
    if (partial_id := parse_upload_id(own)) and key == partial_key(prefix, partial_id):
        return partial_id
    found = _key_pattern(prefix, template).fullmatch(key)
    upload_id = None if found is None else parse_upload_id(found["id"])
    if found is None or upload_id is None:
        return None
    metadata = {"filename": found.groupdict().get("filename", "").encode(errors="replace")}
    made = render_key(template, prefix=prefix, upload_id=upload_id, metadata=metadata)
    return upload_id if made == key else None


def check_key_template(template: str) -> None:
    """Refuse a template whose keys could collide, leave the prefix or meet recovery objects.

    Raises ValueError with one sentence.
    """
    fields = _FIELD.findall(template)
    rest = _FIELD.sub("", template)
    if "{" in rest or "}" in rest:
        raise ValueError("The key template knows the fields {id} and {filename} only.")
    if "id" not in fields:
        raise ValueError(
            "The key template needs {id}: without it equal names overwrite each other."
        )
    if len(fields) != len(set(fields)):
        raise ValueError("The key template may use each field once.")
    if len(template.encode(errors="replace")) > limits.KEY_TEMPLATE_MAX_BYTES:
        most = limits.KEY_TEMPLATE_MAX_BYTES
        raise ValueError(f"The key template may have at most {most} bytes.")
    _check_path("key template", template)
    if template.startswith("."):
        raise ValueError('The key template must not start with ".": .tus/ holds recovery objects.')
    if template.endswith("/"):
        raise ValueError('The key template must not end with "/".')


def check_key_prefix(prefix: str) -> None:
    """Refuse a prefix that cannot begin a key. Raises ValueError with one sentence."""
    if len(prefix.encode(errors="replace")) > limits.KEY_PREFIX_MAX_BYTES:
        raise ValueError(f"The key prefix may have at most {limits.KEY_PREFIX_MAX_BYTES} bytes.")
    _check_path("key prefix", prefix)


@lru_cache(maxsize=8)
def _key_pattern(prefix: str, template: str) -> re.Pattern[str]:
    """Keys of the template. Only one field can vary in length, so there is one way to match."""
    pieces = _FIELD.split(template)  # text, field, text, field, ..., text
    patterns = [
        re.escape(piece) if place % 2 == 0 else _FIELD_PATTERNS[piece]
        for place, piece in enumerate(pieces)
    ]
    return re.compile(re.escape(prefix) + "".join(patterns))


def _check_path(what: str, text: str) -> None:
    # Stores that keep objects as files resolve these, and keys would land elsewhere.
    segments = text.removesuffix("/").split("/") if text else []
    if "" in segments or "." in segments or ".." in text or "\\" in text:
        raise ValueError(
            f'The {what} must not have "..", "\\", "/" in front, or "//", "/./" inside.'
        )
    if not text.isprintable():
        raise ValueError(f"The {what} must not have control characters.")


def _content_type(metadata: Metadata) -> str | None:
    for key in _TYPE_KEYS:
        text = metadata.get(key, b"").decode("latin-1")
        if is_media_type(text):
            return text
    return None


def _file_name(metadata: Metadata) -> str | None:
    """The first non-empty file name, made safe to show and to save under: one path segment, no
    control characters (also none that turn the direction of writing), no dot in front."""
    value = next((metadata[key] for key in _NAME_KEYS if metadata.get(key)), None)
    if value is None:
        return None
    text = value.decode("utf-8", errors="replace")
    if not _CLEAN_NAME.fullmatch(text):
        text = unicodedata.normalize("NFC", text)
        text = "".join("_" if _is_unsafe(char) else char for char in text)
    return _cut(text.strip().lstrip(". "), limits.FILENAME_MAX_BYTES) or _NAMELESS


def _is_unsafe(char: str) -> bool:
    if char in "/\\" or unicodedata.category(char) in ("Cc", "Zl", "Zp"):
        return True
    # Embeddings, overrides and isolates: they make "exe.fdp" look like "pdf.exe".
    return "\u202a" <= char <= "\u202e" or "\u2066" <= char <= "\u2069"


def _key_name(name: str, max_bytes: int) -> str:
    if not _CLEAN_KEY_NAME.fullmatch(name):
        name = "".join(
            char if char in _KEY_PUNCTUATION or unicodedata.category(char)[0] in "LMN" else "_"
            for char in name
        )
    return _cut(name, max_bytes) or _NAMELESS


def _cut(text: str, max_bytes: int) -> str:
    """At most `max_bytes` of UTF-8, cut between characters, without spaces at the end."""
    return text.encode()[:max_bytes].decode(errors="ignore").rstrip()


def _user_metadata(metadata: Metadata) -> tuple[dict[str, str], tuple[str, ...]]:
    """Pairs in the client's order as long as they fit, and the keys of those that do not."""
    fitting: dict[str, str] = {}
    left_out: list[str] = []
    room = limits.S3_USER_METADATA_MAX_BYTES
    for key, value in metadata.items():
        name, text = key.lower(), _plain_or_encoded(value)
        size = len(name) + len(text)
        if name in fitting or not is_token(name) or size > room:
            left_out.append(key)
        else:
            fitting[name] = text
            room -= size
    return fitting, tuple(left_out)


def _plain_or_encoded(value: bytes) -> str:
    text = value.decode("latin-1")
    return text if _PLAIN_VALUE.fullmatch(text) else quote_from_bytes(value, safe="")
