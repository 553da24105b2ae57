"""What every upload asks of S3 beside its bytes: without the SDK while all goes well, and as that
would have it when something does not."""

from __future__ import annotations

import pytest

from tests.support.scripted_s3 import Reply, ScriptedS3, Then, refusal, who
from tusd_s3 import errors
from tusd_s3.model.metadata import ObjectAttributes
from tusd_s3.stores.s3 import S3Objects
from tusd_s3.stores.s3.sending import VAIN_ATTEMPTS_MAX

pytestmark = pytest.mark.usefixtures("sdk_environment")

SLOW_DOWN = refusal(503, "SlowDown")
CLOSED = Reply(b"", Then.CLOSE)
PLAIN = ObjectAttributes()
ETAGS = ['"a"', "b<&>'"]
DELETED = Reply(b"HTTP/1.1 204 No Content\r\n\r\n")


def document(body: str, *, then: Then = Then.STAY, more: int = 0) -> Reply:
    """A success with a body. more: bytes of it that are announced and never come."""
    raw = body.encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(raw) + more}\r\n\r\n"
    return Reply(head.encode() + raw, then)


DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'
NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
CREATED_BODY = (
    f'{DECLARATION}<InitiateMultipartUploadResult xmlns="{NAMESPACE}"><Bucket>bucket</Bucket>'
    "<Key>key</Key><UploadId>its-id</UploadId></InitiateMultipartUploadResult>"
)
CREATED = document(CREATED_BODY)
COMPLETED_BODY = (
    f'<CompleteMultipartUploadResult xmlns="{NAMESPACE}"><Location>l</Location>'
    "<ETag>&#34;x-2&#34;</ETag></CompleteMultipartUploadResult>"
)
COMPLETED = document(DECLARATION + "  \n  " + COMPLETED_BODY)
FAILED_BODY = f"{DECLARATION}<Error><Code>InternalError</Code><Message>m</Message></Error>"
FAILED = document(FAILED_BODY)
LISTED = document(
    f'<ListMultipartUploadsResult xmlns="{NAMESPACE}"><IsTruncated>false</IsTruncated>'
    "<Upload><Key>key</Key><UploadId>its-id</UploadId></Upload>"
    "<Upload><Key>key</Key><UploadId>unknown</UploadId></Upload>"
    "<Upload><Key>key2</Key><UploadId>another</UploadId></Upload></ListMultipartUploadsResult>"
)


async def complete(objects: S3Objects) -> None:
    await objects.complete_multipart("key", "id", ETAGS, 10)


# --- Creation


async def test_a_creation_is_one_request_of_ours(objects: S3Objects, s3: ScriptedS3) -> None:
    s3.replies = [CREATED]
    attributes = ObjectAttributes(
        content_type="image/png", content_disposition="inline", user_metadata={"Name": "a  b"}
    )
    assert await objects.create_multipart("a b/é", attributes) == "its-id"
    (got,) = s3.got
    assert who(s3) == "d"
    assert (got.method, got.target) == ("POST", "/bucket/a%20b/%C3%A9?uploads=")
    expected = {
        "content-length": "0",
        "content-type": "image/png",
        "content-disposition": "inline",
        "x-amz-meta-name": "a  b",
    }
    assert got.headers.items() >= expected.items()


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(SLOW_DOWN, id="503"),
        pytest.param(CLOSED, id="answer lost"),
        pytest.param(Reply(CREATED.raw[:-9], Then.CLOSE), id="answer cut short"),
        pytest.param(Reply(b"", Then.HANG), id="silence"),
    ],
)
async def test_a_creation_that_was_repeated_leaves_no_other_behind(
    objects: S3Objects, s3: ScriptedS3, fault: Reply
) -> None:
    s3.replies = [fault, CREATED, LISTED, DELETED, refusal(404, "NoSuchUpload")]
    assert await objects.create_multipart("key", PLAIN) == "its-id"
    assert [(got.method, got.target) for got in s3.got[3:4]] == [
        ("DELETE", "/bucket/key?uploadId=unknown")
    ]
    assert who(s3)[:2] == "ds"


async def test_a_creation_is_not_repeated_unseen_when_a_kept_connection_ends(
    objects: S3Objects, s3: ScriptedS3
) -> None:
    """It may have been acted upon: whoever repeats it has to look for what it made."""
    await objects.put_object("other", [b"abc"], 3, PLAIN)
    s3.replies = [CLOSED, CREATED, LISTED, DELETED, refusal(404, "NoSuchUpload")]
    assert await objects.create_multipart("key", PLAIN) == "its-id"
    assert who(s3)[:3] == "dds"
    assert [got.method for got in s3.got] == ["PUT", "POST", "POST", "GET", "DELETE", "GET"]


