"""Line 19: when an unfinished upload ends, as told and as done."""

from __future__ import annotations

import re
import time
from email.utils import parsedate_to_datetime
from functools import partial

import pytest

from tests.conftest import StartServer
from tests.support.raw import RawResponse
from tests.support.server import ServerProcess
from tests.support.tus import RawClient, path_of
from tests.support.waiting import eventually
from tests.support.world import World

DAY_S = 24 * 3600
IMF_FIXDATE = re.compile(
    r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d "
    r"(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) \d{4} \d\d:\d\d:\d\d GMT"
)


def expires_in_s(response: RawResponse) -> float:
    """Seconds from now to the response's `Upload-Expires`."""
    value = response.headers["Upload-Expires"]
    assert IMF_FIXDATE.fullmatch(value), value
    return parsedate_to_datetime(value).timestamp() - time.time()


def is_past(moment: float) -> bool:
    """Whether the clock shows more than `moment`."""
    return time.monotonic() > moment


def test_line_19_post_and_patch_tell_when_an_unfinished_upload_ends(client: RawClient) -> None:
    created = client.create(10)
    assert DAY_S - 10 < expires_in_s(created) < DAY_S + 10
    path = path_of(created)
    assert DAY_S - 10 < expires_in_s(client.patch(path, 0, b"abc")) < DAY_S + 10
    assert DAY_S - 10 < expires_in_s(client.patch(path, 3, b"")) < DAY_S + 10
    assert DAY_S - 10 < expires_in_s(client.create(6, body=b"abc")) < DAY_S + 10
    assert DAY_S - 10 < expires_in_s(client.create(None)) < DAY_S + 10


def test_line_19_a_finished_upload_does_not_expire(client: RawClient) -> None:
    path = client.new_upload(3)
    assert "Upload-Expires" not in client.patch(path, 0, b"abc").headers
    assert "Upload-Expires" not in client.patch(path, 3, b"").headers
    assert "Upload-Expires" not in client.create(0).headers
    assert "Upload-Expires" not in client.create(3, body=b"abc").headers


@pytest.fixture(scope="module")
def short_lived(start_module_server: StartServer) -> ServerProcess:
    """A server that keeps unfinished uploads for three seconds."""
    return start_module_server(upload_lifetime="3s")


def test_line_19_a_gone_upload_is_404_and_leaves_no_record(
    short_lived: ServerProcess, world: World
) -> None:
    client = short_lived.client
    created = client.create(10, body=b"abc")
    assert expires_in_s(created) <= 3
    path = path_of(created)
    eventually(lambda: client.head(path).status == 404, what="the upload is gone")
    assert client.patch(path, 3, b"d").status == 404
    assert client.delete(path).status == 404
    eventually(lambda: world.redis.keys(path.rsplit("/", 1)[1]) == [])


def test_line_19_every_patch_moves_the_end(short_lived: ServerProcess) -> None:
    client = short_lived.client
    path = client.new_upload(100)
    started = time.monotonic()
    offset = 0
    while time.monotonic() - started < 5:
        response = client.patch(path, offset, b"x")
        assert response.status == 204, response
        offset += 1
        moved = expires_in_s(response)
        assert moved > 1.0
        # Wait for half the lifetime to pass.
        half_way = time.monotonic() + 1.5
        eventually(partial(is_past, half_way))
    assert client.offset_of(path) == offset


def test_line_19_head_does_not_outlive_what_was_promised(short_lived: ServerProcess) -> None:
    client = short_lived.client
    created = client.create(10)
    path = path_of(created)
    promised = time.monotonic() + expires_in_s(created)
    eventually(lambda: client.head(path).status == 404)
    assert time.monotonic() < promised + 3
