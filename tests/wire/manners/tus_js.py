"""tus-js-client 4.3.1 as a script, with the header order of its HTTP stack for Node.

Its options of the same names are fields here. Waiting between attempts is left out: how often it
tries is what matters.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urljoin
from uuid import uuid4

from tests.support.raw import RawResponse
from tests.wire.manners.line import Line, Lost, Request

OCTET_STREAM = "application/offset+octet-stream"


class HttpError(Exception):
    """A request failed for this client; `status` is None if there was no answer."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(f"{message} (status {status})")
        self.status = status


@dataclass(slots=True)
class TusJs:
    """One upload.

    upload_length_deferred: the body is a stream. In Node its end is known with its last bytes, if
    they do not fill a chunk (if they do, the client itself waits for ever); in a browser it is
    known only afterwards.
    stored: its URL storage, which outlives it; the key is the file's fingerprint.
    """

    line: Line
    endpoint: str
    body: bytes
    chunk_size: int | None = None
    upload_url: str | None = None
    metadata: Mapping[str, object] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    override_patch_method: bool = False
    upload_data_during_creation: bool = False
    upload_length_deferred: bool = False
    remove_fingerprint_on_success: bool = False
    add_request_id: bool = False
    retry_delays: int = 4
    stored: dict[str, str] = field(default_factory=dict)
    url: str | None = None
    _size: int | None = None
    _offset: int = 0
    _offset_before_retry: int = 0
    _attempt: int = 0

    # --- what an application calls ----------------------------------------------------------------

    def upload(self) -> str:
        """Upload, with retries as the client makes them; the URL. Raises HttpError."""
        while True:
            try:
                self._start()
            except HttpError as error:
                if self._offset > self._offset_before_retry:
                    self._attempt = 0
                if self._attempt >= self.retry_delays or not self.should_retry(error):
                    raise
                self._attempt += 1
                self._offset_before_retry = self._offset
            else:
                if self.remove_fingerprint_on_success:
                    self.stored.clear()
                assert self.url is not None
                return self.url

    def resume_from_previous_upload(self) -> None:
        """Take up what `stored` knows."""
        self.url = self.stored.get("fingerprint")

    def terminate(self) -> None:
        """`abort(true)`."""
        response = self._send("DELETE", self.url or "", [])
        if response.status != 204:
            raise HttpError("unexpected response while terminating upload", response.status)
        self.stored.clear()

    def should_retry(self, error: HttpError) -> bool:
        """`onShouldRetry`: not after a 4xx, other than 409 and 423."""
        status = error.status or 0
        return not 400 <= status < 500 or status in {409, 423}

    # --- its steps --------------------------------------------------------------------------------

    def _start(self) -> None:
        self._size = None if self.upload_length_deferred else len(self.body)
        self.url = self.url or self.upload_url
        if self.url is None:
            self._create()
        else:
            self._resume()

    def _create(self) -> None:
        if self.upload_length_deferred:
            fields = [("Upload-Defer-Length", "1")]
        else:
            fields = [("Upload-Length", f"{len(self.body)}")]
        if self.metadata:
            fields.append(("Upload-Metadata", encode_metadata(self.metadata)))
        with_data = self.upload_data_during_creation and not self.upload_length_deferred
        self._offset = 0
        send = self._send_chunk if with_data else self._send
        response = send("POST", self.endpoint, fields)
        self._expect_success(response, "creating upload")
        location = self.read(response, "Location")
        if location is None:
            raise HttpError("invalid or missing Location header", response.status)
        self.url = urljoin(self.endpoint, location)
        if self._size == 0:
            return
        self.stored["fingerprint"] = self.url
        if with_data:
            self._offset = self._integer(response, "Upload-Offset")
        self._perform()

    def _resume(self) -> None:
        assert self.url is not None
        response = self._send("HEAD", self.url, [])
        if not 200 <= response.status < 300:
            if response.status == 423:
                raise HttpError("upload is currently locked", 423)
            if 400 <= response.status < 500:
                self.stored.clear()
            self.url = self.upload_url = None
            self._create()
            return
        self._offset = self._integer(response, "Upload-Offset")
        declared = self.read(response, "Upload-Length") is not None
        if declared or not self.upload_length_deferred:
            self._size = self._integer(response, "Upload-Length")
        self.stored["fingerprint"] = self.url
        self._perform()

    def _perform(self) -> None:
        assert self.url is not None
        while self._offset != self._size:
            method, fields = "PATCH", [("Upload-Offset", f"{self._offset}")]
            if self.override_patch_method:
                method = "POST"
                fields.insert(0, ("X-HTTP-Method-Override", "PATCH"))
            response = self._send_chunk(method, self.url, fields)
            self._expect_success(response, "uploading chunk")
            self._offset = self._integer(response, "Upload-Offset")

    def _send_chunk(self, method: str, url: str, fields: list[tuple[str, str]]) -> RawResponse:
        end = len(self.body) if self.chunk_size is None else self._offset + self.chunk_size
        chunk = self.body[self._offset : end]
        fields.append(("Content-Type", OCTET_STREAM))
        if self.upload_length_deferred and self.stream_is_done(chunk):
            self._size = self._offset + len(chunk)
            fields.append(("Upload-Length", f"{self._size}"))
        return self._send(method, url, fields, chunk)

    def stream_is_done(self, chunk: bytes) -> bool:
        """Whether it is known, with this chunk of a stream, that it is the last."""
        return self.chunk_size is None or len(chunk) < self.chunk_size

    def _expect_success(self, response: RawResponse, doing: str) -> None:
        if not 200 <= response.status < 300:
            raise HttpError(f"unexpected response while {doing}", response.status)

    def _integer(self, response: RawResponse, name: str) -> int:
        text = self.read(response, name)
        if text is None or not text.isdigit():
            raise HttpError(f"invalid or missing {name}", response.status)
        return int(text)

    # --- HTTP -------------------------------------------------------------------------------------

    def read(self, response: RawResponse, name: str) -> str | None:
        """A header of a response, as far as the client may see it."""
        return response.headers.get(name)

    def framed(
        self, method: str, fields: list[tuple[str, str]], body: bytes
    ) -> list[tuple[str, str]]:
        """The client's own fields, and those of the HTTP stack below it."""
        own = [*fields, ("Content-Length", f"{len(body)}")] if body else fields
        added = [("Host", self.line.host), ("Connection", "keep-alive")]
        if not body and method in {"POST", "PATCH"}:
            added.append(("Content-Length", "0"))
        return [*own, *added]

    def _send(
        self, method: str, url: str, fields: list[tuple[str, str]], body: bytes = b""
    ) -> RawResponse:
        own = [("Tus-Resumable", "1.0.0"), *self.headers.items()]
        if self.add_request_id:
            own.append(("X-Request-ID", f"{uuid4()}"))
        request = Request(method, url, self.framed(method, [*own, *fields], body), body)
        try:
            return self.line.ask(request)
        except Lost:
            raise HttpError(f"failed to {method}") from None


def encode_metadata(metadata: Mapping[str, object]) -> str:
    """An `Upload-Metadata` value; whatever is not a string becomes one."""
    return ",".join(
        f"{key} {base64.b64encode(str(value).encode()).decode()}" for key, value in metadata.items()
    )
