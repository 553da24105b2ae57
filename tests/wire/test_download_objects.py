"""Which object a GET is answered with: the upload's own, when it is whole, and no other."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest
import redis

from tests.conftest import StartServer
from tests.support.bodies import MIB, PART_BYTES, body_of
from tests.support.faults import Answer
from tests.support.raw import RawResponse
from tests.support.redis_proxy import RedisProxy
from tests.support.s3_calls import S3Call
from tests.support.s3_proxy import S3Proxy
from tests.support.server import ServerProcess
from tests.support.stores import Bucket, RedisView
from tests.support.tus import RawClient, id_of, metadata_of, path_of
from tests.support.world import World

BODY = body_of(200_000)


def get(client: RawClient, path: str) -> RawResponse:
    return client.request("GET", path)


def stored(client: RawClient, body: bytes = BODY, **metadata: str) -> str:
    path = client.new_upload(len(body), metadata=metadata_of(metadata) or None)
    client.upload_from(path, body)
    return path


def forget_record(redis: RedisView, path: str) -> None:
    """As Redis does when the upload's lifetime is over."""
    redis.lose(id_of(path))


def refused(answer: RawResponse) -> tuple[int, str]:
    return answer.status, answer.code


def test_one_call_to_s3_answers_a_get(proxied: World, s3_proxy: S3Proxy) -> None:
    path = stored(proxied.client)
    for headers in ({}, {"Range": "bytes=5-9"}, {"If-None-Match": '"other"'}):
        with s3_proxy.counting() as calls:
            assert proxied.client.request("GET", path, headers).status in (200, 206)
        assert calls == {S3Call.GET_OBJECT: 1}


def test_what_is_not_finished_costs_a_look(proxied: World, s3_proxy: S3Proxy) -> None:
    path = proxied.client.new_upload(10)
    with s3_proxy.counting() as calls:
        assert refused(get(proxied.client, path)) == (404, "upload_unfinished")
    assert calls == {S3Call.HEAD_OBJECT: 1}


def test_nothing_is_finished_while_s3_is_away(proxied: World, s3_proxy: S3Proxy) -> None:
    path = proxied.client.new_upload(10)
    s3_proxy.fail(S3Call.HEAD_OBJECT, Answer(503), times=None)
    assert refused(get(proxied.client, path)) == (404, "upload_unfinished")
    s3_proxy.rules.clear()


@pytest.mark.parametrize("length", [len(BODY), len(BODY) + 1, None])
def test_what_a_redis_that_fell_back_has_forgotten_is_still_handed_out(
    redis_view: RedisView, client: RawClient, length: int | None
) -> None:
    """Its record is that of before the last bytes; nobody would send them again. But an object of
    another length is not the upload's."""
    path = stored(client)
    with redis.Redis.from_url(redis_view.url) as server:
        record = f"{redis_view.prefix}{{{id_of(path)}}}"
        fields = {"state": "open", "length": "" if length is None else length}
        server.hset(record, mapping=fields)
    answer = get(client, path)
    if length == len(BODY):
        assert (answer.status, answer.body) == (200, BODY)
    else:
        assert refused(answer) == (404, "upload_unfinished")


def test_an_upload_in_parts_is_404_until_it_is_whole(client: RawClient) -> None:
    body = body_of(2 * PART_BYTES)
    path = client.new_upload(len(body))
    client.patch(path, 0, body[: PART_BYTES + 1])
    assert refused(get(client, path)) == (404, "upload_unfinished")
    client.upload_from(path, body)
    assert get(client, path).body == body


def test_a_get_disturbs_nobody_who_writes(client: RawClient) -> None:
    path = client.new_upload(10)
    with client.begin_patch(path, 0, b"12345", declared=10) as patch:
        assert refused(get(client, path)) == (404, "upload_unfinished")
        patch.send(b"67890")
        assert patch.read_response().status == 204
    assert get(client, path).body == b"1234567890"


def test_a_terminated_upload_is_gone(client: RawClient) -> None:
    path = stored(client)
    assert client.delete(path).status == 204
    assert refused(get(client, path)) == (404, "upload_not_found")


def test_the_address_outlives_the_record(
    world: World, redis_view: RedisView, client: RawClient
) -> None:
    path = stored(client, filename="a.txt", filetype="text/plain")
    before = get(client, path)
    forget_record(redis_view, path)
    after = get(client, path)
    assert (after.status, after.body) == (200, BODY)
    assert after.headers["Content-Type"] == "text/plain"
    assert after.headers["Content-Disposition"] == before.headers["Content-Disposition"]
    assert client.delete(path).status == 404
    assert world.object_of(path) == BODY


def test_a_get_moves_no_expiry(redis_view: RedisView, client: RawClient) -> None:
    path = stored(client)
    before = redis_view.snapshot()
    assert get(client, path).status == 200
    assert redis_view.snapshot() == before


