"""What a stranger uploaded does no harm to whoever opens it."""

from __future__ import annotations

from urllib.parse import unquote

import pytest

from tests.support.raw import RawResponse
from tests.support.tus import RawClient, metadata_of
from tests.support.world import World

PAGE = b"<!doctype html><script>alert(document.domain)</script>"


def handed_out(client: RawClient, **metadata: str | bytes) -> RawResponse:
    path = client.new_upload(len(PAGE), metadata=metadata_of(metadata) or None)
    client.upload_from(path, PAGE)
    answer = client.request("GET", path)
    assert (answer.status, answer.body) == (200, PAGE)
    return answer


def kind_of(answer: RawResponse) -> str:
    return answer.headers["Content-Disposition"].partition(";")[0]


@pytest.mark.parametrize(
    "media_type",
    [
        *("video/mp4", "video/webm", "audio/mpeg", "audio/ogg", "image/png", "image/jpeg"),
        *("image/webp", "image/avif", "text/plain", "text/plain; charset=utf-8", "VIDEO/MP4"),
    ],
)
def test_what_cannot_run_script_is_shown(client: RawClient, media_type: str) -> None:
    answer = handed_out(client, filetype=media_type)
    assert (kind_of(answer), answer.headers["Content-Type"]) == ("inline", media_type)


@pytest.mark.parametrize(
    "media_type",
    [
        *("text/html", "TEXT/HTML", "image/svg+xml", "application/xhtml+xml", "text/xml"),
        *("application/pdf", "multipart/x-mixed-replace", "application/json", "video/x-unheard-of"),
        *("text/html; a=video/mp4", "text/html;video/mp4", "", "nonsense", "text/html\r\nX-A: b"),
    ],
)
def test_everything_else_is_an_attachment(client: RawClient, media_type: str) -> None:
    assert kind_of(handed_out(client, filetype=media_type)) == "attachment"


@pytest.mark.parametrize(
    "media_type",
    ["text/javascript", "application/x-javascript; a=b", "text/ecmascript1.5", "text/css",
     "application/wasm"],
)  # fmt: skip
def test_what_another_page_could_name_as_its_script_loses_its_type(
    client: RawClient, media_type: str
) -> None:
    answer = handed_out(client, filetype=media_type)
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert kind_of(answer) == "attachment"


def test_every_answer_is_held_to_its_type_and_to_no_origin(client: RawClient) -> None:
    for metadata in ({}, {"filetype": "text/html"}, {"filetype": "video/mp4"}):
        answer = handed_out(client, **metadata)
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        policy = [part.strip() for part in answer.headers["Content-Security-Policy"].split(";")]
        assert {"sandbox", "default-src 'none'"} <= set(policy)
        assert not [part for part in policy if part.startswith("script-src")]
        assert answer.headers["Cache-Control"] == "private, no-cache"


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("film.mp4", "film.mp4"),
        ("\u30d5\u30a3\u30eb\u30e0 \u4e00.mp4", "____ _.mp4"),
        ("\u0641\u064a\u0644\u0645.mp4", "____.mp4"),
        ("\U0001f3ac.mp4", "_.mp4"),
        ("a\"b;c=d%41'.mp4", "a_b;c=d_41'.mp4"),
        ("na\u00efve \u20ac.txt", "na_ve _.txt"),
    ],
)
def test_a_name_in_any_script(client: RawClient, name: str, plain: str) -> None:
    said = handed_out(client, filename=name, filetype="video/mp4").headers["Content-Disposition"]
    assert said.isascii()
    kind, filename, extended = said.split("; ", 2) if ";" not in plain else _split(said, plain)
    assert (kind, filename) == ("inline", f'filename="{plain}"')
    assert unquote(extended.removeprefix("filename*=UTF-8''")) == name


def _split(said: str, plain: str) -> tuple[str, str, str]:
    kind, rest = said.split("; ", 1)
    filename = f'filename="{plain}"'
    assert rest.startswith(f"{filename}; ")
    return kind, filename, rest.removeprefix(f"{filename}; ")


@pytest.mark.parametrize("line", ["\r\n", "\n", "\r", "\0", "\x85", "\u2028"])
@pytest.mark.parametrize("key", ["filename", "filetype", "note"])
def test_metadata_makes_no_header(client: RawClient, key: str, line: str) -> None:
    answer = handed_out(client, **{key: f"a{line}Set-Cookie: b=c{line}{line}<script>"})
    names = {name.lower() for name, _ in answer.headers.items}
    assert "set-cookie" not in names
    assert not [value for _, value in answer.headers.items if not value.isprintable()]


def test_no_name_is_no_name(client: RawClient) -> None:
    assert handed_out(client).headers["Content-Disposition"] == "attachment"


def test_what_others_put_in_its_place_says_nothing_of_its_own(world: World) -> None:
    """Type and name are passed on only as this server writes them."""
    client = world.client
    path = client.new_upload(len(PAGE), metadata=metadata_of({"filetype": "video/mp4"}))
    client.upload_from(path, PAGE)
    world.bucket.client.put_object(
        Bucket=world.bucket.name,
        Key=world.key_of(path),
        Body=PAGE,
        ContentType="not a type",
        ContentDisposition="inline; filename=a.html",
    )
    answer = client.request("GET", path)
    assert answer.headers["Content-Disposition"] == "attachment"
    assert answer.headers["Content-Type"] == "application/octet-stream"
