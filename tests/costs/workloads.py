"""What is counted: the requests of plain clients, on a connection that stays open.

Each request goes out in one piece, and the next one when it was answered: how many bytes the server
finds when it reads is then as much the same from run to run as the kernel allows.
"""

from __future__ import annotations

import itertools
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from tests.support.bodies import KIB, MIB, PART_BYTES, body_of
from tests.support.raw import RawConnection, RawResponse
from tests.support.tus import OCTET_STREAM, TUS, patch_headers, path_of

BASE_PATH: Final = "/files/"
_BEFORE_BYTES: Final = PART_BYTES + MIB
_BEHIND_BYTES: Final = 2 * PART_BYTES
_METADATA: Final = "filename {name},filetype YXBwbGljYXRpb24vb2N0ZXQtc3RyZWFt"
"""As browsers' clients send it."""
_NUMBERS: Final = itertools.count()
"""In the names of files: no two are the same."""


@dataclass(frozen=True, slots=True)
class Requests:
    """Correct requests over one connection. An answer that is not a success fails."""

    connection: RawConnection

    def create(self, length: int, body: bytes = b"") -> str:
        """POST; the upload's path."""
        name = b64encode(b"body-%06d.bin" % next(_NUMBERS)).decode()
        metadata = _METADATA.format(name=name)
        fields = TUS | {"Upload-Length": f"{length}", "Upload-Metadata": metadata}
        if body:
            fields["Content-Type"] = OCTET_STREAM
        fields["Content-Length"] = f"{len(body)}"
        return path_of(self._ask("POST", BASE_PATH, fields, body))

    def patch(self, path: str, offset: int, body: bytes) -> None:
        """PATCH."""
        answer = self._ask("PATCH", path, patch_headers(offset, len(body)), body)
        assert (answer.status, answer.offset) == (204, offset + len(body)), answer

    def head(self, path: str) -> None:
        """HEAD."""
        assert self._ask("HEAD", path, TUS).status == 200

    def get(self, path: str, body: bytes) -> None:
        """GET."""
        answer = self._ask("GET", path, {})
        assert (answer.status, answer.body) == (200, body), answer

    def _ask(
        self, method: str, target: str, fields: Mapping[str, str], body: bytes = b""
    ) -> RawResponse:
        self.connection.send(self.connection.head_bytes(method, target, fields) + body)
        return self.connection.read_response(method)


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """`operations` requests, or pairs of them, that belong together.

    prepare: makes what they need, and is not counted; the path of an upload, or nothing.
    run: all of them.
    """

    title: str
    operations: int
    prepare: Callable[[Requests], str]
    run: Callable[[Requests, str], None]


def _patches(count: int, size: int) -> Workload:
    """In the middle of an upload: what its beginning and its end cost is in `multipart`, where it
    hides nothing of what grows with each PATCH and each byte."""
    body = body_of(count * size)

    def prepare(requests: Requests) -> str:
        path = requests.create(_BEFORE_BYTES + len(body) + _BEHIND_BYTES)
        requests.patch(path, 0, body_of(_BEFORE_BYTES))
        return path

    def run(requests: Requests, path: str) -> None:
        for start in range(0, len(body), size):
            requests.patch(path, _BEFORE_BYTES + start, body[start : start + size])

    return Workload(
        title=f"{count} PATCH of {_text(size)} in the middle of an upload",
        operations=count,
        prepare=prepare,
        run=run,
    )


def _uploads(count: int, size: int, *, in_post: bool) -> Workload:
    body = body_of(size)

    def run(requests: Requests, nothing: str) -> None:
        assert not nothing
        for _ in range(count):
            if in_post:
                requests.create(size, body)
            else:
                requests.patch(requests.create(size), 0, body)

    how = "in its POST" if in_post else "in POST + PATCH"
    return Workload(
        title=f"{count} uploads of {_text(size)}, {how}",
        operations=count,
        prepare=lambda _: "",
        run=run,
    )


def _heads(count: int) -> Workload:
    def prepare(requests: Requests) -> str:
        path = requests.create(2 * MIB)
        requests.patch(path, 0, body_of(MIB))
        return path

    def run(requests: Requests, path: str) -> None:
        for _ in range(count):
            requests.head(path)

    return Workload(title=f"{count} HEAD", operations=count, prepare=prepare, run=run)


def _gets(count: int, size: int) -> Workload:
    body = body_of(size)

    def prepare(requests: Requests) -> str:
        return requests.create(size, body)

    def run(requests: Requests, path: str) -> None:
        for _ in range(count):
            requests.get(path, body)

    return Workload(
        title=f"{count} GET of {_text(size)}", operations=count, prepare=prepare, run=run
    )


def _text(size: int) -> str:
    return f"{size // MIB} MiB" if size % MIB == 0 else f"{size // KIB} KiB"


WORKLOADS: Final[Mapping[str, Workload]] = {
    "large": _patches(1, 64 * MIB),
    "patch-1m": _patches(16, MIB),
    "patch-64k": _patches(96, 64 * KIB),
    "multipart": _uploads(4, PART_BYTES + MIB, in_post=False),
    "small": _uploads(20, 16 * KIB, in_post=False),
    "small-in-one": _uploads(20, 16 * KIB, in_post=True),
    "head": _heads(50),
    "downloads-small": _gets(20, 64 * KIB),
}
"""Named as those of `python -m benchmarks` that they are like. `patch-1m` and `patch-64k` go beyond
a part, so that tails are read back as well."""
