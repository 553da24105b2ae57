"""The ASGI application: where HTTP meets the engine, and where everything is put together."""

from tusd_s3.app.application import UploadsApp, create_app, serve_app
from tusd_s3.app.lifecycle import StartupError, check_stores

__all__ = ["StartupError", "UploadsApp", "check_stores", "create_app", "serve_app"]
