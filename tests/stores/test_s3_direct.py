"""PutObject and UploadPart without the SDK: what is sent, and what comes of every kind of answer.

The store here says what a test tells it to; requests of the SDK's are told from ours by what only
it sends (`Got.is_sdks`).
"""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.support.opened_s3 import opened, options_for
from tests.support.scripted_s3 import (
    ETAG,
    STORED,
    Reply,
    ScriptedS3,
    Then,
    refusal,
    scripted_s3,
    who,
)
from tests.support.tls import TlsFront, make_certificates
from tusd_s3 import errors
from tusd_s3.model.metadata import ObjectAttributes
from tusd_s3.stores.s3 import S3Objects
from tusd_s3.stores.s3.answers import ANSWER_MAX_BYTES
from tusd_s3.stores.s3.client import ATTEMPTS_MAX
from tusd_s3.stores.s3.sending import VAIN_ATTEMPTS_MAX

PLAIN = ObjectAttributes()
CHUNK = bytes(range(256)) * 1024
LARGE = [CHUNK] * 64
LARGE_BYTES = sum(map(len, LARGE))
SLOW_DOWN = refusal(503, "SlowDown")


pytestmark = pytest.mark.usefixtures("sdk_environment")


async def put(objects: S3Objects, *chunks: bytes, key: str = "key") -> None:
    await objects.put_object(key, chunks, sum(map(len, chunks)), PLAIN)


async def part(objects: S3Objects) -> str:
    return await objects.upload_part("key", "id", 7, LARGE, LARGE_BYTES)


# --- Plain success


async def test_a_small_object_is_one_request_of_ours(objects: S3Objects, s3: ScriptedS3) -> None:
    attributes = ObjectAttributes(
        content_type="image/png",
        content_disposition='attachment; filename="a  b.png"',
        user_metadata={"Name": "a  b", "empty": ""},
    )
    await objects.put_object("a b/é", [b"abc", b"defg"], 7, attributes)
    (got,) = s3.got
    assert not got.is_sdks
    assert (got.method, got.target, got.body) == ("PUT", "/bucket/a%20b/%C3%A9", b"abcdefg")
    expected = {
        "content-length": "7",
        "content-type": "image/png",
        "content-disposition": 'attachment; filename="a  b.png"',
        "host": f"127.0.0.1:{s3.port}",
        "if-none-match": "*",
        "x-amz-content-sha256": "UNSIGNED-PAYLOAD",
        "x-amz-meta-name": "a  b",
        "x-amz-meta-empty": "",
    }
    assert got.headers.items() >= expected.items()
    assert "transfer-encoding" not in got.headers


async def test_an_empty_object_has_a_length_of_nothing(objects: S3Objects, s3: ScriptedS3) -> None:
    await put(objects)
    assert s3.got[0].headers["content-length"] == "0"
    assert who(s3) == "d"


async def test_a_part_is_one_request_of_ours(objects: S3Objects, s3: ScriptedS3) -> None:
    assert await part(objects) == ETAG
    (got,) = s3.got
    assert not got.is_sdks
    assert got.target == "/bucket/key?partNumber=7&uploadId=id"
    assert got.body == b"".join(LARGE)


async def test_a_chunk_of_any_size_arrives_whole(objects: S3Objects, s3: ScriptedS3) -> None:
    body = CHUNK * 20 + b"end"
    await objects.upload_part("key", "id", 1, [b"a", body, b"b"], len(body) + 2)
    assert s3.got[0].body == b"a" + body + b"b"


async def test_calls_one_after_the_other_share_a_connection(
    objects: S3Objects, s3: ScriptedS3
) -> None:
    for _ in range(5):
        await put(objects, b"abc")
    assert (who(s3), s3.connections) == ("ddddd", 1)


async def test_calls_at_once_have_connections_of_their_own(
    objects: S3Objects, s3: ScriptedS3
) -> None:
    await asyncio.gather(*(part(objects) for _ in range(8)))
    assert who(s3) == "d" * 8
    assert {got.body for got in s3.got} == {b"".join(LARGE)}
    assert 1 < s3.connections <= 8


async def test_what_is_replaced_is_named(objects: S3Objects, s3: ScriptedS3) -> None:
    await objects.put_object("key", [b"abc"], 3, PLAIN, replacing='"old"')
    assert s3.got[0].headers["if-match"] == '"old"'
    assert "if-none-match" not in s3.got[0].headers


async def test_interim_answers_are_no_answers(objects: S3Objects, s3: ScriptedS3) -> None:
    s3.replies = [Reply(b"HTTP/1.1 100 Continue\r\n\r\n" + STORED)]
    await put(objects, b"abc")
    assert who(s3) == "d"


