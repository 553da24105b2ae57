"""The HTTP server around the application: uvicorn, with what it leaves open closed."""

from tusd_s3.serving.server import ListenError, listen, origin_of, server_config

__all__ = ["ListenError", "listen", "origin_of", "server_config"]
