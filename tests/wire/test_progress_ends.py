"""Watching an upload to a bad end: of the upload, of who receives it, or of who watches."""

from __future__ import annotations

import signal
from contextlib import ExitStack

from tests.conftest import StartServer
from tests.support.bodies import KIB, MIB, body_of
from tests.support.events import watching
from tests.support.server import ServerProcess
from tests.support.tus import RawClient, path_of
from tests.support.waiting import eventually
from tusd_s3.progress.watching import WATCHERS_PER_UPLOAD_MAX

LENGTH = 3 * MIB


# --- of the upload --------------------------------------------------------------------------------


def test_a_delete_at_another_worker_ends_the_stream(
    client: RawClient, second_server: ServerProcess
) -> None:
    path = client.new_upload(LENGTH, body=b"abc")
    with watching(second_server.client, path) as stream:
        stream.until("snapshot")
        assert client.delete(path).status == 204
        [last] = stream.rest(within_s=5.0)
    assert (last.name, last.id, last.data["offset"]) == ("terminated", "terminated", 3)


def test_an_upload_that_expires_ends_the_stream(start_server: StartServer) -> None:
    client = start_server(upload_lifetime="2s").client
    path = path_of(client.create(LENGTH))
    with watching(client, path) as stream:
        stream.until("snapshot")
        [last] = stream.rest()
    assert (last.name, last.data["state"]) == ("expired", "expired")


# --- of who receives it ---------------------------------------------------------------------------


def test_bytes_that_die_with_a_worker_are_taken_back(
    client: RawClient, start_server: StartServer, server: ServerProcess
) -> None:
    """The offset falls to what is durable, and the upload goes on from there."""
    doomed = start_server(over=server.stores, checkpoint_interval="20s", lease_ttl="1s")
    path = doomed.client.new_upload(LENGTH, body=b"x" * KIB)
    with watching(client, path) as stream:
        begun = doomed.client.begin_patch(path, KIB, b"y" * KIB, declared=LENGTH - KIB)
        with begun:
            stream.until("progress", state="receiving", offset=2 * KIB, durable=KIB)
            doomed.kill()
            stream.until("progress", state="waiting", offset=KIB, durable=KIB)
        client.upload_from(path, b"x" * KIB + body_of(LENGTH - KIB))
        assert stream.rest()[-1].name == "complete"


def test_a_worker_that_stops_sends_its_watchers_elsewhere_at_once(
    client: RawClient, start_server: StartServer, server: ServerProcess
) -> None:
    path = client.new_upload(LENGTH)
    leaving = start_server(over=server.stores)
    with watching(leaving.client, path) as stream, watching(leaving.client, path) as other:
        first = stream.next()
        assert first is not None
        leaving.terminate()
        assert stream.rest(within_s=5.0) == []
        assert [event.name for event in other.rest(within_s=5.0)] == ["snapshot"]
        assert leaving.wait_for_exit(within_s=5.0) in {0, -signal.SIGTERM}
        assert "without completing" not in leaving.log()
    with watching(client, path, {"Last-Event-ID": first.id}) as stream:
        client.patch(path, 0, b"abc")
        event = stream.next()
        assert event is not None
        assert event.data["offset"] == 3


# --- of who watches -------------------------------------------------------------------------------


def test_an_upload_has_so_many_watchers_and_no_more(client: RawClient) -> None:
    path, other = client.new_upload(LENGTH), client.new_upload(LENGTH)
    with ExitStack() as stack:
        streams = [
            stack.enter_context(watching(client, path)) for _ in range(WATCHERS_PER_UPLOAD_MAX)
        ]
        refused = client.request("GET", f"{path}/progress")
        assert (refused.status, refused.code) == (503, "too_many_watchers")
        with watching(client, other):
            pass
        streams[0].until("snapshot")  # all that came was read, so that closing sends FIN, not RST
        streams[0].connection.close()
        assert eventually(lambda: is_admitted(client, path), what="the place is free again")


def is_admitted(client: RawClient, path: str) -> bool:
    with client.connect() as connection:
        connection.send_head("GET", f"{path}/progress")
        return connection.read_head()[0] == 200


def test_a_watcher_that_does_not_read_is_cut(client: RawClient) -> None:
    """After the network timeout, two seconds here; what it did not take was never piled up."""
    path = client.new_upload(LENGTH)
    with (
        client.connect(receive_buffer_bytes=1) as silent,
        client.begin_patch(path, 0, b"", declared=LENGTH) as patch,
    ):
        silent.send_head("GET", f"{path}/progress")

        def is_cut() -> bool:
            patch.send(b"x" * KIB)
            try:
                silent.send(b"\r\n")  # a connection that is gone says so to who sends
            except ConnectionError:
                return True
            return False

        # Full buffers would cut it as well, much later.
        assert eventually(is_cut, within_s=10.0, what="the watcher is cut", every_s=0.1)
