"""The application as others see it: served by the command, or mounted into a host's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext

from starlette.routing import Router
from starlette.types import ASGIApp, Receive, Scope, Send

from tusd_s3.app.allocator import (
    give_back_freed_memory,
    open_as_many_files_as_allowed,
    spare_what_is_there,
)
from tusd_s3.app.downloads import Download, DownloadManners
from tusd_s3.app.endpoints import Collection, NotFound, Resource
from tusd_s3.app.inbox import BUDGET_KEY, PACE_KEY
from tusd_s3.app.lifecycle import Running, check_stores, draining_on_signals, running
from tusd_s3.app.paths import Paths
from tusd_s3.app.progress import ProgressResource
from tusd_s3.budget import MemoryBudget
from tusd_s3.config import Settings
from tusd_s3.downloads import Downloads
from tusd_s3.engine import Uploads
from tusd_s3.middleware.cors import with_cors
from tusd_s3.middleware.forwarded import ForwardedMiddleware
from tusd_s3.middleware.resumable import ResumableMiddleware
from tusd_s3.pace import Pace
from tusd_s3.progress import Watching
from tusd_s3.protocol import tus1


class UploadsApp:
    """An ASGI application that takes uploads below `settings.base_path`.

    Mounted into a host application, its `lifespan` must be entered by the host's, because mounted
    applications get no lifespan events of their own:

        uploads = create_app(settings)
        app = FastAPI(lifespan=uploads.lifespan)
        app.mount("/uploads", uploads)
    """

    def __init__(self, settings: Settings, *, own_process: bool = False) -> None:
        self._settings = settings
        self._own_process = own_process
        self._running: Running | None = None
        self._budget = MemoryBudget(settings.memory_budget, settings.s3_part_size)
        self._pace = Pace()
        self._app = self._layers(self._router())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI: lifespan and http."""
        await self._app(scope, receive, send)

    @asynccontextmanager
    async def lifespan(self, _: object = None) -> AsyncIterator[dict[str, object]]:
        """Connect to S3 and Redis for the time of the block; record what arrived at its end.

        Yields what an HTTP server of ours needs of the state (ASGI, lifespan state).

        Raises StartupError when they cannot be used as they are.
        """
        if self._own_process:
            give_back_freed_memory()
            open_as_many_files_as_allowed()
        else:
            # The command has checked already, once for all its workers. One that is restarted
            # later must come up even while a store is away.
            await check_stores(self._settings)
        async with running(self._settings, self._budget, self._pace) as running_now:
            self._running = running_now
            if self._own_process:
                spare_what_is_there()
            # Signals belong to whoever owns the process.
            hooks = (
                draining_on_signals(running_now.begin_drain) if self._own_process else nullcontext()
            )
            try:
                with hooks:
                    yield {BUDGET_KEY: self._budget, PACE_KEY: self._pace}
            finally:
                self._running = None

    def _engine(self) -> Uploads:
        return self._at_work().uploads

    def _downloads(self) -> Downloads:
        downloads = self._at_work().downloads
        assert downloads is not None  # nothing leads here where they are off
        return downloads

    def _watching(self) -> Watching:
        return self._at_work().watching

    def _at_work(self) -> Running:
        if self._running is None:
            raise RuntimeError(
                "The application is not running: its lifespan was not entered."
                " A host application passes lifespan=uploads.lifespan."
            )
        return self._running

    def _router(self) -> ASGIApp:
        settings = self._settings
        max_bytes = settings.max_upload_bytes
        collection = Collection(
            self._engine, max_bytes, self._budget, settings.base_path, settings.public_url
        )
        resource = self._resource(max_bytes)
        progress = ProgressResource(
            self._engine, self._watching, max_bytes, self._budget, settings.network_timeout
        )
        other = Router(
            redirect_slashes=False,
            default=NotFound(self._engine, max_bytes, self._budget),
            lifespan=self.lifespan,
        )
        base = settings.base_path.rstrip("/")
        return Paths(base, collection=collection, resource=resource, progress=progress, other=other)

    def _resource(self, max_bytes: int) -> ASGIApp:
        settings = self._settings
        if settings.downloads == "off":
            return Resource(self._engine, max_bytes, self._budget)
        manners = DownloadManners(
            is_redirected=settings.downloads == "redirect",
            stall_s=settings.network_timeout,
            is_ours=self._own_process,
            pace=self._pace,
        )
        resource = Resource(self._engine, max_bytes, self._budget, also=("GET",))
        return Download(resource, self._downloads, self._engine, max_bytes, self._budget, manners)

    def _layers(self, app: ASGIApp) -> ASGIApp:
        settings = self._settings
        app = ForwardedMiddleware(app, settings.trusted_proxies)
        app = with_cors(
            app,
            allow_origin=settings.cors_allow_origin,
            allow_credentials=settings.cors_allow_credentials,
            allow_headers=settings.cors_allow_headers,
            expose_headers=settings.cors_expose_headers,
            max_age_s=settings.cors_max_age,
        )
        return ResumableMiddleware(app, tus1.VERSION)


def create_app(settings: Settings) -> UploadsApp:
    """The application, to be served as it is or mounted into a Starlette or FastAPI application."""
    return UploadsApp(settings)


def serve_app(settings: Settings) -> UploadsApp:
    """The application for a server process of its own: it records what arrived as soon as the
    process is told to stop."""
    return UploadsApp(settings, own_process=True)
