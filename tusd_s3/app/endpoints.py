"""The two resources: the collection, where uploads are made, and an upload.

Both are plain ASGI: method and headers in, a use case of the engine, a response out. What a header
means is `protocol`'s business; here is only which question goes where, and what order they are
asked in: method, version, id, headers, and only then the body.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from starlette.types import Receive, Scope, Send

from tusd_s3 import errors
from tusd_s3.app.body import AsgiBody
from tusd_s3.app.respond import respond
from tusd_s3.budget import MemoryBudget
from tusd_s3.engine import Uploads
from tusd_s3.middleware.forwarded import FORWARDED_KEY
from tusd_s3.model.upload import UploadId, parse_upload_id
from tusd_s3.protocol import tus1
from tusd_s3.protocol.fields import Fields
from tusd_s3.protocol.location import public_base
from tusd_s3.protocol.message import Response

logger = logging.getLogger("tusd_s3.app")


class Endpoint:
    """What both resources share: an error becomes a response, whatever raised it."""

    allow: tuple[str, ...] = ()

    def __init__(
        self, uploads: Callable[[], Uploads], max_upload_bytes: int, budget: MemoryBudget
    ) -> None:
        self._uploads = uploads
        self._max_upload_bytes = max_upload_bytes
        self._budget = budget

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        fields = Fields(scope["headers"])
        body = AsgiBody(
            scope,
            receive,
            self._budget,
            expected=_announces_body(fields),
            awaits_continue="Expect" in fields,
        )
        try:
            answer = await self._answer(scope, fields, body)
            await self.send(answer, scope, receive, body, send)
        finally:
            body.close()

    async def _answer(self, scope: Scope, fields: Fields, body: AsgiBody) -> Response:
        try:
            method = tus1.effective_method(scope["method"], fields)
            if method not in self.allow:
                raise errors.MethodNotAllowed(self.allow)
            tus1.check_version(method, fields)
            _refuse_upgrade(fields, body)
            if method == "OPTIONS":
                return tus1.render_options(max_bytes=self._max_upload_bytes)
            return await self.handle(method, scope, fields, body)
        except errors.UploadError as error:
            if error.status >= 500:
                clients = isinstance(error, errors.BodyTimedOut | errors.BodyCutShort)
                level = logging.INFO if clients else logging.WARNING
                logger.log(level, "%s %s: %s", scope["method"], scope["path"], error.code)
            return tus1.render_error(error)
        except Exception:
            # The last resort: a defect of ours must still be a response with CORS headers, or a
            # browser shows a network error instead of it.
            logger.exception("%s %s failed", scope["method"], scope["path"])
            return tus1.render_error(errors.UploadError())

    async def handle(
        self, method: str, /, scope: Scope, fields: Fields, body: AsgiBody
    ) -> Response:
        """Do what an allowed method asks."""
        raise NotImplementedError

    async def send(
        self, response: Response, scope: Scope, _receive: Receive, body: AsgiBody, send: Send
    ) -> None:
        """Send the answer."""
        await respond(response, scope, body, send)


class Collection(Endpoint):
    """Where uploads are made."""

    allow = ("POST", "OPTIONS")

    def __init__(
        self,
        uploads: Callable[[], Uploads],
        max_upload_bytes: int,
        budget: MemoryBudget,
        base_path: str,
        public_url: str | None,
    ) -> None:
        super().__init__(uploads, max_upload_bytes, budget)
        self._base_path = base_path
        self._public_url = public_url

    async def handle(
        self, _method: str, /, scope: Scope, fields: Fields, body: AsgiBody
    ) -> Response:
        """POST (tus creation)."""
        request = tus1.parse_create(
            fields, max_bytes=self._max_upload_bytes, trailers=body.trailers
        )
        # Before anything is made: without a usable address the client could not find it.
        base = self._location_base(scope, fields)
        upload = await self._uploads().create(request, body)
        return tus1.render_created(f"{base}/{upload.id}", upload)

    def _location_base(self, scope: Scope, fields: Fields) -> str:
        return public_base(
            scheme=scope["scheme"],
            host=fields.get("Host") or "",
            path_prefix=scope.get("root_path", "") + self._base_path,
            forwarded=scope.get(FORWARDED_KEY),
            public_url=self._public_url,
        )


class Resource(Endpoint):
    """One upload. also: methods that another endpoint serves at the same address."""

    def __init__(
        self,
        uploads: Callable[[], Uploads],
        max_upload_bytes: int,
        budget: MemoryBudget,
        *,
        also: tuple[str, ...] = (),
    ) -> None:
        super().__init__(uploads, max_upload_bytes, budget)
        self.allow = (*also, "HEAD", "PATCH", "DELETE", "OPTIONS")

    async def handle(
        self, method: str, /, scope: Scope, fields: Fields, body: AsgiBody
    ) -> Response:
        """HEAD, PATCH (tus core), DELETE (tus termination)."""
        upload_id = requested_upload(scope)
        if method == "HEAD":
            return tus1.render_status(await self._uploads().inspect(upload_id))
        if method == "DELETE":
            await self._uploads().terminate(upload_id)
            return tus1.render_terminated()
        request = tus1.parse_append(fields, trailers=body.trailers)
        return tus1.render_appended(await self._uploads().append(upload_id, request, body))


class NotFound(Endpoint):
    """Every other path."""

    async def _answer(self, _scope: Scope, _fields: Fields, _body: AsgiBody) -> Response:
        return tus1.render_error(errors.NotFound())


def _refuse_upgrade(fields: Fields, body: AsgiBody) -> None:
    """Refuse a body behind an offer of another protocol.

    Our own HTTP server declines such offers unseen. uvicorn's takes the body for the next request:
    where it serves a host application of ours, the connection must not go on.
    """
    if body.is_pending and "Upgrade" in fields:
        raise errors.InvalidHeader("Upgrade", "expected no offer of another protocol with a body")


def _announces_body(fields: Fields) -> bool:
    """Whether a body follows the headers (RFC 9112, 6.3)."""
    # As it came, however long: this must not fail, even where nothing else is looked at.
    length = fields.get_list("Content-Length") or ""
    return "Transfer-Encoding" in fields or length.strip("0") != ""


def requested_upload(scope: Scope) -> UploadId:
    """The id in the path. Raises UploadNotFound for what cannot be one."""
    upload_id = parse_upload_id(scope["path_params"]["upload_id"])
    if upload_id is None:
        raise errors.UploadNotFound
    return upload_id
