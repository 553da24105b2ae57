"""Watching an upload: what anybody is told who asks for its progress."""

from __future__ import annotations

import json

from tests.support.bodies import KIB, MIB, body_of
from tests.support.events import watching
from tests.support.server import ServerProcess
from tests.support.tus import RawClient

LENGTH = 3 * MIB


def test_a_watcher_at_another_worker_sees_the_upload_from_beginning_to_end(
    client: RawClient, second_server: ServerProcess
) -> None:
    body = body_of(LENGTH)
    path = client.new_upload(LENGTH)
    with watching(second_server.client, path) as stream:
        first = stream.next()
        assert first is not None
        assert (first.name, first.data["state"], first.data["offset"]) == ("snapshot", "waiting", 0)
        with client.begin_patch(path, 0, body[:MIB], declared=LENGTH) as patch:
            stream.until("progress", state="receiving", offset=MIB)
            patch.send(body[MIB:])
            assert patch.read_response().status == 204
        *_, last = stream.rest()
    assert last.name == last.data["state"] == last.id == "complete"
    assert last.data["offset"] == last.data["durable"] == last.data["length"] == LENGTH


def test_one_snapshot_as_json(client: RawClient) -> None:
    path = client.new_upload(LENGTH, body=body_of(64 * KIB))
    answer = client.request("GET", f"{path}/progress", {"Accept": "application/json"})
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    assert answer.headers["Cache-Control"] == "no-store"
    assert json.loads(answer.body) == {
        "state": "waiting", "offset": 64 * KIB, "durable": 64 * KIB, "length": LENGTH, "rate": 0,
    }  # fmt: skip


def test_an_unknown_upload_is_not_found(client: RawClient) -> None:
    answer = client.request("GET", f"{client.base_path}AAAAAAAAAAAAAAAAAAAAAA/progress")
    assert (answer.status, answer.code) == (404, "upload_not_found")