# --- What fails once

TRUNCATED = Reply(STORED[:-4], Then.CLOSE)
OVERSIZE = Reply(STORED.replace(b": 0", b": %d" % 2**20) + bytes(ANSWER_MAX_BYTES), Then.CLOSE)


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(SLOW_DOWN, id="503"),
        pytest.param(refusal(500, "InternalError"), id="500"),
        pytest.param(Reply(b"", Then.CLOSE), id="answer lost"),
        pytest.param(TRUNCATED, id="answer cut short"),
        pytest.param(OVERSIZE, id="answer too long"),
        pytest.param(Reply(b"what?\r\n\r\n", Then.CLOSE), id="no http"),
        pytest.param(Reply(b"", Then.HANG), id="silence"),
        pytest.param(Reply(STORED, drip_s=0.1), id="slow drip"),
        pytest.param(Reply(STORED[:-2] + b"\r\nx" * 9, Then.CLOSE, early=True), id="early answer"),
        pytest.param(Reply(STORED, Then.HANG, early=True), id="early answer, body not read"),
        pytest.param(
            Reply(b"HTTP/1.1 200 OK\r\nETag: x\r\nContent-Length: 14\r\n\r\n<Error></Error>"[:-1]),
            id="an error in a success",
        ),
    ],
)
async def test_what_fails_once_is_repeated_by_the_sdk(
    objects: S3Objects, s3: ScriptedS3, fault: Reply
) -> None:
    s3.replies = [fault]
    assert await part(objects) == ETAG
    assert who(s3) == "ds"
    assert s3.got[1].headers["amz-sdk-request"].startswith("attempt=2")
    assert s3.got[1].body == b"".join(LARGE)


@pytest.mark.parametrize("fault", [SLOW_DOWN, Reply(b"", Then.CLOSE)], ids=["503", "closed"])
async def test_attempts_are_counted_together(
    objects: S3Objects, s3: ScriptedS3, fault: Reply
) -> None:
    s3.replies = [fault] * 10
    with pytest.raises(errors.StorageUnavailable):
        await put(objects, b"abc")
    assert who(s3) == "dss"
    assert len(s3.got) == ATTEMPTS_MAX


async def test_a_store_that_is_away_is_given_up(s3: ScriptedS3) -> None:
    async with opened(options_for("http://127.0.0.1:1")) as objects:
        with pytest.raises(errors.StorageUnavailable):
            await put(objects, b"abc")
    assert not s3.got


async def test_retries_come_back_after_a_long_outage(objects: S3Objects, s3: ScriptedS3) -> None:
    """The SDK has a quota for retries, which failures take from and successes give back to."""
    calls = 100
    s3.replies = [SLOW_DOWN] * (calls * ATTEMPTS_MAX)

    async def fails() -> None:
        with pytest.raises(errors.StorageUnavailable):
            await put(objects, b"abc")

    await asyncio.gather(*(fails() for _ in range(calls)))
    assert s3.replies, "the quota ended before the attempts did"
    s3.replies = []
    for _ in range(520):
        await put(objects, b"abc")
    s3.got, s3.replies = [], [SLOW_DOWN]
    await put(objects, b"abc")
    assert who(s3) == "ds"


async def test_attempts_that_fail_again_and_again_are_left_to_the_sdk_for_a_while(
    monkeypatch: pytest.MonkeyPatch, objects: S3Objects, s3: ScriptedS3
) -> None:
    monkeypatch.setattr("tusd_s3.stores.s3.direct.REST_S", 1.0)
    await put(objects, b"abc")
    s3.got, s3.replies = [], [SLOW_DOWN] * VAIN_ATTEMPTS_MAX
    await asyncio.gather(*(put(objects, b"abc") for _ in range(VAIN_ATTEMPTS_MAX)))
    await put(objects, b"abc")
    assert who(s3) == "d" * VAIN_ATTEMPTS_MAX + "s" * (VAIN_ATTEMPTS_MAX + 1)
    await asyncio.sleep(1.1)  # the time is what this is about
    await put(objects, b"abc")
    assert who(s3)[-1] == "d"


async def test_a_store_that_never_finishes_tls_is_given_up(s3: ScriptedS3) -> None:
    async with opened(options_for(f"https://127.0.0.1:{s3.port}")) as objects:
        with pytest.raises(errors.StorageUnavailable):
            await put(objects, b"abc")
    await s3.all_closed()
    assert s3.connections == ATTEMPTS_MAX


# --- Connections


