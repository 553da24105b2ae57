"""How tus 1.0 responses are written. Numbers in names are the lines of the protocol checklist."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tusd_s3 import errors, limits
from tusd_s3.errors import MethodNotAllowed, OffsetMismatch, UnsupportedVersion, UploadError
from tusd_s3.model.layout import PartLayout
from tusd_s3.model.upload import Upload, UploadId, UploadState
from tusd_s3.protocol import tus1
from tusd_s3.protocol.message import Response


def upload(
    *,
    length: int | None = 100,
    tail_bytes: int = 0,
    metadata: str = "",
    state: UploadState = UploadState.OPEN,
) -> Upload:
    return Upload(
        id=UploadId("A" * limits.UPLOAD_ID_CHARS),
        key="key",
        length=length,
        metadata=metadata,
        expires_at_s=784111777,
        layout=PartLayout(limits.S3_PART_SIZE_MIN_BYTES),
        tail_bytes=tail_bytes,
        state=state,
    )


def test_line_13_a_creation_says_where_and_how_far() -> None:
    response = tus1.render_created("https://up.example/files/x", upload(tail_bytes=7))
    assert response == Response(
        201,
        (
            ("Tus-Resumable", "1.0.0"),
            ("Location", "https://up.example/files/x"),
            ("Upload-Offset", "7"),
            ("Upload-Expires", "Sun, 06 Nov 1994 08:49:37 GMT"),
            ("Content-Length", "0"),
        ),
    )


def test_line_6_a_patch_is_answered_204_with_the_new_offset() -> None:
    response = tus1.render_appended(upload(tail_bytes=7))
    assert response == Response(
        204,
        (
            ("Tus-Resumable", "1.0.0"),
            ("Upload-Offset", "7"),
            ("Upload-Expires", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ),
    )


def test_line_19_a_finished_upload_does_not_expire() -> None:
    done = upload(length=0, state=UploadState.COMPLETE)
    for response in (tus1.render_created("https://a/b", done), tus1.render_appended(done)):
        assert "Upload-Expires" not in dict(response.headers)


def test_line_5_head_answers_200_with_offset_and_length() -> None:
    response = tus1.render_status(upload(length=100, tail_bytes=7))
    assert response.status == 200
    assert dict(response.headers) == {
        "Tus-Resumable": "1.0.0",
        "Upload-Offset": "7",
        "Cache-Control": "no-store",
        "Upload-Length": "100",
    }


def test_line_15_a_length_of_zero_is_shown_as_a_length() -> None:
    headers = dict(tus1.render_status(upload(length=0)).headers)
    assert headers["Upload-Length"] == headers["Upload-Offset"] == "0"
    assert "Upload-Defer-Length" not in headers


def test_line_5_and_17_head_says_that_the_length_is_deferred() -> None:
    headers = dict(tus1.render_status(upload(length=None)).headers)
    assert headers["Upload-Defer-Length"] == "1"
    assert headers["Upload-Offset"] == "0"
    assert "Upload-Length" not in headers


def test_line_5_head_repeats_the_metadata_exactly() -> None:
    raw = "filename Y2F0LmpwZw==, empty ,relativePath bnVsbA=="
    headers = dict(tus1.render_status(upload(metadata=raw)).headers)
    assert headers["Upload-Metadata"] == raw


def test_line_22_termination_is_answered_204() -> None:
    assert tus1.render_terminated() == Response(204, (("Tus-Resumable", "1.0.0"),))


def test_line_2_options_say_what_the_server_can_do() -> None:
    """The list of extensions without spaces: TUSKit does not trim."""
    response = tus1.render_options(max_bytes=1000)
    assert response.status == 204
    assert dict(response.headers) == {
        "Tus-Resumable": "1.0.0",
        "Tus-Version": "1.0.0",
        "Tus-Extension": (
            "creation,creation-with-upload,creation-defer-length,termination,expiration,"
            "checksum,checksum-trailer,concatenation"
        ),
        "Tus-Max-Size": "1000",
        "Tus-Checksum-Algorithm": "sha1,md5,sha256,sha512,crc32,crc32c",
    }


def test_line_12_an_error_is_a_code_and_a_sentence_in_plain_text() -> None:
    response = tus1.render_error(errors.UploadNotFound())
    body = b"upload_not_found: There is no such upload, or it has expired.\n"
    assert response.status == 404
    assert response.body == body
    assert dict(response.headers) == {
        "Tus-Resumable": "1.0.0",
        "Content-Type": "text/plain; charset=utf-8",
        "Content-Length": str(len(body)),
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
    }


def test_line_6_a_wrong_offset_is_answered_with_the_true_one() -> None:
    """Realistic: TUSKit goes on from it."""
    response = tus1.render_error(OffsetMismatch(42))
    assert response.status == 409
    assert dict(response.headers)["Upload-Offset"] == "42"


def test_line_6_an_offset_of_zero_is_an_offset() -> None:
    response = tus1.render_error(errors.UploadInterrupted(offset=0))
    assert response.status == 423
    assert dict(response.headers)["Upload-Offset"] == "0"


def test_line_1_a_refused_version_is_answered_with_ours() -> None:
    response = tus1.render_error(UnsupportedVersion())
    assert response.status == 412
    assert dict(response.headers)["Tus-Version"] == "1.0.0"


def test_line_12_a_method_that_is_not_allowed_is_answered_with_those_that_are() -> None:
    response = tus1.render_error(MethodNotAllowed(("POST", "OPTIONS")))
    assert response.status == 405
    assert dict(response.headers)["Allow"] == "POST, OPTIONS"


def test_line_12_content_length_counts_bytes_not_characters() -> None:
    response = tus1.render_error(UploadError("Grüße"))
    assert response.status == 500
    assert dict(response.headers)["Content-Length"] == str(len(response.body)) == "24"


EVERY_RESPONSE = [
    tus1.render_created("https://a/b", upload()),
    tus1.render_appended(upload()),
    tus1.render_status(upload()),
    tus1.render_terminated(),
    tus1.render_options(max_bytes=1),
    tus1.render_error(UploadError()),
    tus1.render_error(UnsupportedVersion()),
]


@pytest.mark.parametrize("response", EVERY_RESPONSE)
def test_line_1_every_response_names_the_version_and_each_header_once(response: Response) -> None:
    names = [name.lower() for name, _ in response.headers]
    assert dict(response.headers)["Tus-Resumable"] == "1.0.0"
    assert len(names) == len(set(names))
    assert ("content-length" in names) == (response.status not in (200, 204)), (
        "204 must not have one, HEAD's would speak of a GET"
    )


@pytest.mark.parametrize("length", [None, 7])
def test_line_25_a_final_upload_has_an_offset_once_it_is_whole(length: int | None) -> None:
    concat = "final; /files/AAAAAAAAAAAAAAAAAAAAAA"
    open_final = replace(upload(length=length), concat=concat)
    for response in (tus1.render_status(open_final), tus1.render_created("/x", open_final)):
        assert "Upload-Offset" not in dict(response.headers)
    headers = dict(tus1.render_status(open_final).headers)
    assert headers["Upload-Concat"] == concat
    assert headers.get("Upload-Length") == (None if length is None else "7")
    assert "Upload-Defer-Length" not in headers
    whole = replace(open_final, length=7, state=UploadState.COMPLETE)
    for response in (tus1.render_status(whole), tus1.render_created("/x", whole)):
        assert dict(response.headers)["Upload-Offset"] == "7"


def test_line_5_concat_is_given_back_as_it_came() -> None:
    partial = replace(upload(), concat="partial")
    assert dict(tus1.render_status(partial).headers)["Upload-Concat"] == "partial"
    assert "Upload-Concat" not in dict(tus1.render_status(upload()).headers)
