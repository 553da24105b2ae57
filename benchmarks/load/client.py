"""tus requests over a `Wire`, each checked: status, and the offset that the server gives."""

from __future__ import annotations

import threading
from base64 import b64encode
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

from benchmarks.load import payload
from benchmarks.load.job import Finished, Job, Outcome
from benchmarks.load.wire import LoadError, Response, Wire

SOCKET_TIMEOUT_S: Final = 60.0
_METADATA: Final = b"Upload-Metadata: filename %s,filetype YXBwbGljYXRpb24vb2N0ZXQtc3RyZWFt\r\n"
"""As browsers' clients send it, with a name of its own for each; one of the peers answers no HEAD
without."""
_OCTETS: Final = b"Content-Type: application/offset+octet-stream\r\n"
_JOINED_MAX_BYTES: Final = 64 * 1024
"""Up to here head and body go out in one piece, as any client would send them."""


class Client:
    """One connection that speaks tus."""

    def __init__(self, job: Job) -> None:
        self._base_path = job.base_path
        self._common = b"Host: 127.0.0.1:%d\r\nTus-Resumable: 1.0.0\r\n" % job.port
        self._created = 0
        self.wire = Wire(job.port, min(SOCKET_TIMEOUT_S, job.deadline_s))

    def create(self, size: int, *, phase: int | None = None) -> str:
        """POST; the upload's path. With a phase, the whole body goes along."""
        self._created += 1
        head = b"POST %s HTTP/1.1\r\n%s%sUpload-Length: %d\r\n" % (
            self._base_path.encode(),
            self._common,
            _METADATA % b64encode(b"body-%06d.bin" % self._created),
            size,
        )
        if phase is None:
            self.wire.send([head + b"Content-Length: 0\r\n\r\n"])
        else:
            self._send(head + _OCTETS + b"Content-Length: %d\r\n\r\n" % size, phase, 0, size)
        response = self.wire.response("POST")
        _expect(response, 201, "POST")
        if phase is not None and (offset := response.number(b"upload-offset")) != size:
            raise LoadError(f"POST: 201 with Upload-Offset {offset}, not {size}")
        if not (location := response.headers.get(b"location")):
            raise LoadError("201 without a Location")
        return _path_of(location.decode(), self._base_path)

    def patch(self, path: str, phase: int, start: int, end: int) -> None:
        """PATCH with bytes [start, end)."""
        self.send_patch(path, phase, start, end)
        self.expect_patched(end)

    def send_patch(
        self, path: str, phase: int, start: int, end: int, *, stop: int | None = None
    ) -> None:
        """The request without its answer. With `stop`, its body ends there, too early."""
        head = b"PATCH %s HTTP/1.1\r\n%s%sUpload-Offset: %d\r\nContent-Length: %d\r\n\r\n" % (
            path.encode(),
            self._common,
            _OCTETS,
            start,
            end - start,
        )
        self._send(head, phase, start, end if stop is None else stop)

    def expect_patched(self, end: int) -> None:
        """The answer to a PATCH that ends at `end`."""
        response = self.wire.response("PATCH")
        _expect(response, 204, "PATCH")
        if (offset := response.number(b"upload-offset")) != end:
            raise LoadError(f"PATCH: 204 with Upload-Offset {offset}, not {end}")

    def head(self, path: str) -> Response:
        """HEAD, whatever its answer."""
        self.wire.send([b"HEAD %s HTTP/1.1\r\n%s\r\n" % (path.encode(), self._common)])
        return self.wire.response("HEAD")

    def get(self, path: str) -> Response:
        """GET of an upload; its answer without the body, which is the wire's to read."""
        self.wire.send([b"GET %s HTTP/1.1\r\n%s\r\n" % (path.encode(), self._common)])
        response = self.wire.begin("GET")
        _expect(response, 200, "GET")
        return response

    def offset_of(self, path: str) -> int:
        """The offset by HEAD, which must succeed."""
        response = self.head(path)
        _expect(response, 200, "HEAD")
        if (offset := response.number(b"upload-offset")) is None:
            raise LoadError("HEAD without an Upload-Offset")
        return offset

    def upload(self, index: int, size: int) -> Finished:
        """POST, and one PATCH with everything."""
        phase = payload.phase_of(index)
        path = self.create(size)
        self.patch(path, phase, 0, size)
        return Finished(path, size, phase)

    def _send(self, head: bytes, phase: int, start: int, end: int) -> None:
        if end - start <= _JOINED_MAX_BYTES:
            self.wire.send([head + b"".join(payload.pieces(phase, start, end))])
        else:
            self.wire.send([head])
            self.wire.send(payload.pieces(phase, start, end))


def side_by_side(count: int, work: Callable[[int], Outcome]) -> Outcome:
    """Run `work(0)` … `work(count - 1)` in threads of their own; the sum of what came of them.

    Raises: LoadError, the first one of any.
    """
    outcomes: list[Outcome] = []
    errors: list[Exception] = []

    def run(index: int) -> None:
        try:
            outcomes.append(work(index))
        except Exception as error:  # whatever it is, it must end the job and not the thread alone
            errors.append(error)

    threads = [threading.Thread(target=run, args=(index,), daemon=True) for index in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return Outcome(
        requests=sum(one.requests for one in outcomes),
        body_bytes=sum(one.body_bytes for one in outcomes),
        finished=[item for one in outcomes for item in one.finished],
    )


def _expect(response: Response, status: int, method: str) -> None:
    if response.status != status:
        raise LoadError(f"{method}: {response}")


def _path_of(location: str, base_path: str) -> str:
    path = urlsplit(location).path
    return path if path.startswith("/") else f"{base_path.rstrip('/')}/{path}"