async def test_a_kept_connection_that_was_closed_is_replaced_at_once(
    objects: S3Objects, s3: ScriptedS3
) -> None:
    """The store closed it as the request went out: that is no failure of the store's."""
    await put(objects, b"abc")
    s3.replies = [Reply(b"", Then.CLOSE)]
    await put(objects, b"abc")
    assert who(s3) == "ddd"
    assert s3.got[2].connection == 2


async def test_a_connection_that_closed_while_idle_is_not_used(
    objects: S3Objects, s3: ScriptedS3
) -> None:
    s3.replies = [Reply(then=Then.CLOSE)]
    await put(objects, b"abc")
    await s3.all_closed()
    await put(objects, b"abc")
    assert (who(s3), s3.connections) == ("dd", 2)


@pytest.mark.parametrize(
    "raw",
    [
        STORED.replace(b"ETag", b"Connection: close\r\nETag"),
        STORED.replace(b"1.1", b"1.0"),
        STORED + STORED,
        STORED + b"x",
    ],
    ids=["close", "1.0", "two answers", "surplus"],
)
async def test_nothing_follows_on_a_connection_that_is_not_clean(
    objects: S3Objects, s3: ScriptedS3, raw: bytes
) -> None:
    s3.replies = [Reply(raw)]
    await put(objects, b"abc")
    await s3.all_closed()
    await put(objects, b"abc")
    assert [got.connection for got in s3.got] == [1, 2]
    assert who(s3) == "dd"


async def test_bytes_that_nobody_asked_for_end_the_connection(
    objects: S3Objects, s3: ScriptedS3
) -> None:
    s3.replies = [Reply(late=STORED)]
    await put(objects, b"abc")
    await s3.all_closed()
    await put(objects, b"abc")
    assert [got.connection for got in s3.got] == [1, 2]


