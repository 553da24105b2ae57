"""GET of a finished upload: its bytes, all of them or a range, and what goes with them."""

from __future__ import annotations

import random

import pytest

from tests.support.bodies import KIB, PART_BYTES, body_of
from tests.support.raw import RawResponse
from tests.support.tus import RawClient, metadata_of
from tests.support.world import World

SIZE = 2 * PART_BYTES + 12_345


def get(client: RawClient, path: str, **headers: str) -> RawResponse:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.request("GET", path, named)


def stored(client: RawClient, body: bytes, **metadata: str | bytes) -> str:
    """An upload of `body`, finished; its path."""
    path = client.new_upload(len(body), metadata=metadata_of(metadata) or None)
    client.upload_from(path, body)
    return path


@pytest.fixture(scope="module")
def body() -> bytes:
    return body_of(SIZE)


@pytest.fixture(scope="module")
def path(world: World, body: bytes) -> str:
    return stored(world.client, body, filename="film.mp4", filetype="video/mp4")


@pytest.mark.parametrize("size", [0, 1, 70 * KIB, PART_BYTES, PART_BYTES + 1])
def test_the_whole_object(client: RawClient, size: int) -> None:
    whole = body_of(size)
    answer = get(client, stored(client, whole))
    assert (answer.status, answer.body) == (200, whole)
    assert answer.headers["Content-Length"] == f"{size}"
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert "Content-Range" not in answer.headers


def test_three_hundred_random_ranges(client: RawClient, path: str, body: bytes) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")  # noqa: T201 - to replay
    chance = random.Random(seed)
    with client.connect() as connection:
        for _ in range(300):
            first = chance.randrange(SIZE)
            last = min(first + chance.randrange(200 * KIB), SIZE + 10)
            connection.send_head("GET", path, {"Range": f"bytes={first}-{last}"})
            answer = connection.read_response("GET")
            expected = body[first : last + 1]
            assert (answer.status, answer.body) == (206, expected), (first, last)
            end = first + len(expected) - 1
            assert answer.headers["Content-Range"] == f"bytes {first}-{end}/{SIZE}"
            assert answer.headers["Content-Length"] == f"{len(expected)}"


def test_an_unfinished_upload_is_404_and_says_so(client: RawClient) -> None:
    path = client.new_upload(10)
    client.patch(path, 0, b"12345")
    answer = get(client, path)
    assert (answer.status, answer.code) == (404, "upload_unfinished")


@pytest.mark.parametrize("name", ["A" * 22, "nonsense", "%2e%2e"])
def test_an_unknown_upload_is_404(client: RawClient, name: str) -> None:
    answer = get(client, f"/files/{name}")
    assert (answer.status, answer.code) == (404, "upload_not_found")


# --- ranges ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [
        ("bytes=0-", 0, SIZE),
        ("bytes=0-1", 0, 2),
        ("BYTES = 5-5", 5, 6),
        ("bytes=-500", SIZE - 500, SIZE),
        (f"bytes=-{SIZE + 1}", 0, SIZE),
        (f"bytes={SIZE - 1}-", SIZE - 1, SIZE),
        (f"bytes={SIZE - 10}-{10**30}", SIZE - 10, SIZE),
        ("bytes=,7-8,", 7, 9),
    ],
)
def test_a_range_as_browsers_ask_for_it(
    client: RawClient, path: str, body: bytes, asked: str, start: int, stop: int
) -> None:
    answer = get(client, path, Range=asked)
    assert (answer.status, answer.body) == (206, body[start:stop])
    assert answer.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{SIZE}"
    assert answer.headers["Content-Length"] == f"{stop - start}"


def test_the_requests_of_safari(client: RawClient, path: str, body: bytes) -> None:
    """A probe for two bytes, then exact ranges one after the other on the same connection, held to
    the probe's validator."""
    with client.connect() as connection:

        def ask(first: int, last: int, **more: str) -> RawResponse:
            headers = {"Range": f"bytes={first}-{last}", "Accept-Encoding": "identity"} | more
            connection.send_head("GET", path, headers)
            return connection.read_response("GET")

        probe = ask(0, 1)
        assert (probe.status, probe.body) == (206, body[:2])
        length = int(probe.headers["Content-Range"].partition("/")[2])
        assert length == SIZE
        step = 3_000_001
        got = b""
        for first in range(0, length, step):
            last = min(first + step, length) - 1
            got += ask(first, last, **{"If-Range": probe.headers["ETag"]}).body
        assert got == body


@pytest.mark.parametrize("asked", [f"bytes={SIZE}-", f"bytes={10**30}-", "bytes=-0"])
def test_behind_the_end_is_416_and_says_the_length(
    client: RawClient, path: str, asked: str
) -> None:
    answer = get(client, path, Range=asked)
    assert (answer.status, answer.code) == (416, "range_not_satisfiable")
    assert answer.headers["Content-Range"] == f"bytes */{SIZE}"


@pytest.mark.parametrize(
    "asked",
    [
        *("bytes", "bytes=", "bytes=-", "bytes=2-1", "bytes=a-b", "bytes=1", "lines=0-1"),
        *("bytes=0-1,4-5", "bytes=0-0,-1", "bytes=" + ",".join(["0-0"] * 200)),
        *("bytes=+1-2", "bytes=1 - 2", "bytes=1-2-3", "bytes=0x0-0x1", "bytes=\u0661-2"),
    ],
)
def test_what_is_malformed_or_more_than_one_range_is_the_whole(
    client: RawClient, asked: str
) -> None:
    answer = get(client, stored(client, b"0123456789"), Range=asked)
    assert (answer.status, answer.body) == (200, b"0123456789")


