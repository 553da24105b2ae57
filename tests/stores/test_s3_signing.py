"""Our requests are signed as the SDK signs its own, and go where it sends them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from unittest.mock import patch

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSPreparedRequest, AWSRequest
from botocore.credentials import Credentials
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tusd_s3.stores.s3 import operations
from tusd_s3.stores.s3.answers import Answer
from tusd_s3.stores.s3.calls import Call, UnsayableError, build_head
from tusd_s3.stores.s3.client import S3Clients, S3Options, open_s3
from tusd_s3.stores.s3.handover import instead_of_sending
from tusd_s3.stores.s3.route import (
    PROBE_KEY,
    NoRouteError,
    OtherCredentialsError,
    Route,
    route_of,
)
from tusd_s3.stores.s3.signing import Signer, encode_path

NOW = datetime(2026, 3, 1, 12, 30, 59, tzinfo=UTC)
STAMP = NOW.strftime("%Y%m%dT%H%M%SZ")

odd_keys = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40),
    st.text("ab /%+~.?#&=;:@é日\\\"'<>*!()[]{}|^`$,_-", min_size=1, max_size=40),
    st.sampled_from(["//", "/a", "a//b/", "..", "a/../b", "./a", "%2F", "a b+c~d%20é"]),
)
values = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40)
names = st.text("abcXYZ019-_.", min_size=1, max_size=10)


@dataclass(frozen=True)
class Keys:
    access_key: str = "AKIDEXAMPLE"
    secret_key: str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
    token: str | None = None


def route(region: str = "eu-central-1") -> Route:
    signer = Signer(region, "s3")
    return Route("https", "b.s3.example", 443, "b.s3.example", "/base/", "agent", signer)


def read(head: bytes, expected_method: str = "PUT") -> tuple[str, dict[str, str]]:
    """Target and headers of a request."""
    text = head.decode("ascii")
    assert text.endswith("\r\n\r\n")
    first, *lines = text.removesuffix("\r\n\r\n").split("\r\n")
    method, target, version = first.split(" ")
    assert (method, version) == (expected_method, "HTTP/1.1")
    pairs = [line.split(": ", 1) for line in lines]
    headers = dict(pair for pair in pairs)
    assert len(headers) == len(pairs)
    return target, headers


def signed_by_botocore(
    target: str, headers: dict[str, str], keys: Keys, region: str, method: str = "PUT"
) -> str:
    """What Authorization is when the SDK's own signer signs this request."""
    known = {"authorization", "user-agent", "accept-encoding", "host"}
    request = AWSRequest(method, f"https://{headers['host']}{target}")
    for name, value in headers.items():
        if name not in known:
            request.headers[name] = value

    class OnlyUnsigned(S3SigV4Auth):
        def payload(self, request: AWSRequest) -> str:  # noqa: ARG002 - botocore's name
            return "UNSIGNED-PAYLOAD"

    with patch("botocore.auth.get_current_datetime", return_value=NOW):
        credentials = Credentials(keys.access_key, keys.secret_key, keys.token)
        OnlyUnsigned(credentials, "s3", region).add_auth(request)
    return str(request.headers["Authorization"])


@given(
    key=odd_keys,
    metadata=st.dictionaries(names, values, max_size=4),
    disposition=values.filter(bool),
    secret=st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1),
    token=st.none() | st.text("abc/+=0", min_size=1),
    size=st.integers(0, 2**40),
)
def test_a_put_object_has_the_signature_that_botocore_gives_it(
    key: str,
    metadata: dict[str, str],
    disposition: str,
    secret: str,
    token: str | None,
    size: int,
) -> None:
    keys = Keys(secret_key=secret, token=token)
    params = {"ContentDisposition": disposition, "Metadata": metadata, "IfNoneMatch": "*"}
    try:
        head = build_head(route(), keys, Call("PUT", key, params, (), size), STAMP)
    except UnsayableError:
        assert len({name.lower() for name in metadata}) < len(metadata)
        return
    target, headers = read(head)
    expected = signed_by_botocore(target, headers, keys, "eu-central-1")
    assert headers["authorization"] == expected


