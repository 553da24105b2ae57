"""The two shapes of RFC 9110 that metadata must have before it may become a header of an object."""

from __future__ import annotations

import re

from tusd_s3 import limits

_NAME = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"
_QUOTED = r'"(?:[ !#-\[\]-~]|\\[ -~])*"'
# No empty parameters (`;;`): they are legal and unused, and with them white space could be matched
# in more than one way, which is how a short hostile value keeps a regular expression busy for ever.
_PARAMETER = rf"[ \t]*;[ \t]*{_NAME}=(?:{_NAME}|{_QUOTED})"

_IS_TOKEN = re.compile(_NAME)
_IS_MEDIA_TYPE = re.compile(rf"{_NAME}/{_NAME}(?:{_PARAMETER})*")


def is_token(text: str) -> bool:
    """Whether `text` can be (part of) the name of a header (RFC 9110, 5.6.2)."""
    return _IS_TOKEN.fullmatch(text) is not None


def is_media_type(text: str) -> bool:
    """Whether `text` can be a Content-Type: `type/subtype` and parameters, in printable ASCII, at
    most `limits.MEDIA_TYPE_MAX_BYTES` long (RFC 9110, 8.3.1). Says nothing about registration."""
    return len(text) <= limits.MEDIA_TYPE_MAX_BYTES and _IS_MEDIA_TYPE.fullmatch(text) is not None
