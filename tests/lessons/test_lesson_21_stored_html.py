"""Lesson 21: what a client stored becomes no page and no header of this server's origin."""

from __future__ import annotations

import pytest

from tests.support.tus import RawClient, metadata_of

PAGE = b"<html><script>fetch('/files/')</script>"
BREAKS = "a\r\nSet-Cookie: session=stolen\r\n\r\n<script>"


@pytest.mark.parametrize("key", ["filetype", "type", "contentType"])
@pytest.mark.parametrize("media_type", ["text/html", "image/svg+xml", "text/html;a=image/png"])
def test_lesson_21_an_uploaded_page_is_saved_and_not_shown(
    client: RawClient, key: str, media_type: str
) -> None:
    path = client.new_upload(len(PAGE), metadata=metadata_of({key: media_type}), body=PAGE)
    headers = client.request("GET", path).headers
    assert headers["Content-Disposition"].startswith("attachment")
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Content-Security-Policy"].startswith("sandbox;")


@pytest.mark.parametrize("key", ["filename", "name", "filetype", "type", "other"])
def test_lesson_21_metadata_breaks_out_of_no_header(client: RawClient, key: str) -> None:
    path = client.new_upload(len(PAGE), metadata=metadata_of({key: BREAKS}), body=PAGE)
    answer = client.request("GET", path)
    assert answer.body == PAGE
    assert "Set-Cookie" not in answer.headers
