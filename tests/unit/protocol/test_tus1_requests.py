"""How tus 1.0 requests are read. Numbers in names are the lines of the protocol checklist."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.checksums import checksum_of
from tusd_s3 import limits
from tusd_s3.errors import (
    BodyTooLong,
    HeaderTooLong,
    InvalidHeader,
    LengthConflict,
    UnsupportedVersion,
    UploadError,
    UploadTooLarge,
    WrongContentType,
)
from tusd_s3.model.checksum import ALGORITHMS, BodyDigest, Checksum
from tusd_s3.protocol import tus1
from tusd_s3.protocol.checksum import parse_checksum
from tusd_s3.protocol.fields import Fields
from tusd_s3.protocol.message import AppendRequest, CreateRequest

MAX = 1000
OCTETS = {"content-type": "application/offset+octet-stream"}


def fields(headers: dict[str, str]) -> Fields:
    return Fields((name.encode(), value.encode("latin-1")) for name, value in headers.items())


def create(headers: dict[str, str]) -> CreateRequest:
    return tus1.parse_create(fields(headers), max_bytes=MAX)


def append(headers: dict[str, str]) -> AppendRequest:
    return tus1.parse_append(fields({**OCTETS, "upload-offset": "0", **headers}))


@pytest.mark.parametrize("method", ["POST", "HEAD", "PATCH", "DELETE", "OPTIONS", "GET"])
def test_line_1_the_right_version_is_taken_by_every_method(method: str) -> None:
    tus1.check_version(method, fields({"tus-resumable": "1.0.0"}))


@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE"])
def test_line_1_a_missing_version_is_refused(method: str) -> None:
    with pytest.raises(UnsupportedVersion):
        tus1.check_version(method, fields({}))


@pytest.mark.parametrize("version", ["0.2.2", "1.0", "1.0.00", "2.0.0", "", "1.0.0, 1.0.0"])
@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE", "HEAD"])
def test_line_1_a_wrong_version_is_refused_also_on_head(method: str, version: str) -> None:
    with pytest.raises(UnsupportedVersion):
        tus1.check_version(method, fields({"tus-resumable": version}))


@pytest.mark.parametrize("headers", [{}, {"tus-resumable": "0.2.2"}])
@pytest.mark.parametrize("method", ["OPTIONS", "GET"])
def test_line_1_and_2_options_and_get_have_no_version(method: str, headers: dict[str, str]) -> None:
    tus1.check_version(method, fields(headers))


def test_line_1_head_may_leave_the_version_out() -> None:
    tus1.check_version("HEAD", fields({}))


@pytest.mark.parametrize("override", ["PATCH", "DELETE", "HEAD", "patch"])
def test_line_3_the_override_replaces_post(override: str) -> None:
    """Realistic: tus-java-client sends it where the platform has no PATCH."""
    headers = fields({"x-http-method-override": override})
    assert tus1.effective_method("POST", headers) == override.upper()


@pytest.mark.parametrize("override", ["", "POST", "GET", "OPTIONS", "PUT", "TRACE", "PATCH,HEAD"])
def test_line_3_no_other_override_is_taken(override: str) -> None:
    with pytest.raises(InvalidHeader, match="expected one of PATCH, DELETE, HEAD"):
        tus1.effective_method("POST", fields({"x-http-method-override": override}))


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "DELETE", "PATCH", "PUT"])
def test_line_3_only_post_is_overridden(method: str) -> None:
    assert tus1.effective_method(method, fields({"x-http-method-override": "DELETE"})) == method


def test_line_3_without_an_override_post_is_post() -> None:
    assert tus1.effective_method("POST", fields({})) == "POST"


def test_line_13_a_length_is_declared_or_deferred() -> None:
    assert create({"upload-length": "7"}) == CreateRequest(length=7)
    assert create({"upload-defer-length": "1"}) == CreateRequest(length=None)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"upload-length": "7", "upload-defer-length": "1"},
        {"upload-defer-length": "0"},
        {"upload-defer-length": "true"},
        {"upload-defer-length": ""},
        {"upload-length": "7", "upload-defer-length": "0"},
        {"upload-length": ""},
        {"upload-length": "-1"},
        {"upload-length": "NaN"},
    ],
)
def test_line_13_anything_but_exactly_one_of_them_is_invalid(headers: dict[str, str]) -> None:
    with pytest.raises(InvalidHeader):
        create(headers)


def test_line_13_the_length_may_reach_the_maximum_and_no_further() -> None:
    for length in (MAX - 1, MAX):
        assert create({"upload-length": str(length)}).length == length
    with pytest.raises(UploadTooLarge, match=f"at most {MAX} bytes"):
        create({"upload-length": str(MAX + 1)})


def test_line_13_bytes_without_a_declared_length_have_the_same_maximum() -> None:
    headers = {**OCTETS, "upload-defer-length": "1"}
    for size in (MAX - 1, MAX):
        assert create({**headers, "content-length": str(size)}).body_length == size
    with pytest.raises(UploadTooLarge):
        create({**headers, "content-length": str(MAX + 1)})


def test_line_15_a_length_of_zero_is_a_length() -> None:
    assert create({"upload-length": "0"}).length == 0


@pytest.mark.parametrize(
    ("headers", "body_length"),
    [
        ({**OCTETS, "content-length": "5"}, 5),
        ({**OCTETS, "content-length": "0"}, 0),
        ({**OCTETS}, 0),
        ({**OCTETS, "transfer-encoding": "chunked"}, None),
        ({**OCTETS, "transfer-encoding": "chunked", "content-length": "5"}, None),
        # another type, or none: not a chunk, whatever its length
        ({"content-length": "5"}, 0),
        ({"transfer-encoding": "chunked"}, 0),
        ({"content-type": "application/json", "content-length": "2000"}, 0),
        ({"content-type": "application/x-www-form-urlencoded", "content-length": "5"}, 0),
        ({"content-type": "", "content-length": "5"}, 0),
    ],
)
def test_line_16_a_body_counts_by_its_type(
    headers: dict[str, str], body_length: int | None
) -> None:
    request = create({"upload-length": "10", **headers})
    assert request.body_length == body_length
    assert request.has_body == (body_length != 0)


def test_line_16_a_first_chunk_may_reach_the_length_and_no_further() -> None:
    headers = {**OCTETS, "upload-length": "10"}
    for size in (9, 10):
        assert create({**headers, "content-length": str(size)}).body_length == size
    with pytest.raises(BodyTooLong):
        create({**headers, "content-length": "11"})


@pytest.mark.parametrize("length", ["-5", "5, 5", "+5", "5\u00b2", ""])
def test_line_16_a_content_length_is_read_strictly(length: str) -> None:
    with pytest.raises(InvalidHeader, match="Content-Length"):
        create({**OCTETS, "upload-length": "10", "content-length": length})


@pytest.mark.parametrize(
    "metadata", ["", "filename Y2F0LmpwZw==,empty", "name bnVsbA==", "a YQ==, b "]
)
def test_line_18_metadata_is_kept_exactly_as_sent(metadata: str) -> None:
    request = create({"upload-length": "1", "upload-metadata": metadata})
    assert request.metadata == metadata.rstrip(), "outer white space belongs to HTTP, not the value"


def test_line_18_metadata_is_checked_before_anything_is_made() -> None:
    for metadata in ("a !", "a YQ==,a YQ=="):
        with pytest.raises(InvalidHeader, match="Upload-Metadata"):
            create({"upload-length": "1", "upload-metadata": metadata})
    longest = "k" * limits.METADATA_KEY_MAX_BYTES + " "
    longest += "A" * ((limits.METADATA_MAX_BYTES - len(longest)) // 4 * 4)
    assert create({"upload-length": "1", "upload-metadata": longest}).metadata == longest
    with pytest.raises(HeaderTooLong):
        create({"upload-length": "1", "upload-metadata": longest + "AAAA"})


@pytest.mark.parametrize("concat", ["partial", "final;/files/a /files/b", "", "odd"])
def test_line_23_a_concatenation_is_ignored_outside_of_post(concat: str) -> None:
    """Realistic: tus-js-client sends it on every request of a partial upload."""
    assert append({"upload-concat": concat}) == append({})


SHA1 = "sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0="
FIRST_CHUNK = {**OCTETS, "upload-length": "1", "content-length": "1"}


def test_line_20_a_checksum_is_what_the_body_must_agree_with() -> None:
    for request in (
        append({"upload-checksum": SHA1}),
        create({**FIRST_CHUNK, "upload-checksum": SHA1}),
    ):
        assert request.verification is not None
        assert request.verification.algorithm == "sha1"
        digest = hashlib.sha1(b"hello world", usedforsecurity=False).digest()
        assert request.verification.expected() == Checksum("sha1", digest)
    assert append({}).verification is None


def test_line_20_without_a_first_chunk_there_is_nothing_to_check() -> None:
    assert create({"upload-length": "1", "upload-checksum": SHA1}).verification is None


@pytest.mark.parametrize("text", ["", "sha1", "sha1 x", "sha1  " + SHA1[5:], "md5 " + SHA1[5:]])
def test_line_20_what_is_no_checksum_is_refused(text: str) -> None:
    for parse in (append, lambda headers: create({**FIRST_CHUNK, **headers})):
        with pytest.raises(InvalidHeader, match="Upload-Checksum"):
            parse({"upload-checksum": text})


@given(algorithm=st.sampled_from(ALGORITHMS), body=st.binary(max_size=99), at=st.integers(0, 99))
def test_line_20_a_digest_is_the_same_however_the_body_was_cut(
    algorithm: str, body: bytes, at: int
) -> None:
    text = checksum_of(body, algorithm)
    for known in (algorithm, None):
        digest = BodyDigest(known)
        digest.update(body[:at])
        digest.update(body[at:])
        assert digest.agrees_with(parse_checksum(text))
        digest.update(b"more")
        assert not digest.agrees_with(parse_checksum(text))


@pytest.mark.parametrize(
    "announced", ["Upload-Checksum", "x-other, upload-checksum", "UPLOAD-CHECKSUM,"]
)
def test_line_21_an_announced_checksum_is_read_behind_the_body(announced: str) -> None:
    trailers = Fields([(b"upload-checksum", SHA1.encode())])
    headers = fields({**OCTETS, "upload-offset": "0", "trailer": announced})
    verification = tus1.parse_append(headers, trailers=lambda: trailers).verification
    assert verification is not None
    assert verification.algorithm is None
    assert verification.expected() == parse_checksum(SHA1)


def test_line_21_one_that_does_not_come_is_an_error_then() -> None:
    verification = append({"trailer": "Upload-Checksum"}).verification
    assert verification is not None
    with pytest.raises(InvalidHeader, match="expected behind the body"):
        verification.expected()


def test_line_21_there_is_one_place_for_it() -> None:
    with pytest.raises(InvalidHeader, match="not both"):
        append({"trailer": "Upload-Checksum", "upload-checksum": SHA1})


def test_line_21_other_trailers_are_nobodys_business() -> None:
    assert append({"trailer": "X-Signature"}) == append({})


@pytest.mark.parametrize(
    "content_type",
    [
        "application/offset+octet-stream",
        "Application/Offset+Octet-Stream",
        "application/offset+octet-stream; charset=utf-8",
        "application/offset+octet-stream;x",
    ],
)
def test_line_6_the_type_of_a_patch(content_type: str) -> None:
    headers = {"content-type": content_type, "upload-offset": "3", "content-length": "4"}
    expected = AppendRequest(offset=3, declared_length=None, body_length=4)
    assert tus1.parse_append(fields(headers)) == expected


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"content-type": ""},
        {"content-type": "application/octet-stream"},
        {"content-type": "application/offset octet-stream"},
        {"content-type": "application/offset+octet-streams"},
        {"content-type": "text/plain; application/offset+octet-stream"},
        {"content-type": "application/partial-upload"},
    ],
)
def test_line_6_a_patch_of_another_type_is_refused_first(headers: dict[str, str]) -> None:
    """Even when more is wrong with it: 415 is what the protocol names."""
    with pytest.raises(WrongContentType):
        tus1.parse_append(fields({**headers, "upload-offset": "-1"}))


def test_line_4_a_patch_needs_its_offset() -> None:
    with pytest.raises(InvalidHeader, match="Upload-Offset: expected on every PATCH"):
        tus1.parse_append(fields(OCTETS))
    for offset in ("", "-1", "1.5", "null"):
        with pytest.raises(InvalidHeader, match="Upload-Offset"):
            append({"upload-offset": offset})


def test_line_11_a_body_of_unknown_length_is_read_to_its_end() -> None:
    """Realistic: tus-java-client sends chunked bodies; HTTP/2 needs neither header."""
    assert append({"transfer-encoding": "chunked"}).body_length is None
    assert append({"transfer-encoding": "chunked", "content-length": "0"}).body_length is None
    assert append({}).body_length is None
    assert append({"content-length": "0"}).body_length == 0


def test_line_17_a_patch_may_declare_the_length() -> None:
    """Also one without a byte, at the end of all bytes."""
    request = append({"upload-offset": "10", "upload-length": "10", "content-length": "0"})
    assert request == AppendRequest(offset=10, declared_length=10, body_length=0)


def test_line_17_the_declared_length_is_not_below_the_offset() -> None:
    with pytest.raises(LengthConflict):
        append({"upload-offset": "10", "upload-length": "9"})


def test_line_17_the_body_does_not_go_past_the_length_it_declares() -> None:
    headers = {"upload-offset": "10", "upload-length": "15"}
    assert append({**headers, "content-length": "5"}).body_length == 5
    with pytest.raises(BodyTooLong):
        append({**headers, "content-length": "6"})


@pytest.mark.parametrize(
    "name", ["upload-offset", "upload-length", "content-type", "content-length"]
)
def test_line_4_a_repeated_header_is_invalid(name: str) -> None:
    headers = {**OCTETS, "upload-offset": "0", "upload-length": "0", "content-length": "0"}
    raw = [(key.encode(), value.encode()) for key, value in headers.items()]
    raw.append((name.encode(), headers[name].encode()))
    with pytest.raises(InvalidHeader, match="occurs more than once"):
        tus1.parse_append(Fields(raw))


HEADERS = st.dictionaries(
    st.sampled_from(
        [
            *("content-type", "content-length", "transfer-encoding", "upload-offset", "trailer"),
            *("upload-length", "upload-defer-length", "upload-metadata", "upload-concat"),
        ]
    ),
    st.sampled_from(["", "0", "1", "5", "11", "2000", "chunked", "a YQ==", OCTETS["content-type"]])
    | st.text(st.characters(max_codepoint=255), max_size=20),
)


@given(HEADERS)
def test_line_12_whatever_is_sent_ends_in_a_message_or_in_an_error_of_the_table(
    headers: dict[str, str],
) -> None:
    for parse in (create, append):
        refused: UploadError | None = None
        try:
            parse(headers)
        except UploadError as error:
            refused = error
        if refused is not None:
            assert refused.status in (400, 403, 413, 415, 431)
            assert tus1.render_error(refused).status == refused.status