@given(key=odd_keys, upload_id=st.text("abXY09._-=+/ %~", min_size=1), number=st.integers(1, 10000))
def test_an_upload_part_has_the_signature_that_botocore_gives_it(
    key: str, upload_id: str, number: int
) -> None:
    params = {"UploadId": upload_id, "PartNumber": number}
    target, headers = read(build_head(route(), Keys(), Call("PUT", key, params, (), 5), STAMP))
    assert headers["authorization"] == signed_by_botocore(target, headers, Keys(), "eu-central-1")


@given(key=odd_keys, upload_id=st.text("abXY09._-=+/ %~", min_size=1))
def test_what_is_asked_of_a_multipart_upload_has_the_signature_that_botocore_gives_it(
    key: str, upload_id: str
) -> None:
    created = operations.create_multipart(key, {"ContentType": "image/png"}).call
    completed = operations.complete_multipart(key, upload_id, ['"a"']).call
    deleted = operations.delete_object(key).call
    for call, method in ((created, "POST"), (completed, "POST"), (deleted, "DELETE")):
        target, headers = read(build_head(route(), Keys(), call, STAMP), method)
        expected = signed_by_botocore(target, headers, Keys(), "eu-central-1", method)
        assert headers["authorization"] == expected


def test_the_key_that_signs_follows_the_day_and_the_secret() -> None:
    signed = set()
    one = route()
    for keys in (Keys(), Keys(secret_key="another")):
        for stamp in ("20260301T235959Z", "20260302T000000Z"):
            _, headers = read(build_head(one, keys, Call("PUT", "k", {}, (), 0), stamp))
            signed.add(headers["authorization"].rpartition("=")[2])
            _, again = read(build_head(route(), keys, Call("PUT", "k", {}, (), 0), stamp))
            assert again == headers
    assert len(signed) == 4


@pytest.mark.parametrize(
    "params",
    [
        {"ContentType": "text/plain\r\nx-amz-acl: public-read"},
        {"ContentDisposition": "attachment; filename=é"},
        {"Metadata": {"a b": "1"}},
        {"Metadata": {"a:": "1"}},
        {"Metadata": {"a": "1\n"}},
        {"Metadata": {"a": "1", "A": "2"}},
        {"ACL": "public-read"},
    ],
)
def test_what_is_no_plain_header_is_left_to_the_sdk(params: dict[str, Any]) -> None:
    with pytest.raises(UnsayableError):
        build_head(route(), Keys(), Call("PUT", "k", params, (), 0), STAMP)


# --- Where requests go: as the SDK's own do


async def request_of(clients: S3Clients, options: S3Options, key: str) -> AWSPreparedRequest:
    """The request that the SDK would send to put an object under `key`."""
    seen: list[AWSPreparedRequest] = []

    def look(request: AWSPreparedRequest) -> Answer:
        seen.append(request)
        return Answer(200, {}, b"", is_framed=True, keeps_alive=True)

    with instead_of_sending(look):
        await clients.sdk.put_object(Bucket=options.bucket, Key=key, Body=b"")
    return seen[0]


PLACES = {
    "aws": S3Options("my-bucket", "us-east-1"),
    "aws elsewhere": S3Options("my-bucket", "eu-central-1"),
    "aws china": S3Options("my-bucket", "cn-north-1"),
    "dotted": S3Options("my.bucket", "eu-central-1"),
    "path style": S3Options("my-bucket", "eu-central-1", force_path_style=True),
    "endpoint": S3Options("my-bucket", "r", "http://127.0.0.1:9000", force_path_style=True),
    "endpoint virtual": S3Options("my-bucket", "r", "https://s3.example.com"),
    "endpoint path": S3Options("my-bucket", "r", "https://e.example/s3/x", force_path_style=True),
    "default port": S3Options("my-bucket", "r", "https://E.example:443", force_path_style=True),
    "ipv6": S3Options("my-bucket", "r", "http://[::1]:9000", force_path_style=True),
}


