"""The application is mounted into a host's, under any path, lifespan included."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys

import pytest
from fastapi import FastAPI, Request

from tests.support.bodies import KIB, MIB
from tests.support.events import watching
from tests.support.hosting import served
from tests.support.raw import RawConnection
from tests.support.server import StoreSettings, free_port
from tests.support.stores import Bucket
from tests.support.tus import RawClient, id_of, patch_headers
from tests.support.waiting import eventually
from tusd_s3 import Settings, create_app
from tusd_s3.serving.reads import MeasuredReads


def settings_of(stores: StoreSettings) -> dict[str, str]:
    """As variables of the environment."""
    options = stores.options().items()
    return {"TUSD_S3_" + name.upper().replace("-", "_"): value for name, value in options}


@pytest.fixture
def host(stores: StoreSettings, monkeypatch: pytest.MonkeyPatch) -> FastAPI:
    """The example's application, configured by the environment as its text says."""
    for name, value in stores.environment().items():
        monkeypatch.setenv(name, value)
    for name, value in settings_of(stores).items():
        monkeypatch.setenv(name, value)
    module = importlib.import_module("examples.fastapi_app")
    app: FastAPI = importlib.reload(module).app
    return app


def test_the_example_takes_an_upload_under_its_mount_path(
    host: FastAPI, stores: StoreSettings, bucket: Bucket
) -> None:
    with served(host) as port:
        client = RawClient(("127.0.0.1", port), "/media/files/")
        created = client.create(11)
        location = created.headers["Location"]
        assert location.startswith(f"http://127.0.0.1:{port}/media/files/")
        path = location.removeprefix(f"http://127.0.0.1:{port}")
        assert client.patch(path, 0, b"hello ").offset == 6
        assert client.patch(path, 6, b"world").offset == 11
        assert client.request("GET", "/").status == 200
    assert bucket.body(stores.object_prefix + id_of(path)) == b"hello world"


def test_streams_do_not_hold_up_a_host_that_stops(stores: StoreSettings) -> None:
    """Under plain uvicorn, which tells a mounted application nothing."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "examples.fastapi_app:app", "--port", f"{port}"],
        env=os.environ | stores.environment() | settings_of(stores),
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        client = RawClient(("127.0.0.1", port), "/media/files/")
        path = eventually(lambda: client.new_upload(10), within_s=30.0)
        with watching(client, path) as stream:
            stream.until("snapshot")
            process.send_signal(signal.SIGTERM)
            assert stream.rest(within_s=5.0) == []
        _, said = process.communicate(timeout=10)
        assert "without completing" not in said
    finally:
        process.kill()
        process.wait()


def test_two_mounts_of_different_paths_make_their_own_locations(
    stores: StoreSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in stores.environment().items():
        monkeypatch.setenv(name, value)
    options = {name.replace("-", "_"): value for name, value in stores.options().items()}
    uploads = create_app(Settings.model_validate(options | {"base_path": "/"}))
    app = FastAPI(lifespan=uploads.lifespan)
    app.mount("/a", uploads)
    app.mount("/b/c", uploads)
    with served(app) as port:
        for mount in ("/a/", "/b/c/"):
            location = RawClient(("127.0.0.1", port), mount).create(1).headers["Location"]
            assert location.startswith(f"http://127.0.0.1:{port}{mount}")


def test_a_body_behind_an_offered_upgrade_is_refused_where_the_host_s_server_would_lose_it(
    host: FastAPI,
) -> None:
    with served(host) as port:
        client = RawClient(("127.0.0.1", port), "/media/files/")
        path, victim = client.new_upload(1000), client.new_upload(10)
        hidden = b"DELETE %s HTTP/1.1\r\nHost: x\r\nTus-Resumable: 1.0.0\r\n\r\n" % victim.encode()
        offer = {"Connection": "Upgrade", "Upgrade": "h2c"}
        with client.connect() as connection:
            connection.send_head("PATCH", path, patch_headers(0, len(hidden)) | offer)
            assert connection.read_response("PATCH").status == 400
            connection.send_until_closed(hidden)
        assert client.head(victim).status == 200
        assert client.head(path).offset == 0


def test_a_host_can_run_our_http_protocol_and_then_takes_such_a_body(host: FastAPI) -> None:
    with served(host, MeasuredReads) as port:
        client = RawClient(("127.0.0.1", port), "/media/files/")
        path = client.new_upload(3)
        offer = {"Connection": "Upgrade", "Upgrade": "h2c"}
        assert client.patch(path, 0, b"abc", offer).offset == 3


async def measure(request: Request) -> dict[str, int]:
    """A resource of the host's own, which reads its body as ASGI has it."""
    return {"bytes": len(await request.body())}


async def ignore() -> dict[str, int]:
    """One that answers without a look at the body."""
    return {"bytes": -1}


def test_under_our_http_protocol_the_host_s_own_resources_get_their_bodies(host: FastAPI) -> None:
    host.post("/measure")(measure)
    host.post("/ignore")(ignore)
    with served(host, MeasuredReads) as port, RawConnection(("127.0.0.1", port)) as connection:
        for size in (0, 5, MIB):
            connection.send_head("POST", "/measure", {"Content-Length": f"{size}"})
            connection.send(bytes(size))
            assert connection.read_response("POST").body == b'{"bytes":%d}' % size
        connection.send_head("POST", "/measure", {"Transfer-Encoding": "chunked"})
        connection.send_chunk(bytes(KIB))
        connection.end_chunks()
        assert connection.read_response("POST").body == b'{"bytes":1024}'
        connection.send_head("POST", "/ignore", {"Content-Length": f"{MIB}"})
        assert connection.read_response("POST").body == b'{"bytes":-1}'


def test_without_its_lifespan_the_application_says_what_is_missing(
    stores: StoreSettings, caplog: pytest.LogCaptureFixture
) -> None:
    options = {name.replace("-", "_"): value for name, value in stores.options().items()}
    app = FastAPI()
    app.mount("/media", create_app(Settings.model_validate(options)))
    with served(app) as port:
        response = RawClient(("127.0.0.1", port), "/media/files/").create(1)
    assert response.status == 500
    assert "lifespan" in caplog.text