def test_of_nothing_every_range_is_nothing(client: RawClient) -> None:
    answer = get(client, stored(client, b""), Range="bytes=0-")
    assert (answer.status, answer.body) == (200, b"")


# --- conditions -----------------------------------------------------------------------------------

LONG_AGO = "Sun, 06 Nov 1994 08:49:37 GMT"
LONG_AGO_IN_OTHER_FORMS = ["Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"]


def test_what_is_unchanged_is_304(client: RawClient, path: str) -> None:
    first = get(client, path, Range="bytes=0-0")
    etag, modified = first.headers["ETag"], first.headers["Last-Modified"]
    for asked in (
        {"If_None_Match": etag},
        {"If_None_Match": f"W/{etag}"},
        {"If_None_Match": f'"other", {etag}'},
        {"If_None_Match": "*"},
        {"If_Modified_Since": modified},
        {"If_None_Match": etag, "Range": f"bytes={SIZE}-"},
        {"If_None_Match": etag, "If_Modified_Since": LONG_AGO},
        {"If_Match": etag, "If_None_Match": etag},
    ):
        answer = get(client, path, **asked)
        assert (answer.status, answer.body) == (304, b""), asked
        assert answer.headers["ETag"] == etag, asked
        assert answer.headers["Cache-Control"] == "private, no-cache"


def test_what_changed_is_sent(client: RawClient, path: str) -> None:
    for asked in (
        {"If_None_Match": '"other"'},
        {"If_None_Match": "not a tag"},
        {"If_Modified_Since": LONG_AGO},
        *({"If_Modified_Since": date} for date in LONG_AGO_IN_OTHER_FORMS),
        {"If_Modified_Since": "yesterday"},
        {"If_Unmodified_Since": "yesterday"},
        {"If_None_Match": '"other"', "If_Modified_Since": "Fri, 31 Dec 9999 23:59:59 GMT"},
    ):
        assert get(client, path, Range="bytes=0-0", **asked).status == 206, asked


def test_what_is_not_as_expected_is_412(client: RawClient, path: str) -> None:
    etag = get(client, path, Range="bytes=0-0").headers["ETag"]
    for asked in (
        {"If_Match": '"other"'},
        {"If_Match": f"W/{etag}"},
        {"If_Match": "not a tag"},
        {"If_Unmodified_Since": LONG_AGO},
        {"If_Match": '"other"', "Range": f"bytes={SIZE}-"},
        {"If_Match": '"other"', "If_None_Match": etag},
    ):
        answer = get(client, path, **asked)
        assert (answer.status, answer.code) == (412, "precondition_failed"), asked


def test_what_is_as_expected_is_sent(client: RawClient, path: str) -> None:
    first = get(client, path, Range="bytes=0-0")
    etag, modified = first.headers["ETag"], first.headers["Last-Modified"]
    for asked in (
        {"If_Match": etag},
        {"If_Match": f'"other", {etag}'},
        {"If_Match": "*"},
        {"If_Unmodified_Since": modified},
        {"If_Match": etag, "If_Unmodified_Since": LONG_AGO},
    ):
        assert get(client, path, Range="bytes=0-0", **asked).status == 206, asked


def test_if_range_keeps_a_range_to_what_was_seen(client: RawClient, path: str, body: bytes) -> None:
    first = get(client, path, Range="bytes=0-0")
    etag, modified = first.headers["ETag"], first.headers["Last-Modified"]
    for validator in (etag, modified):
        answer = get(client, path, Range="bytes=5-9", If_Range=validator)
        assert (answer.status, answer.body) == (206, body[5:10]), validator
    for validator in ('"other"', f"W/{etag}", LONG_AGO, "nonsense"):
        answer = get(client, path, Range="bytes=5-9", If_Range=validator)
        assert answer.status == 200, validator
        assert answer.body == body, validator
        beyond = get(client, path, Range=f"bytes={SIZE}-", If_Range=validator)
        assert beyond.status == 200, validator


# --- beside tus -----------------------------------------------------------------------------------


def test_head_stays_tuss(client: RawClient, path: str) -> None:
    answer = client.head(path, {"Range": "bytes=0-1"})
    assert (answer.status, answer.offset) == (200, SIZE)
    assert "Accept-Ranges" not in answer.headers


def test_a_method_that_is_not_there_is_told_which_are(client: RawClient, path: str) -> None:
    answer = client.request("PUT", path, {"Tus-Resumable": "1.0.0"})
    assert (answer.status, "get" in answer.headers.tokens("Allow")) == (405, True)


def test_a_connection_carries_one_download_after_another(client: RawClient, path: str) -> None:
    with client.connect() as connection:
        for _ in range(3):
            connection.send_head("GET", path)
            assert len(connection.read_response("GET").body) == SIZE


def test_a_get_with_a_body_does_not_upset_the_connection(client: RawClient) -> None:
    path = stored(client, b"abc")
    with client.connect() as connection:
        connection.send_head("GET", path, {"Content-Length": "5"})
        connection.send(b"GET /")
        assert connection.read_response("GET").body == b"abc"
        connection.send_head("GET", path)
        assert connection.read_response("GET").body == b"abc"
