"""tus requests over `RawConnection`: what a plain, correct client would send, in one call each."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from tests.support.bodies import pieces
from tests.support.raw import HeaderItems, RawConnection, RawResponse
from tests.support.waiting import eventually

OCTET_STREAM = "application/offset+octet-stream"
TUS = {"Tus-Resumable": "1.0.0"}


def patch_headers(offset: int, length: int | None, extra: HeaderItems = ()) -> dict[str, str]:
    """Headers of a PATCH whose body has `length` bytes; None for a chunked body."""
    headers = {**TUS, "Upload-Offset": f"{offset}", "Content-Type": OCTET_STREAM}
    if length is None:
        headers["Transfer-Encoding"] = "chunked"
    else:
        headers["Content-Length"] = f"{length}"
    return headers | dict(extra)


def metadata_of(pairs: Mapping[str, str | bytes]) -> str:
    """An `Upload-Metadata` value."""

    def encoded(value: str | bytes) -> str:
        raw = value.encode() if isinstance(value, str) else value
        return base64.b64encode(raw).decode()

    return ",".join(f"{key} {encoded(value)}" for key, value in pairs.items())


@dataclass(frozen=True, slots=True)
class RawClient:
    """Speaks to one server. Every request has a connection of its own.

    address: host and port. base_path: of the collection, with its slashes.
    """

    address: tuple[str, int]
    base_path: str = "/files/"
    timeout_s: float = 15.0

    def connect(self, *, receive_buffer_bytes: int | None = None) -> RawConnection:
        """A new connection, for step-wise requests. receive_buffer_bytes: what the system keeps of
        what is not read, as far as it follows."""
        return RawConnection(self.address, self.timeout_s, receive_buffer_bytes)

    def request(
        self,
        method: str,
        target: str,
        headers: HeaderItems = (),
        body: bytes | None = None,
        *,
        chunks: Iterable[bytes] | None = None,
    ) -> RawResponse:
        """One request on a fresh connection. `body` goes out with Content-Length unless one is
        given, `chunks` as a chunked body."""
        pairs = list(headers.items() if isinstance(headers, Mapping) else headers)
        names = {name.lower() for name, _ in pairs}
        if body is not None and not names & {"content-length", "transfer-encoding"}:
            pairs.append(("Content-Length", f"{len(body)}"))
        if chunks is not None and "transfer-encoding" not in names:
            pairs.append(("Transfer-Encoding", "chunked"))
        with self.connect() as connection:
            connection.send_head(method, target, pairs)
            _send_body(connection, body, chunks)
            return connection.read_response(method)

    # --- shorthands: exactly one request each, whatever its answer --------------------------------

    def create(
        self,
        length: int | None,
        *,
        metadata: str | None = None,
        body: bytes | None = None,
        headers: HeaderItems = (),
    ) -> RawResponse:
        """POST: creation; None defers the length; a body makes it creation-with-upload."""
        fields = dict(TUS)
        if length is None:
            fields["Upload-Defer-Length"] = "1"
        else:
            fields["Upload-Length"] = f"{length}"
        if metadata is not None:
            fields["Upload-Metadata"] = metadata
        if body is not None:
            fields["Content-Type"] = OCTET_STREAM
        return self.request("POST", self.base_path, fields | dict(headers), body or b"")

    def head(self, path: str, headers: HeaderItems = ()) -> RawResponse:
        """HEAD of an upload."""
        return self.request("HEAD", path, TUS | dict(headers))

    def patch(self, path: str, offset: int, body: bytes, headers: HeaderItems = ()) -> RawResponse:
        """PATCH with a Content-Length."""
        return self.request("PATCH", path, patch_headers(offset, len(body), headers), body)

    def patch_chunked(
        self, path: str, offset: int, chunks: Iterable[bytes], headers: HeaderItems = ()
    ) -> RawResponse:
        """PATCH with a chunked body of no declared length."""
        return self.request("PATCH", path, patch_headers(offset, None, headers), chunks=chunks)

    def delete(self, path: str) -> RawResponse:
        """DELETE an upload."""
        return self.request("DELETE", path, TUS)

    # --- what tests need again and again; anything but success fails ------------------------------

    def new_upload(
        self, length: int | None, *, metadata: str | None = None, body: bytes | None = None
    ) -> str:
        """Create an upload; its path."""
        return path_of(self.create(length, metadata=metadata, body=body))

    def offset_of(self, path: str, *, within_s: float = 10.0) -> int:
        """The offset HEAD gives, asked again while the upload is locked (423)."""

        def answered() -> RawResponse | None:
            response = self.head(path)
            return None if response.status == 423 else response

        response = eventually(answered, within_s=within_s, what=f"HEAD {path} is not 423")
        assert response.status == 200, response
        return response.offset

    def upload_from(self, path: str, body: bytes, sizes: Sequence[int] | None = None) -> None:
        """Bring the upload from its present offset to the end of `body`, in PATCHes of `sizes`."""
        start = self.offset_of(path)
        rest = body[start:]
        for offset, piece in pieces(rest, sizes or [max(len(rest), 1)]):
            response = self.patch(path, start + offset, piece)
            assert response.status == 204, response
            assert response.offset == start + offset + len(piece)

    def begin_patch(
        self, path: str, offset: int, body: bytes, *, declared: int | None
    ) -> RawConnection:
        """Start a PATCH that announces `declared` bytes and send only `body` of them."""
        connection = self.connect()
        connection.send_head("PATCH", path, patch_headers(offset, declared))
        if declared is None and body:
            connection.send_chunk(body)
        else:
            connection.send(body)
        return connection


def path_of(created: RawResponse) -> str:
    """The path of the upload that a 201 names."""
    assert created.status == 201, created
    return urlsplit(created.headers["Location"]).path


def id_of(path: str) -> str:
    """The upload id at the end of a path."""
    return path.rsplit("/", 1)[1]


def _send_body(
    connection: RawConnection, body: bytes | None, chunks: Iterable[bytes] | None
) -> None:
    # A server that refuses may close before it has everything; its answer is what counts.
    try:
        if body:
            connection.send(body)
        for chunk in chunks or ():
            connection.send_chunk(chunk)
        if chunks is not None:
            connection.end_chunks()
    except (BrokenPipeError, ConnectionResetError):
        pass
