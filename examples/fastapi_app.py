"""Uploads inside a FastAPI application of one's own.

    export TUSD_S3_S3_BUCKET=uploads TUSD_S3_REDIS_URL=redis://localhost:6379/0
    uvicorn examples.fastapi_app:app

Uploads are then created at /media/files/, beside the application's own routes.
"""

from __future__ import annotations

from fastapi import FastAPI

from tusd_s3 import create_app
from tusd_s3.config import load_settings

uploads = create_app(load_settings({"base_path": "/files/"}))

# A mounted application gets no lifespan events of its own: the host passes them on. One with a
# lifespan of its own enters `async with uploads.lifespan():` in it.
app = FastAPI(lifespan=uploads.lifespan)


@app.get("/")
def home() -> dict[str, str]:
    """A route of the application's own."""
    return {"uploads": "/media/files/"}


app.mount("/media", uploads)
