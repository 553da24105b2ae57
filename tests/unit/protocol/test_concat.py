"""Line 23: `Upload-Concat` as clients write it, and as nobody should."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tusd_s3 import limits
from tusd_s3.errors import FinalUpload, HeaderTooLong, InvalidHeader, UploadError
from tusd_s3.model.concat import source_ids
from tusd_s3.protocol import tus1
from tusd_s3.protocol.concat import final_name, parse_final
from tusd_s3.protocol.fields import Fields
from tusd_s3.protocol.message import CreateRequest

A, B = "AAAAAAAAAAAAAAAAAAAAAA", "-_bbbbbbbbbbbbbbbbbbbb"
OCTETS = "application/offset+octet-stream"


def fields(**headers: str) -> Fields:
    raw = [(k.replace("_", "-").encode(), v.encode("latin-1")) for k, v in headers.items()]
    return Fields(raw)


def create(**headers: str) -> CreateRequest:
    return tus1.parse_create(fields(**headers), max_bytes=1000)


def final(text: str, **headers: str) -> CreateRequest:
    return create(upload_concat=f"final;{text}", **headers)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(f"/files/{A} /files/{B}", id="realistic: relative"),
        pytest.param(
            f"http://h:1/files/{A} https://other.example/x/y/{B}", id="realistic: absolute"
        ),
        pytest.param(f" /files/{A}   /files/{B} ", id="realistic: more spaces"),
        pytest.param(f"{A} ../{B}", id="synthetic: relative to the collection"),
        pytest.param(f"/files/{A}?a=/x#/y \t//h/{B}#f", id="synthetic: query, fragment, tab"),
        pytest.param(f"/%2e%2e/{A} /files/../{B}", id="pathological: dots do not matter"),
    ],
)
def test_line_23_a_final_names_its_partials_in_order(text: str) -> None:
    request = final(text)
    assert request.sources == (A, B)
    assert request.concat == f"final;{text}".strip(" \t")
    assert source_ids(request.concat) == [A, B]
    assert request.length is None


def test_line_23_the_same_partial_may_repeat() -> None:
    assert final(f"/f/{A} /f/{B} /f/{A}").sources == (A, B, A)


def test_line_23_a_partial_is_an_upload_like_any_other() -> None:
    request = create(upload_concat="partial", upload_length="7")
    assert (request.concat, request.sources, request.length) == ("partial", (), 7)
    assert create(upload_concat="partial", upload_defer_length="1").length is None
    with pytest.raises(InvalidHeader, match="Upload-Length"):
        create(upload_concat="partial")


@pytest.mark.parametrize(
    "value",
    [
        *("", "Partial", "partial;", "final", "final;", "final; ", f"FINAL;/files/{A}", "x"),
        *(f"final;/files/{A}/", f"final;/files/{A}a", f"final;/files/{A[1:]}", f"final:/{A}"),
        *(f"final;/files/%41{A[1:]}", f"final;/files/{A}%2F", f"final;/x?/{A}", f"final;/x#/{A}"),
        *(f"final;/files/{A},/files/{B}/", f"final;/files/{A} http://h", "final;..", "final;é"),
        *(f"final;/é/{A}", f"final;/\x7f/{A}", f"partial, final;/files/{A}"),
    ],
)
def test_line_23_anything_else_is_400_and_is_not_repeated_in_the_error(value: str) -> None:
    with pytest.raises(InvalidHeader, match="Upload-Concat") as caught:
        create(upload_concat=value, upload_length="1")
    assert A not in caught.value.text


def test_line_23_the_header_and_the_number_of_partials_are_bounded() -> None:
    most = limits.CONCAT_PARTIALS_MAX
    assert len(final(" ".join([A] * most)).sources) == most
    with pytest.raises(InvalidHeader, match=f"1 to {most}"):
        final(" ".join([A] * (most + 1)))
    url = "h" * (limits.CONCAT_MAX_BYTES - len(f"final;/{A}")) + f"/{A}"
    assert final(url).sources == (A,)
    with pytest.raises(HeaderTooLong):
        final(f"h{url}")
    with pytest.raises(HeaderTooLong):
        parse_final(f"final;h{url}")


@pytest.mark.parametrize("header", [{"upload_length": "5"}, {"upload_defer_length": "1"}])
def test_line_24_a_final_declares_no_length(header: dict[str, str]) -> None:
    with pytest.raises(InvalidHeader, match="expected none on a final upload"):
        final(A, **header)


@pytest.mark.parametrize("body", [{"content_length": "1"}, {"transfer_encoding": "chunked"}])
def test_line_24_a_final_brings_no_bytes(body: dict[str, str]) -> None:
    with pytest.raises(FinalUpload) as caught:
        final(A, content_type=OCTETS, **body)
    assert (caught.value.status, caught.value.code) == (403, "final_upload")
    assert final(A, content_type=OCTETS, content_length="0").sources == (A,)
    assert final(A, content_type="application/json", **body).sources == (A,), "as on any POST"


def test_line_26_a_final_is_named_by_what_its_request_says() -> None:
    name = final(f"/files/{A} /files/{B}").name
    assert final(f" https://h/other/{A}  {B}").name == name
    others = [
        final(f"{B} {A}"),
        final(A),
        final(f"{A} {B} {B}"),
        final(f"{A} {B}", upload_metadata="a YQ=="),
        final(f"{A} {B}", authorization="Bearer x"),
        final(f"{A} {B}", idempotency_key="0123456789abcdef"),
    ]
    names = [other.name for other in others]
    assert len({name, *names}) == len(names) + 1


def test_line_26_an_idempotency_key_tells_a_partial_from_another_upload() -> None:
    key = {"idempotency_key": "0123456789abcdef", "upload_length": "1"}
    assert create(**key).name != create(upload_concat="partial", **key).name


def test_a_name_keeps_its_pieces_apart() -> None:
    first = fields(upload_metadata="a", authorization="b")
    second = fields(upload_metadata="ab")
    assert final_name(first, ()) != final_name(second, ())


@given(st.text(st.characters(max_codepoint=255), max_size=80))
def test_line_12_whatever_is_sent_ends_in_a_request_or_in_an_error_of_the_table(text: str) -> None:
    for value in (text, f"final;{text}", f"final;/files/{A} {text}"):
        refused: UploadError | None = None
        try:
            assert create(upload_concat=value).sources
        except UploadError as error:
            refused = error
        assert refused is None or refused.status in (400, 431)
