"""Every header parser: what it is given, and what must be true of what it makes of it.

Where a parser's rule can be said a second way (a regular expression, a sum), it is, and the two
must agree on every input.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from tests.fuzz import fields as f
from tests.fuzz.noise import junk, mutated, near, wild
from tests.fuzz.settled import settled
from tusd_s3 import limits
from tusd_s3.errors import (
    BodyTooLong,
    FinalUpload,
    HeaderTooLong,
    InvalidHeader,
    LengthConflict,
    UnsupportedVersion,
    UploadTooLarge,
    WrongContentType,
)
from tusd_s3.model.media_type import is_media_type
from tusd_s3.model.metadata import Metadata
from tusd_s3.model.upload import parse_upload_id
from tusd_s3.protocol import tus1
from tusd_s3.protocol.checksum import parse_checksum
from tusd_s3.protocol.concat import parse_final
from tusd_s3.protocol.fields import Fields
from tusd_s3.protocol.headers import build_metadata, parse_integer, parse_metadata
from tusd_s3.protocol.idempotency import creation_name

MAX_BYTES = 1_342_177_280_000
_INTEGER = re.compile("[0-9]{1,18}")
_PAIR = re.compile(
    r"[\x21-\x2b\x2d-\x7e]+( (?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?)?"
)
_BASE64 = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")
_DIGEST_BYTES = {"sha1": 20, "md5": 16, "sha256": 32, "sha512": 64, "crc32": 4, "crc32c": 4}
_PRINTABLE = re.compile(r"[\t -~]*")
_ID_AT_END = re.compile(r"(?:[^?#]*/)?([A-Za-z0-9_-]{22})(?:[?#].*)?")
_BODY_TYPE = re.compile(r"(?is)[ \t]*application/offset\+octet-stream[ \t]*(;.*)?")


@dataclass(frozen=True, slots=True)
class Target:
    """One parser: its inputs, and the check that fails with an AssertionError."""

    name: str
    inputs: st.SearchStrategy[Any]
    check: Callable[[Any], None]


def _check_fields(given: tuple[list[f.Pair], bytes]) -> None:
    pairs, name = given
    text = name.decode("latin-1")
    sent = [value for key, value in pairs if key.lower() == name.lower()]
    fields = Fields(pairs)
    found = settled(lambda: fields.get(text), InvalidHeader, HeaderTooLong)
    assert (text in fields) == bool(sent)
    assert (found.value is None) == (len(sent) != 1 or len(sent[0]) > limits.HEADER_MAX_BYTES)
    assert isinstance(found.error, InvalidHeader) == (len(sent) > 1)
    if found.value is not None:
        assert found.value.encode("latin-1") == sent[0].strip(b" \t")
    joined = fields.get_list(text)
    assert (joined is None) == (not sent)
    assert joined is None or joined.encode("latin-1") == b", ".join(sent)


def _check_integer(raw: bytes) -> None:
    text = raw.decode("utf-8", errors="replace")  # digits of other scripts stay digits
    found = settled(lambda: parse_integer("Upload-Length", text), InvalidHeader)
    assert (found.value is not None) == (_INTEGER.fullmatch(text) is not None)
    if found.value is not None:
        assert 0 <= found.value < 10**limits.INTEGER_DIGITS_MAX
        assert str(found.value) == (text.lstrip("0") or "0")


def _check_metadata(raw: bytes) -> None:
    text = raw.decode("latin-1")
    found = settled(lambda: parse_metadata(text), InvalidHeader, HeaderTooLong)
    assert (found.value is not None) == _is_metadata(text)
    if found.value is None:
        return
    assert len(found.value) <= limits.METADATA_PAIRS_MAX
    assert sum(map(len, found.value.values())) <= len(raw)
    built = build_metadata(found.value)
    assert len(built) <= len(text)
    assert parse_metadata(built) == found.value


def _is_metadata(text: str) -> bool:
    """The grammar, said again."""
    if len(text) > limits.METADATA_MAX_BYTES:
        return False
    if not text.strip(" \t"):
        return True
    pairs = [pair.strip(" \t") for pair in text.split(",")]
    keys = [pair.partition(" ")[0] for pair in pairs]
    return (
        len(pairs) <= limits.METADATA_PAIRS_MAX
        and all(_PAIR.fullmatch(pair) for pair in pairs)
        and all(len(key) <= limits.METADATA_KEY_MAX_BYTES for key in keys)
        and len(set(keys)) == len(keys)
    )


def _check_build(metadata: Metadata) -> None:
    found = settled(lambda: build_metadata(metadata), InvalidHeader, HeaderTooLong)
    if found.value is not None:
        assert parse_metadata(found.value) == metadata
        assert list(parse_metadata(found.value)) == list(metadata)


def _check_content_type(pairs: list[f.Pair]) -> None:
    types = [value for name, value in pairs if name.lower() == b"content-type"]
    given = [(b"Content-Type", value) for value in types] + [(b"Upload-Offset", b"7")]
    kinds = (InvalidHeader, HeaderTooLong, WrongContentType)
    found = settled(lambda: tus1.parse_append(Fields(given)), *kinds)
    fits = len(types) == 1 and len(types[0]) <= limits.HEADER_MAX_BYTES
    right = fits and _BODY_TYPE.fullmatch(types[0].decode("latin-1")) is not None
    assert (found.value is not None) == right
    assert isinstance(found.error, InvalidHeader) == (len(types) > 1)


def _check_checksum(raw: bytes) -> None:
    text = raw.decode("latin-1")
    found = settled(lambda: parse_checksum(text), InvalidHeader)
    algorithm, _, encoded = text.partition(" ")
    right = _BASE64.fullmatch(encoded) and algorithm in _DIGEST_BYTES
    if right:
        right = len(base64.b64decode(encoded)) == _DIGEST_BYTES[algorithm]
    assert (found.value is not None) == bool(right)


def _check_trailer(pairs: list[f.Pair]) -> None:
    announced = [(name, value) for name, value in pairs if name.lower() == b"trailer"]
    fields = Fields([*f.APPEND[1], *announced])
    found = settled(lambda: tus1.parse_append(fields)).value
    assert found is not None
    names = b",".join(value for _, value in announced).lower().split(b",")
    assert (found.verification is not None) == (
        b"upload-checksum" in [name.strip(b" \t") for name in names]
    )
    if found.verification is not None:
        assert settled(found.verification.expected, InvalidHeader).error is not None


def _check_idempotency(pairs: list[f.Pair]) -> None:
    fields = Fields(pairs)
    name = settled(lambda: creation_name(fields), InvalidHeader, HeaderTooLong).value
    if name is None:
        return
    assert re.fullmatch("[0-9a-f]{64}", name)
    assert name == creation_name(Fields([*pairs, (b"X-Request-ID", b"2"), (b"Host", b"b")]))
    lowered = [(key.lower(), value) for key, value in pairs]
    assert name == creation_name(Fields(lowered))
    for said in (b"Upload-Length", b"Upload-Metadata", b"Authorization"):
        assert name != creation_name(Fields([*pairs, (said, b"other")])), said


def _check_override(given: tuple[bytes, list[f.Pair]]) -> None:
    method, pairs = given[0].decode("latin-1"), given[1]
    call = settled(
        lambda: tus1.effective_method(method, Fields(pairs)), InvalidHeader, HeaderTooLong
    )
    said = [value for name, value in pairs if name.lower() == b"x-http-method-override"]
    if method != "POST" or not said:
        assert call.value == method
    elif call.value is not None:
        assert call.value in ("PATCH", "DELETE", "HEAD")
        assert [value.strip(b" \t").upper() for value in said] == [call.value.encode()]


def _check_version(given: tuple[bytes, list[f.Pair]]) -> None:
    method, pairs = given[0].decode("latin-1"), given[1]
    kinds = (UnsupportedVersion, InvalidHeader, HeaderTooLong)
    call = settled(lambda: tus1.check_version(method, Fields(pairs)), *kinds)
    said = [value.strip(b" \t") for name, value in pairs if name.lower() == b"tus-resumable"]
    lenient = method in ("OPTIONS", "GET") or (method == "HEAD" and not said)
    assert (call.error is None) == (lenient or said == [b"1.0.0"])


def _check_create(pairs: list[f.Pair]) -> None:
    kinds = (InvalidHeader, HeaderTooLong, UploadTooLarge, BodyTooLong, FinalUpload)
    found = settled(lambda: tus1.parse_create(Fields(pairs), max_bytes=MAX_BYTES), *kinds).value
    if found is None:
        return
    sent = {name.lower() for name, _ in pairs}
    is_final = bool(found.sources)
    assert (found.concat != "") == (b"upload-concat" in sent)
    assert is_final == found.concat.startswith("final;")
    assert (found.length is None) == (b"upload-length" not in sent)
    assert (found.length is None) == (is_final or b"upload-defer-length" in sent)
    assert found.length is None or 0 <= found.length <= MAX_BYTES
    assert found.body_length is None or 0 <= found.body_length <= MAX_BYTES
    assert found.verification is None or found.has_body
    assert len(found.metadata) <= limits.METADATA_MAX_BYTES
    assert _is_metadata(found.metadata)
    assert (found.name is None) == (not is_final and b"idempotency-key" not in sent)
    if found.has_body:
        assert not is_final
        assert sent & {b"content-length", b"transfer-encoding"}
        assert b"content-type" in sent


def _check_final(raw: bytes) -> None:
    text = raw.decode("latin-1")
    found = settled(lambda: parse_final(text), InvalidHeader, HeaderTooLong).value
    urls = [url for url in text.removeprefix("final;").replace("\t", " ").split(" ") if url]
    ids = [_ID_AT_END.fullmatch(url) for url in urls]
    is_fine = text.startswith("final;") and len(text) <= limits.CONCAT_MAX_BYTES
    if is_fine and _PRINTABLE.fullmatch(text) and all(ids) and 1 <= len(urls) <= 256:
        assert found == tuple(match[1] for match in ids if match)
    else:
        assert found is None


def _check_append(pairs: list[f.Pair]) -> None:
    kinds = (WrongContentType, InvalidHeader, HeaderTooLong, LengthConflict, BodyTooLong)
    found = settled(lambda: tus1.parse_append(Fields(pairs)), *kinds).value
    if found is None:
        return
    sent = [name.lower() for name, _ in pairs]
    assert sent.count(b"upload-offset") == sent.count(b"content-type") == 1
    assert 0 <= found.offset < 10**limits.INTEGER_DIGITS_MAX
    checked = b"upload-checksum" in sent
    assert not checked or found.verification is not None, "it would pass for verified"
    if found.declared_length is not None:
        assert sent.count(b"upload-length") == 1
        assert found.offset + (found.body_length or 0) <= found.declared_length
    if found.body_length is not None:
        assert sent.count(b"content-length") == 1
        assert b"transfer-encoding" not in sent


def _check_media_type(raw: bytes) -> None:
    text = raw.decode("latin-1")
    if settled(lambda: is_media_type(text)).value:
        assert re.fullmatch(r"[ -~\t]+", text)
        assert "/" in text
        assert len(text) <= limits.MEDIA_TYPE_MAX_BYTES


def _check_id(raw: bytes) -> None:
    text = raw.decode("utf-8", errors="replace")
    found = settled(lambda: parse_upload_id(text)).value
    assert (found is not None) == (re.fullmatch("[-A-Za-z0-9_]{22}", text, re.ASCII) is not None)


_methods = st.sampled_from([b"POST", b"POST", b"PATCH", b"HEAD", b"GET", b"OPTIONS", b"DELETE"])
_methods_sent = _methods | near([b"POST", b"PATCH"])
_DIGITS = ("\u0661\u0662".encode(), "\uff11".encode(), "1\u00b2".encode(), b"12", b"1_0", b" 1")
_media_types = (b"text/plain", b'a/b;c="d\\"e";f=g', b"image/svg+xml; charset=utf-8", b"a/b" * 80)
_ids = (b"AAAAAAAAAAAAAAAAAAAAAA", b"0123456789-_abcdefghij")
_finals = (f.FINAL, f.FINAL + b"?a=/b#c")
_metadata = st.dictionaries(
    st.sampled_from(["filename", "k", ""]) | st.text(max_size=8), wild | junk, max_size=4
)


@st.composite
def _with_key(draw: st.DrawFn) -> list[f.Pair]:
    return draw(f.pairs(b"Idempotency-Key")) + draw(f.sets(f.CREATE[:3]))


TARGETS: tuple[Target, ...] = (
    Target("Fields", st.tuples(f.sets(f.CREATE + f.APPEND), f.names), _check_fields),
    Target("parse_integer", f.values(b"Upload-Length") | near(_DIGITS), _check_integer),
    Target("parse_metadata", f.values(b"Upload-Metadata"), _check_metadata),
    Target(
        "parse_metadata, edited",
        mutated(st.sampled_from(f.VALUES[b"Upload-Metadata"]), edits_max=6),
        _check_metadata,
    ),
    Target("build_metadata", _metadata, _check_build),
    Target("Content-Type", f.pairs(b"Content-Type"), _check_content_type),
    Target("Upload-Checksum", f.values(b"Upload-Checksum"), _check_checksum),
    Target("Trailer", f.pairs(b"Trailer"), _check_trailer),
    Target("Idempotency-Key", _with_key(), _check_idempotency),
    Target(
        "X-HTTP-Method-Override",
        st.tuples(_methods_sent, f.pairs(b"X-HTTP-Method-Override")),
        _check_override,
    ),
    Target("Tus-Resumable", st.tuples(_methods_sent, f.pairs(b"Tus-Resumable")), _check_version),
    Target("Upload-Concat", f.values(b"Upload-Concat") | near(_finals), _check_final),
    Target("parse_create", f.sets(f.CREATE), _check_create),
    Target("parse_append", f.sets(f.APPEND), _check_append),
    Target("is_media_type", near(_media_types), _check_media_type),
    Target("parse_upload_id", near(_ids), _check_id),
)
