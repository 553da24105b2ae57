"""Uppy's Dashboard in Chromium, on the page of `tusd-s3 dev`, over a network that breaks."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.conftest import RunScript
from tests.clients.dev_server import DevServer, dev_server
from tests.clients.scripts import Said
from tests.support.bodies import MIB, body_of
from tests.support.tcp_proxy import TcpProxy
from tests.support.waiting import eventually

LENGTH = 24 * MIB + 789
CUT_AFTER_BYTES = LENGTH * 2 // 5
# What was on its way when the connection was cut, and everything that is not the file.
LOST_MAX_BYTES = 2 * MIB
SLOW_BYTES_PER_S = 2 * MIB


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevServer]:
    """The server, its stores and its page."""
    with dev_server(tmp_path_factory.mktemp("dev")) as server:
        yield server


@pytest.fixture
def network(dev: DevServer) -> Iterator[TcpProxy]:
    """The way to it."""
    proxy = TcpProxy(("127.0.0.1", dev.port))
    proxy.start()
    yield proxy
    proxy.stop()


@pytest.mark.parametrize("then", ["wait", "reopen", "reselect"])
def test_an_upload_goes_on_after_the_network_broke(
    dev: DevServer,
    network: TcpProxy,
    script: RunScript,
    chromium: str,
    tmp_path: Path,
    then: str,
) -> None:
    """On the same page, on one that was opened anew, and on one that has lost the file."""
    body = body_of(LENGTH, seed=len(then))
    file = tmp_path / f"{then}.bin"
    file.write_bytes(body)
    known = finished(dev)
    page = script(
        "browser/uppy.mjs",
        chromium=chromium,
        page=f"{network.url}/",
        path=str(file),
        screenshots=str(tmp_path),
        then=then,
    )
    network.cut_after(CUT_AFTER_BYTES, goes_down=True)
    eventually(lambda: network.is_cut, within_s=40.0, what="the upload is under way")
    page.go_on()
    page.expect("cut")
    network.up()
    sent_bytes = network.sent_bytes
    page.go_on()
    result = page.finish(within_s=60.0)

    assert_resumed(result)
    assert network.sent_bytes - sent_bytes < LENGTH - CUT_AFTER_BYTES + LOST_MAX_BYTES
    (key,) = finished(dev) - known
    stored = dev.bucket.body(key)
    assert hashlib.sha256(stored).digest() == hashlib.sha256(body).digest()
    assert [key, "24.0 MiB"] in [row[:2] for row in result["finished"]]
    assert_nothing_wrong(result)


def test_a_second_tab_shows_the_upload_to_its_end(
    network: TcpProxy, script: RunScript, chromium: str, tmp_path: Path
) -> None:
    """By the link that the page gives, on a screen as narrow as a phone's."""
    file = tmp_path / "holiday.bin"
    file.write_bytes(body_of(LENGTH))
    network.slow_down(SLOW_BYTES_PER_S)
    page = script(
        "browser/watch.mjs",
        chromium=chromium,
        page=f"{network.url}/",
        path=str(file),
        screenshots=str(tmp_path),
    )
    during = page.expect("watching", within_s=60.0)
    assert (during["name"], during["state"]) == ("holiday.bin", "Uploading")
    assert 0 < during["value"] < 1
    network.slow_down(None)
    page.go_on()
    result = page.finish(within_s=60.0)
    assert result["after"] == {
        "name": "holiday.bin", "state": "Complete", "figures": "24.0 MiB of 24.0 MiB · 100 %",
        "value": 1,
    }  # fmt: skip
    assert result["width"] <= 360
    assert result["hostile"] == "<b>x"
    assert result["problems"] == result["elsewhere"] == []


def finished(dev: DevServer) -> set[str]:
    """Keys of all uploads that are complete."""
    return {key for key in dev.bucket.keys("") if not key.startswith(".tus/")}


def assert_resumed(result: Said) -> None:
    """One upload was made, and it went on about where it was cut."""
    answered = [sent["method"] for sent in (*result["before"], *result["after"])]
    assert answered.count("POST") == 1
    assert [sent["method"] for sent in result["after"]] == ["HEAD", "PATCH"]
    offset = int(result["after"][1]["offset"])
    assert CUT_AFTER_BYTES - LOST_MAX_BYTES < offset <= CUT_AFTER_BYTES


def assert_nothing_wrong(result: Said) -> None:
    """The page asked nobody else, and complained about the network only."""
    assert result["elsewhere"] == []
    assert [text for text in result["problems"] if "net::ERR_" not in text] == []
