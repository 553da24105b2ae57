"""Watching an upload: what anybody is told who asks for its progress."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.bodies import KIB, MIB, PART_BYTES, body_of
from tests.support.concat import PARTIAL, new_partial, post_final
from tests.support.events import EventStream, watching
from tests.support.hosting import served_alone
from tests.support.raw import HeaderItems, RawResponse
from tests.support.server import ServerProcess, StoreSettings
from tests.support.tus import RawClient, path_of
from tests.support.waiting import Stopwatch
from tests.support.world import World

LENGTH = 3 * MIB
UNKNOWN = "AAAAAAAAAAAAAAAAAAAAAA"
AS_JSON = {"Accept": "application/json"}


def ask(client: RawClient, path: str, headers: HeaderItems = ()) -> RawResponse:
    """One request whose answer is no stream."""
    return client.request("GET", f"{path}/progress", headers)


def snapshot(client: RawClient, path: str) -> dict[str, Any]:
    """What one snapshot says."""
    answer = ask(client, path, AS_JSON)
    assert answer.status == 200, answer
    found: dict[str, Any] = json.loads(answer.body)
    return found


def first_of(stream: EventStream) -> dict[str, Any]:
    """What the snapshot says that comes at once."""
    event = stream.next()
    assert event is not None
    assert event.name == "snapshot"
    return event.data


# --- what is told ---------------------------------------------------------------------------------


def test_a_watcher_at_another_worker_sees_the_upload_from_beginning_to_end(
    client: RawClient, second_server: ServerProcess
) -> None:
    body = body_of(LENGTH)
    path = client.new_upload(LENGTH)
    with watching(second_server.client, path) as stream:
        assert first_of(stream) == {
            "state": "waiting", "offset": 0, "durable": 0, "length": LENGTH, "rate": 0,
        }  # fmt: skip
        with client.begin_patch(path, 0, body[:MIB], declared=LENGTH) as patch:
            seen = stream.until("progress", state="receiving", offset=MIB)
            assert seen.data["durable"] == 0
            patch.send(body[MIB : 2 * MIB])
            assert stream.until("progress", offset=2 * MIB).data["rate"] > 0
            patch.send(body[2 * MIB :])
            assert patch.read_response().status == 204
        *_, last = stream.rest()
    assert last.name == last.data["state"] == last.id == "complete"
    assert last.data["offset"] == last.data["durable"] == last.data["length"] == LENGTH


def test_the_head_keeps_proxies_and_caches_out_of_the_way(client: RawClient) -> None:
    with watching(client, client.new_upload(1)) as stream:
        assert stream.headers.tokens("Content-Type") == {"text/event-stream; charset=utf-8"}
        assert stream.headers["Cache-Control"] == "no-store"
        assert stream.headers["X-Accel-Buffering"] == "no"
        assert stream.headers["X-Content-Type-Options"] == "nosniff"
        first_of(stream)
        assert stream.retry_ms is not None
        assert 1_000 <= stream.retry_ms <= 3_000


def test_what_is_recorded_and_what_is_received_are_told_apart(client: RawClient) -> None:
    """Whole parts are recorded every few seconds; a bar on a screen follows what comes in."""
    body = body_of(2 * PART_BYTES)
    path = client.new_upload(4 * PART_BYTES)
    with watching(client, path) as stream:
        with client.begin_patch(path, 0, body, declared=4 * PART_BYTES):
            seen = stream.until("progress", offset=len(body)).data
            assert (seen["state"], seen["durable"]) == ("receiving", 0)
        stream.until("progress", state="waiting", offset=len(body), durable=len(body))


def test_at_most_four_events_a_second(client: RawClient) -> None:
    path = client.new_upload(LENGTH)
    with (
        watching(client, path) as stream,
        client.begin_patch(path, 0, b"", declared=LENGTH) as patch,
    ):
        first_of(stream)
        watch = Stopwatch()
        for sent in range(KIB, 101 * KIB, KIB):
            patch.send(body_of(KIB, seed=sent))
            patch.pause(0.01)
            if sent % (25 * KIB) == 0:
                stream.until("progress", offset=sent)
        assert len(stream.seen) <= 2 + 4 * watch.elapsed_s


def test_short_patches_are_seen_by_their_records(
    client: RawClient, second_server: ServerProcess
) -> None:
    path = client.new_upload(LENGTH)
    with watching(second_server.client, path) as stream:
        first_of(stream)
        for offset in (0, KIB):
            assert client.patch(path, offset, b"x" * KIB).status == 204
            stream.until("progress", state="waiting", offset=offset + KIB, durable=offset + KIB)


def test_a_length_is_told_once_it_was_declared(world: World) -> None:
    path = path_of(world.client.create(None))
    world.client.patch(path, 0, b"abc")
    assert snapshot(world.client, path)["length"] is None
    world.client.patch(path, 3, b"de", {"Upload-Length": "5"})
    assert snapshot(world.client, path) == {
        "state": "complete", "offset": 5, "durable": 5, "length": 5, "rate": 0,
    }  # fmt: skip


def test_a_snapshot_as_json_has_what_was_received_by_another_worker(
    client: RawClient, second_server: ServerProcess
) -> None:
    path = client.new_upload(LENGTH)
    with client.begin_patch(path, 0, body_of(MIB), declared=LENGTH) as patch:
        patch.assert_silent_for(0.1)
        answer = ask(second_server.client, path, AS_JSON)
        assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
        assert answer.headers["Cache-Control"] == "no-store"
        assert json.loads(answer.body) == {
            "state": "receiving", "offset": MIB, "durable": 0, "length": LENGTH, "rate": 0,
        }  # fmt: skip


def test_a_partial_upload_is_complete_when_its_bytes_are_there(client: RawClient) -> None:
    path = path_of(client.create(4, headers=PARTIAL))
    with watching(client, path) as stream:
        first_of(stream)
        client.patch(path, 0, b"abcd")
        last = stream.rest()[-1]
    assert (last.name, last.data["offset"]) == ("complete", 4)


def test_a_final_upload_has_an_offset_when_it_is_whole(world: World) -> None:
    parts = [new_partial(world.client, body_of(MIB, seed=seed)) for seed in (1, 2)]
    path = path_of(post_final(world.client, parts))
    with watching(world.client, path) as stream:
        last = stream.rest()[-1]
    assert (last.name, last.data["offset"], last.data["length"]) == ("complete", 2 * MIB, 2 * MIB)


# --- what is not disturbed ------------------------------------------------------------------------


def test_who_watches_changes_nothing_and_interrupts_nobody(world: World) -> None:
    """No lease, no request to let go, no later expiry, no key: the stores stay as they were."""
    path = world.client.new_upload(LENGTH, body=body_of(KIB))
    with world.unchanged(), watching(world.client, path) as stream:
        first_of(stream)
        snapshot(world.client, path)
        stream.connection.assert_silent_for(1.3)  # another look at the record
    with world.client.begin_patch(path, KIB, b"abc", declared=LENGTH - KIB) as patch:
        with watching(world.client, path) as stream:
            stream.until("snapshot", "progress", state="receiving", offset=KIB + 3)
            snapshot(world.client, path)
        patch.assert_silent_for(0.3)


# --- who comes back -------------------------------------------------------------------------------


def test_who_comes_back_is_told_only_what_is_new(client: RawClient) -> None:
    path = client.new_upload(LENGTH, body=b"abc")
    with watching(client, path) as stream:
        seen = stream.next()
        assert seen is not None
    with watching(client, path, {"Last-Event-ID": seen.id}) as stream:
        client.patch(path, 3, b"defg")
        event = stream.next()
        assert event is not None
        assert event.data["offset"] == 7
    with watching(client, path, {"Last-Event-ID": seen.id}) as stream:
        assert first_of(stream)["offset"] == 7


@pytest.mark.parametrize("end", ["complete", "terminated"])
def test_behind_the_end_a_browser_is_told_to_stop_coming_back(client: RawClient, end: str) -> None:
    path = client.new_upload(3, body=b"abc" if end == "complete" else None)
    if end == "terminated":
        assert client.delete(path).status == 204
    answer = ask(client, path, {"Last-Event-ID": end})
    assert (answer.status, answer.body) == (204, b"")


def test_who_comes_after_the_end_for_the_first_time_is_told_all(client: RawClient) -> None:
    path = client.new_upload(3, body=b"abc")
    with watching(client, path) as stream:
        assert [event.name for event in stream.rest()] == ["snapshot", "complete"]
    assert snapshot(client, path)["state"] == "complete"


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ("complete", 200),
        ("expired\x00", 200),
        ("receiving-9-9-9", 200),
        ("\u00ff" * 40, 200),
        ("%0d%0aevent: complete", 200),
        ("-1", 200),
        ("x" * 1025, 431),
    ],
)  # fmt: skip
def test_a_last_event_id_that_is_not_ours_says_nothing(
    client: RawClient, said: str, status: int
) -> None:
    path = client.new_upload(LENGTH)
    with client.connect() as connection:
        connection.send_head("GET", f"{path}/progress", {"Last-Event-ID": said})
        found, headers = connection.read_head()
        if found == 400:
            assert "\x00" in said  # the HTTP parser's
        else:
            assert found == status
        if found == 200:
            assert first_of(EventStream(connection, headers))["offset"] == 0


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [UNKNOWN, "x", "%2e%2e", ""])
def test_an_unknown_upload_is_not_found(client: RawClient, name: str) -> None:
    answer = ask(client, f"{client.base_path}{name}")
    assert (answer.status, answer.code) in {(404, "upload_not_found"), (404, "not_found")}
    assert ask(client, f"{client.base_path}{UNKNOWN}").code == "upload_not_found"


def test_other_methods_and_bodies_are_refused(client: RawClient) -> None:
    path = f"{client.new_upload(1)}/progress"
    answer = client.request("POST", path, {"Tus-Resumable": "1.0.0"}, b"")
    assert (answer.status, answer.headers["Allow"]) == (405, "GET, OPTIONS")
    answer = client.request("GET", path, {}, b"body")
    assert (answer.status, answer.code) == (400, "invalid_header")
    assert client.request("OPTIONS", path).status == 204


def test_a_page_elsewhere_may_watch(client: RawClient) -> None:
    """An EventSource asks without a preflight, a script that reads the stream itself with one."""
    path, page = client.new_upload(1), {"Origin": "https://app.example"}
    with watching(client, path, page) as stream:
        assert stream.headers["Access-Control-Allow-Origin"] == "*"
        first_of(stream)
    asked = page | {
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "cache-control,last-event-id",
    }
    assert client.request("OPTIONS", f"{path}/progress", asked).status == 200


def test_a_stream_with_nothing_to_tell_is_kept_alive_by_comments(
    stores: StoreSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tusd_s3.app.progress.PING_EVERY_S", 0.05)
    with served_alone(stores) as port:
        client = RawClient(("127.0.0.1", port))
        with watching(client, client.new_upload(1)) as stream:
            first_of(stream)
            stream.connection.read_chunk(within_s=5.0)
            assert stream.connection.read_chunk(within_s=5.0).startswith(b":")


def test_the_end_of_a_body_is_told_and_needs_no_look(
    stores: StoreSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tusd_s3.progress.watching.LOOK_EVERY_S", 3600.0)
    with served_alone(stores) as port:
        client = RawClient(("127.0.0.1", port))
        path = client.new_upload(5)
        with client.begin_patch(path, 0, b"abc", declared=5) as patch:
            patch.assert_silent_for(0.1)
            with watching(client, path) as stream:
                stream.until("snapshot", "progress", offset=3)
                patch.send(b"de")
                assert stream.rest()[-1].name == "complete"
