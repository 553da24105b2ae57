"""Downloads by what people download with: a browser's <video>, and curl."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.clients.conftest import RunScript, missing
from tests.clients.scripts import Said
from tests.support.bodies import MIB, body_of
from tests.support.server import ServerProcess
from tests.support.tus import metadata_of
from tests.support.world import World

SECONDS = 40
SEEK_TO = 33
PAUSE_S = 3
"""Longer than the server's network timeout here: the player's connection is cut meanwhile."""


@pytest.fixture(scope="session")
def film(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A film whose index stands behind the pictures, as cameras write it: who wants to play it must
    first read its end."""
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None:
        missing("ffmpeg is not on the PATH")
    file = tmp_path_factory.mktemp("film") / "film.mp4"
    source = f"testsrc2=size=640x360:rate=25:duration={SECONDS}"
    command = [ffmpeg, "-v", "error", "-f", "lavfi", "-i", source]
    command += ["-f", "lavfi", "-i", f"sine=frequency=440:duration={SECONDS}"]
    # Every picture by itself and noise in it: as many bytes as a real film.
    command += ["-c:v", "libx264", "-preset", "ultrafast", "-b:v", "6M", "-minrate", "6M"]
    command += ["-maxrate", "6M", "-bufsize", "6M", "-nal-hrd", "cbr", "-g", "25"]
    command += ["-pix_fmt", "yuv420p", "-c:a", "aac", str(file)]
    subprocess.run(command, check=True, timeout=120)
    body = file.read_bytes()
    assert body.rindex(b"moov") > body.index(b"mdat")
    return body


def test_a_film_is_played_and_sought(
    world: World, server: ServerProcess, script: RunScript, chromium: str, film: bytes
) -> None:
    metadata = metadata_of({"filename": "film.mp4", "filetype": "video/mp4"})
    path = world.client.new_upload(len(film), metadata=metadata)
    world.client.upload_from(path, film)
    url = f"http://127.0.0.1:{server.port}{path}"
    job = {"chromium": chromium, "url": url, "seekTo": SEEK_TO, "pauseFor": PAUSE_S}
    result = script("browser/video.mjs", **job).finish(within_s=60)
    assert result["problems"] == []
    assert "broken off: TimeoutError" in server.log()  # during the pause
    for seen in (result["seen"], result["alone"]):
        assert (seen["width"], seen["height"]) == (640, 360)
        assert seen["duration"] == pytest.approx(SECONDS, abs=0.5)
        assert (seen["begun"], seen["sought"]) >= (0.2, SEEK_TO + 0.2)
    for answer in (*result["embedded"], *result["direct"]):
        assert_range_is_whats_asked(answer, len(film))
    starts = [int(answer["asked"].removeprefix("bytes=")[:-1]) for answer in result["embedded"]]
    assert starts[0] == 0
    # The index first, which is at the end; then forward to what was sought.
    assert max(starts) > 0.9 * len(film)


def assert_range_is_whats_asked(answer: Said, length: int) -> None:
    if answer["asked"] is None:  # of a page that opens it by itself, the first one
        assert (answer["status"], answer["range"]) == (200, None)
        return
    asked = re.fullmatch(r"bytes=(\d+)-(\d*)", answer["asked"])
    assert asked is not None, answer
    first, last = int(asked[1]), int(asked[2] or length - 1)
    assert answer["status"] == 206, answer
    assert answer["range"] == f"bytes {first}-{last}/{length}"
    assert answer["length"] == f"{last - first + 1}"


def test_curl_goes_on_where_it_was_broken_off(
    world: World, server: ServerProcess, tmp_path: Path
) -> None:
    curl = shutil.which("curl")
    if curl is None:
        missing("curl is not on the PATH")
    body, file = body_of(12 * MIB + 345), tmp_path / "got.bin"
    name = "\u30d5\u30a3\u30eb\u30e0.bin"
    path = world.client.new_upload(len(body), metadata=metadata_of({"filename": name}))
    world.client.upload_from(path, body)
    url = f"http://127.0.0.1:{server.port}{path}"
    quiet = [curl, "-sS", "--fail", "--noproxy", "*", "--max-time", "30"]
    first = subprocess.run(
        [*quiet, "--max-filesize", f"{64 * MIB}", "-r", f"0-{5 * MIB}", "-o", str(file), url],
        check=False,
    )
    assert (first.returncode, file.stat().st_size) == (0, 5 * MIB + 1)
    subprocess.run([*quiet, "-C", "-", "-o", str(file), url], check=True)
    assert file.read_bytes() == body
    # By its own name, as far as curl can read it.
    subprocess.run([*quiet, "-O", "-J", url], check=True, cwd=tmp_path)
    assert (tmp_path / "____.bin").read_bytes() == body
