"""An S3 that says what a test tells it to, and what puts objects into it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.opened_s3 import opened, options_for
from tests.support.scripted_s3 import ScriptedS3, scripted_s3
from tusd_s3.stores.s3 import S3Objects


@pytest.fixture
def sdk_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Credentials of nobody, and no other settings of the SDK's."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))


@pytest.fixture
async def s3() -> AsyncIterator[ScriptedS3]:
    """See the module."""
    async with scripted_s3() as s3:
        yield s3


@pytest.fixture
async def objects(s3: ScriptedS3) -> AsyncIterator[S3Objects]:
    """For tests in the `sdk_environment`."""
    async with opened(options_for(s3.endpoint)) as objects:
        yield objects