@pytest.fixture
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")


@contextmanager
def placed(options: S3Options) -> Iterator[tuple[asyncio.Runner, S3Clients]]:
    with asyncio.Runner() as runner:
        opened = open_s3(options)
        clients = runner.run(opened.__aenter__())
        try:
            yield runner, clients
        finally:
            runner.run(opened.__aexit__(None, None, None))


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.usefixtures("_credentials")
def test_a_request_goes_where_the_sdk_sends_it(place: str) -> None:
    options = PLACES[place]
    keys = Keys(secret_key="secret")
    with placed(options) as (runner, clients):
        found = route_of(runner.run(request_of(clients, options, PROBE_KEY)), keys)

        @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
        @given(odd_keys)
        def check(key: str) -> None:
            theirs = runner.run(request_of(clients, options, key))
            target, headers = read(build_head(found, keys, Call("PUT", key, {}, (), 0), STAMP))
            assert f"{found.scheme}://{headers['host']}{target}" == _plain(theirs.url)
            assert headers["user-agent"] == _text(theirs.headers["User-Agent"])

        check()


@pytest.mark.parametrize("variable", ["AWS_USE_DUALSTACK_ENDPOINT", "AWS_USE_FIPS_ENDPOINT"])
@pytest.mark.usefixtures("_credentials")
def test_settings_of_the_sdk_lead_elsewhere(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "true")
    options = PLACES["aws elsewhere"]
    with placed(options) as (runner, clients):
        probe = runner.run(request_of(clients, options, PROBE_KEY))
    found = route_of(probe, Keys(secret_key="secret"))
    word = "dualstack" if "DUALSTACK" in variable else "fips"
    assert word in found.hostname
    assert "eu-central-1" in found.hostname


def _plain(url: str) -> str:
    """Without what clients leave out of Host."""
    scheme, _, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    if scheme == "https":
        host = host.removesuffix(":443")
    return f"{scheme}://{host.lower()}{slash}{path}"


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode()


def probe_with(**headers: str | None) -> AWSPreparedRequest:
    """A probe as the SDK makes them, with some headers replaced or (None) removed."""
    options = PLACES["endpoint"]
    with placed(options) as (runner, clients):
        probe = runner.run(request_of(clients, options, PROBE_KEY))
    for name, value in headers.items():
        if name.replace("_", "-") in probe.headers:
            del probe.headers[name.replace("_", "-")]
        if value is not None:
            probe.headers[name.replace("_", "-")] = value
    return probe


@pytest.mark.usefixtures("_credentials")
@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": None},
        {"authorization": "AWS4-ECDSA-P256-SHA256 Credential=AKIDEXAMPLE/1/2/3/4, Signature=5"},
        {"authorization": "AWS AKIDEXAMPLE:abc"},
        {"x_amz_s3session_token": "abc"},
        {"x_amz_content_sha256": "e3b0c442"},
        {"x_amz_date": "20260101T000000Z"},
        {"x_amz_checksum_crc32": "AAAAAA=="},
    ],
    ids=str,
)
def test_requests_that_ours_could_not_be_have_no_route(headers: dict[str, str | None]) -> None:
    with pytest.raises(NoRouteError):
        route_of(probe_with(**headers), Keys(secret_key="secret"))


@pytest.mark.usefixtures("_credentials")
def test_credentials_that_changed_meanwhile_are_no_verdict() -> None:
    with pytest.raises(OtherCredentialsError):
        route_of(probe_with(), Keys("AKIDANOTHER", "secret"))
    with pytest.raises(NoRouteError):
        route_of(probe_with(), Keys(secret_key="another"))


def test_a_path_is_encoded_once_and_not_normalised() -> None:
    assert encode_path("/a//../b c+~%é") == "/a//../b%20c%2B~%25%C3%A9"