@pytest.mark.parametrize(
    ("template", "status"),
    [("{id}/{filename}", 200), ("by-id/{id}-{filename}", 200), ("{filename}-{id}", 404)],
)
def test_without_a_record_the_id_finds_what_it_begins(
    start_server: StartServer,
    redis_view: RedisView,
    bucket: Bucket,
    template: str,
    status: int,
) -> None:
    server = start_server(s3_object_key=template)
    path = stored(server.client, filename="z\u00fcrich.bin")
    assert get(server.client, path).body == BODY
    # Not ours, although it begins like it, and comes first.
    [own] = [key for key in bucket.keys(server.stores.object_prefix) if id_of(path) in key]
    beginning = own[: own.index(id_of(path)) + len(id_of(path)) + 1]
    bucket.put(f"{beginning}!/not ours", b"secret")
    forget_record(redis_view, path)
    found = get(server.client, path)
    assert found.status == status
    assert found.body == BODY or found.code == "upload_not_found"
    other = id_of(path)[:-1] + ("A" if path[-1] != "A" else "Q")
    bucket.put(own.replace(id_of(path), other) + "/deeper", b"secret")
    assert refused(get(server.client, f"/files/{other}")) == (404, "upload_not_found")


def test_a_partial_upload_is_not_handed_out(client: RawClient) -> None:
    for size in (100, PART_BYTES + 1):
        body = body_of(size)
        created = client.create(size, headers={"Upload-Concat": "partial"})
        client.upload_from(path_of(created), body)
        answer = get(client, path_of(created))
        assert refused(answer) == (404, "partial_upload")


def test_a_final_upload_is(client: RawClient) -> None:
    pieces = [body_of(MIB), body_of(77)]
    paths = []
    for piece in pieces:
        created = client.create(len(piece), headers={"Upload-Concat": "partial"})
        client.upload_from(path_of(created), piece)
        paths.append(path_of(created))
    final = client.request(
        "POST",
        "/files/",
        {"Tus-Resumable": "1.0.0", "Upload-Concat": f"final;{' '.join(paths)}"},
        b"",
    )
    assert get(client, path_of(final)).body == b"".join(pieces)


def test_while_redis_is_away_what_is_there_is_handed_out(
    proxied: World, redis_proxy: RedisProxy
) -> None:
    path, unknown = stored(proxied.client), f"/files/{'A' * 22}"
    redis_proxy.down()
    try:
        assert get(proxied.client, path).body == BODY
        assert refused(get(proxied.client, unknown)) == (503, "state_unavailable")
    finally:
        redis_proxy.up()


# --- how it is handed out -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def redirecting(start_module_server: StartServer) -> ServerProcess:
    return start_module_server(downloads="redirect", downloads_link_life="77s")


def test_a_redirect_leads_to_the_store_for_a_while(redirecting: ServerProcess) -> None:
    client = redirecting.client
    path = stored(client, filename="\u30d5\u30a3\u30eb\u30e0.mp4", filetype="video/mp4")
    answer = get(client, path)
    assert answer.status == 307
    assert answer.headers["Cache-Control"] == "no-store"
    location = urlsplit(answer.headers["Location"])
    query = parse_qs(location.query)
    assert query["X-Amz-Algorithm"] == ["AWS4-HMAC-SHA256"]
    assert query["X-Amz-Expires"] == ["77"]
    assert location.netloc == urlsplit(redirecting.stores.s3_endpoint).netloc
    assert location.hostname is not None
    assert location.port is not None
    store = RawClient((location.hostname, location.port))
    target = f"{location.path}?{location.query}"
    found = store.request("GET", target, {"Range": "bytes=10-19", "Host": location.netloc})
    assert (found.status, found.body) == (206, BODY[10:20])
    assert found.headers["Content-Type"] == "video/mp4"
    assert found.headers["Content-Disposition"].startswith("inline; filename=")


def test_a_redirect_of_what_can_run_script_is_an_attachment(redirecting: ServerProcess) -> None:
    path = stored(redirecting.client, filename="a.html", filetype="text/html")
    query = parse_qs(urlsplit(get(redirecting.client, path).headers["Location"]).query)
    assert query["response-content-disposition"][0].startswith("attachment;")


def test_a_redirect_leads_to_where_others_reach_the_store(start_server: StartServer) -> None:
    cdn = "https://cdn.example"
    client = start_server(downloads="redirect", downloads_endpoint=cdn).client
    location = get(client, stored(client)).headers["Location"]
    assert location.startswith(f"{cdn}/")
    assert "X-Amz-SignedHeaders=host&" in location


def test_there_is_no_redirect_to_what_is_not_there(redirecting: ServerProcess) -> None:
    client = redirecting.client
    assert refused(get(client, client.new_upload(5))) == (404, "upload_unfinished")
    assert refused(get(client, f"/files/{'A' * 22}")) == (404, "upload_not_found")


def test_where_downloads_are_off_get_is_no_method(start_server: StartServer) -> None:
    client = start_server(downloads="off").client
    answer = get(client, stored(client))
    assert refused(answer) == (405, "method_not_allowed")
    assert "get" not in answer.headers.tokens("Allow")
