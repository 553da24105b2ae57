"""The page of `tusd-s3 dev` pins the very files that were published."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from importlib import resources

import pytest

from tests.clients.scripts import HERE

PAGE = resources.files("tusd_s3.devstack").joinpath("page.html").read_text("utf-8")
PACKAGE = HERE / "node_modules" / "uppy"


@pytest.mark.usefixtures("node")
@pytest.mark.parametrize("name", ["uppy.min.js", "uppy.min.css"])
def test_the_hashes_are_those_of_the_published_files(name: str) -> None:
    version = json.loads((PACKAGE / "package.json").read_text())["version"]
    digest = base64.b64encode(hashlib.sha384((PACKAGE / "dist" / name).read_bytes()).digest())
    source, integrity = f"npm/uppy@{version}/dist/{name}", f"sha384-{digest.decode()}"
    assert re.search(rf'{re.escape(source)}"\s+integrity="{re.escape(integrity)}"', PAGE)