@pytest.mark.parametrize("chunks", [[b"abc"], LARGE], ids=["small", "large"])
async def test_a_cancelled_call_takes_its_connection_along(
    objects: S3Objects, s3: ScriptedS3, chunks: list[bytes]
) -> None:
    s3.replies = [Reply(b"", Then.HANG, early=True)]
    task = asyncio.ensure_future(put(objects, *chunks))
    await s3.has_got(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await s3.all_closed()
    await put(objects, b"abc")
    assert (who(s3), s3.got[1].connection) == ("dd", 2)


async def test_closing_leaves_no_connection(s3: ScriptedS3) -> None:
    async with opened(options_for(s3.endpoint)) as objects:
        await asyncio.gather(*(part(objects) for _ in range(4)))
    await s3.all_closed()


# --- Refusals


@pytest.mark.parametrize(
    "answer", [refusal(412, "PreconditionFailed"), refusal(409, "ConditionalRequestConflict")]
)
async def test_an_object_that_is_there_is_named_by_its_etag(
    objects: S3Objects, s3: ScriptedS3, answer: Reply
) -> None:
    s3.replies = [answer]
    with pytest.raises(errors.ObjectExists) as raised:
        await put(objects, b"abc")
    assert raised.value.etag == ETAG
    assert [got.method for got in s3.got] == ["PUT", "HEAD"]


async def test_an_unknown_multipart_upload_costs_one_request(
    objects: S3Objects, s3: ScriptedS3
) -> None:
    s3.replies = [refusal(404, "NoSuchUpload")]
    with pytest.raises(errors.UploadNotFound):
        await part(objects)
    assert who(s3) == "d"


async def test_a_refusal_costs_one_request(objects: S3Objects, s3: ScriptedS3) -> None:
    s3.replies = [refusal(403, "SignatureDoesNotMatch")]
    with pytest.raises(errors.StorageRefused):
        await put(objects, b"abc")
    await put(objects, b"abc")
    assert who(s3) == "dd"


async def test_a_store_without_conditions_gets_none(objects: S3Objects, s3: ScriptedS3) -> None:
    s3.replies = [refusal(501, "NotImplemented")]
    await put(objects, b"abc")
    await put(objects, b"abc")
    assert ["if-none-match" in got.headers for got in s3.got] == [True, False, False]
    assert who(s3) == "ddd"


@pytest.mark.parametrize(
    "raw", [STORED.replace(b"ETag", b"E-Tag"), STORED.replace(ETAG.encode(), b"")]
)
async def test_without_an_etag_nothing_is_stored(
    objects: S3Objects, s3: ScriptedS3, raw: bytes
) -> None:
    s3.replies = [Reply(raw)] * 2
    with pytest.raises(errors.StorageUnavailable):
        await put(objects, b"abc")
    with pytest.raises(errors.StorageUnavailable):
        await part(objects)
    assert who(s3) == "dd"


async def test_a_success_whose_end_was_not_announced_is_for_the_sdk_to_take(
    objects: S3Objects, s3: ScriptedS3
) -> None:
    s3.replies = [Reply(STORED.replace(b"Content-Length: 0\r\n", b""), Then.CLOSE)]
    assert await part(objects) == ETAG
    assert who(s3) == "d"


async def test_a_bucket_elsewhere_is_found_once(objects: S3Objects, s3: ScriptedS3) -> None:
    where = "x-amz-bucket-region: eu-west-1\r\n"
    s3.replies = [refusal(301, "PermanentRedirect", where)]
    for _ in range(3):
        await put(objects, b"abc")
    assert who(s3) == "dsdd"
    scopes = [got.headers["authorization"].split("/")[2] for got in s3.got]
    assert scopes == ["us-east-1", "eu-west-1", "eu-west-1", "eu-west-1"]


# --- What the environment says


async def test_credentials_are_renewed_by_the_sdk(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, s3: ScriptedS3
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    current = tmp_path / "current.json"
    (tmp_path / "config").write_text(f"[default]\ncredential_process = cat {current}\n")

    def become(name: str) -> None:
        soon = datetime.now(UTC) + timedelta(minutes=5)
        named = {"AccessKeyId": name, "SecretAccessKey": name, "SessionToken": f"token+{name}"}
        current.write_text(json.dumps({"Version": 1, "Expiration": soon.isoformat(), **named}))

    become("FIRST")
    async with opened(options_for(s3.endpoint)) as objects:
        await put(objects, b"abc")
        become("SECOND")
        await put(objects, b"abc")
    assert who(s3) == "dd"
    for got, name in zip(s3.got, ("FIRST", "SECOND"), strict=True):
        assert got.headers["x-amz-security-token"] == f"token+{name}"
        assert f"Credential={name}/" in got.headers["authorization"]


async def test_without_credentials_nothing_is_sent(
    monkeypatch: pytest.MonkeyPatch, s3: ScriptedS3
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    async with opened(options_for(s3.endpoint)) as objects:
        with pytest.raises(errors.StorageRefused):
            await put(objects, b"abc")
    assert not s3.got


async def test_through_a_proxy_the_sdk_goes_alone(
    monkeypatch: pytest.MonkeyPatch, s3: ScriptedS3
) -> None:
    async with scripted_s3() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.endpoint)
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        async with opened(options_for(s3.endpoint)) as objects:
            await put(objects, b"abc")
            await put(objects, b"abc")
    assert not s3.got
    assert who(proxy) == "ss"
    assert proxy.got[0].target == f"{s3.endpoint}/bucket/key"


async def test_tls_is_verified_by_the_authorities_that_the_sdk_knows(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, s3: ScriptedS3
) -> None:
    certificates = make_certificates(tmp_path / "tls")
    front = TlsFront(certificates, ("127.0.0.1", s3.port))
    front.start()
    endpoint = f"https://127.0.0.1:{front.port}"
    try:
        async with opened(options_for(endpoint)) as objects:
            with pytest.raises(errors.StorageUnavailable):
                await put(objects, b"abc")
        assert not s3.got
        monkeypatch.setenv("AWS_CA_BUNDLE", str(certificates.authority))
        async with opened(options_for(endpoint, timeout_s=5)) as objects:
            await put(objects, b"abc")
            assert await part(objects) == ETAG
        assert who(s3) == "dd"
        assert s3.got[1].body == b"".join(LARGE)
        await s3.all_closed()
    finally:
        front.stop()


async def test_a_connection_is_not_kept_for_ever(
    monkeypatch: pytest.MonkeyPatch, s3: ScriptedS3
) -> None:
    monkeypatch.setattr("tusd_s3.stores.s3.pool.IDLE_MAX_S", 0.2)
    async with opened(options_for(s3.endpoint)) as objects:
        await put(objects, b"abc")
        await s3.all_closed()
        await put(objects, b"abc")
    assert (who(s3), s3.connections) == ("dd", 2)


async def test_a_connection_is_not_used_for_ever(
    monkeypatch: pytest.MonkeyPatch, s3: ScriptedS3
) -> None:
    monkeypatch.setattr("tusd_s3.stores.s3.pool.AGE_MAX_S", 0.2)
    async with opened(options_for(s3.endpoint)) as objects:
        await put(objects, b"abc")
        await asyncio.sleep(0.3)  # the time is what this is about
        await put(objects, b"abc")
    assert [got.connection for got in s3.got] == [1, 2]
