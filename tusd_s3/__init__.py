"""A server for the tus resumable upload protocol that puts uploads into S3.

from tusd_s3 import Settings, create_app
app = create_app(Settings(s3_bucket="uploads", redis_url="redis://localhost:6379/0"))
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "0.1.0"
__all__ = ["Settings", "__version__", "create_app"]

if TYPE_CHECKING:
    from tusd_s3.app import create_app
    from tusd_s3.config import Settings


def __getattr__(name: str) -> object:
    """Load on first use: `tusd-s3 --help` and a wrong flag need not wait for the S3 SDK."""
    if name == "create_app":
        from tusd_s3.app import create_app  # noqa: PLC0415 - see above

        return create_app
    if name == "Settings":
        from tusd_s3.config import Settings  # noqa: PLC0415 - see above

        return Settings
    raise AttributeError(name)