@pytest.mark.parametrize(
    "body", ["", FAILED_BODY, CREATED_BODY.replace("its-id", ""), COMPLETED_BODY]
)
async def test_without_an_id_nothing_was_created(
    objects: S3Objects, s3: ScriptedS3, body: str
) -> None:
    s3.replies = [document(body)] * 3
    with pytest.raises(errors.StorageUnavailable):
        await objects.create_multipart("key", PLAIN)


async def test_an_id_with_a_character_that_xml_escapes_is_for_the_sdk_to_read(
    objects: S3Objects, s3: ScriptedS3
) -> None:
    s3.replies = [document(CREATED_BODY.replace("its-id", "a&amp;b"))]
    assert await objects.create_multipart("key", PLAIN) == "a&b"
    assert who(s3) == "d"


# --- Completion


async def test_a_completion_is_one_request_of_ours(objects: S3Objects, s3: ScriptedS3) -> None:
    s3.replies = [COMPLETED]
    await complete(objects)
    (got,) = s3.got
    assert who(s3) == "d"
    assert (got.method, got.target) == ("POST", "/bucket/key?uploadId=id")
    assert got.body.decode() == (
        f'<CompleteMultipartUpload xmlns="{NAMESPACE}">'
        '<Part><PartNumber>1</PartNumber><ETag>"a"</ETag></Part>'
        "<Part><PartNumber>2</PartNumber><ETag>b&lt;&amp;&gt;'</ETag></Part>"
        "</CompleteMultipartUpload>"
    )


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(SLOW_DOWN, id="503"),
        pytest.param(FAILED, id="an error in a success"),
        pytest.param(Reply(COMPLETED.raw[:-9], Then.CLOSE), id="answer cut short"),
        pytest.param(CLOSED, id="answer lost"),
        pytest.param(Reply(b"", Then.HANG), id="silence"),
    ],
)
async def test_a_completion_is_repeated_as_the_sdk_says_it(
    objects: S3Objects, s3: ScriptedS3, fault: Reply
) -> None:
    s3.replies = [fault, COMPLETED]
    await complete(objects)
    assert who(s3) == "ds"
    assert s3.got[0].body == s3.got[1].body


async def test_a_completion_that_fails_in_its_success_again_and_again_has_failed(
    objects: S3Objects, s3: ScriptedS3
) -> None:
    s3.replies = [FAILED] * 3
    with pytest.raises(errors.StorageUnavailable):
        await complete(objects)
    assert who(s3) == "dss"


async def test_of_an_unknown_multipart_upload_the_object_decides(
    objects: S3Objects, s3: ScriptedS3
) -> None:
    s3.replies = [
        refusal(404, "NoSuchUpload"),
        Reply(b"HTTP/1.1 200 OK\r\nETag: x\r\nContent-Length: 10\r\n\r\n"),
    ]
    await complete(objects)
    assert [got.method for got in s3.got] == ["POST", "HEAD"]


async def test_a_store_that_words_its_success_otherwise_is_asked_without_the_sdk_as_before(
    objects: S3Objects, s3: ScriptedS3
) -> None:
    """The SDK reads what we do not; nothing has to be sent again for that."""
    calls = VAIN_ATTEMPTS_MAX + 2
    other = COMPLETED_BODY.replace("<Com", "<s:Com").replace("</Com", "</s:Com")
    s3.replies = [document(other.replace("xmlns=", "xmlns:s="))] * calls
    for _ in range(calls):
        await complete(objects)
    assert who(s3) == "d" * calls


# --- Deletion


async def test_a_deletion_is_one_request_of_ours(objects: S3Objects, s3: ScriptedS3) -> None:
    s3.replies = [DELETED]
    await objects.delete_object("a b")
    (got,) = s3.got
    assert (got.method, got.target) == ("DELETE", "/bucket/a%20b")
    assert who(s3) == "d"


@pytest.mark.parametrize("fault", [SLOW_DOWN, Reply(b"", Then.HANG)], ids=["503", "silence"])
async def test_a_deletion_is_repeated_by_the_sdk(
    objects: S3Objects, s3: ScriptedS3, fault: Reply
) -> None:
    s3.replies = [fault, DELETED]
    await objects.delete_object("a b")
    assert who(s3) == "ds"


async def test_a_deletion_that_is_refused_has_failed(objects: S3Objects, s3: ScriptedS3) -> None:
    s3.replies = [refusal(403, "AccessDenied")]
    with pytest.raises(errors.StorageRefused):
        await objects.delete_object("a b")
    assert who(s3) == "d"
