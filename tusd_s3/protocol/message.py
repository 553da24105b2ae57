"""What a request asks and what a response says, whichever dialect it came in.

A dialect's module (`tus1`) turns headers into these and these into headers; the engine knows
nothing else of the wire. So no name here may belong to one dialect. A message that cannot be
served does not exist: constructors raise the error the client gets.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from tusd_s3.errors import BodyTooLong, LengthConflict
from tusd_s3.model.checksum import Checksum
from tusd_s3.model.media_type import is_token
from tusd_s3.model.upload_id import UploadId

# A line break in a value would end the header and begin another; beyond ASCII, receivers differ.
_VALUE = re.compile(r"[\t -~]*")


def _not_negative(**numbers: int | None) -> None:
    for name, number in numbers.items():
        if number is not None and number < 0:
            raise ValueError(f"{name} must not be negative")


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What a body must agree with before any byte of it counts.

    algorithm: None when it is named behind the body only.
    expected: the body's checksum. To be called once the body was read to its end; raises
        RequestError when what stands there is not one.
    """

    algorithm: str | None
    expected: Callable[[], Checksum]


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateRequest:
    """Make an upload, perhaps with its first bytes.

    length: declared total in bytes, or None when it is declared later.
    metadata: what the client said about the upload, already checked, as it was sent; may be empty.
    body_length: bytes of the first chunk; 0 when there is none, None when only its end will tell.
    name: what names this creation among its retries, None if nothing does.
    verification: of the first chunk, None for none.
    concat: what the client said of concatenation, already checked, as it was sent; may be empty.
    sources: the uploads that are to become this one, in order; none if it takes bytes itself.
    Raises BodyTooLong when the first chunk goes past the length.
    """

    length: int | None
    metadata: str = ""
    body_length: int | None = 0
    name: str | None = None
    verification: Verification | None = None
    concat: str = ""
    sources: tuple[UploadId, ...] = ()

    def __post_init__(self) -> None:
        _not_negative(length=self.length, body_length=self.body_length)
        if self.length is not None and (self.body_length or 0) > self.length:
            raise BodyTooLong

    @property
    def has_body(self) -> bool:
        """Whether the request carries a first chunk (one of unknown length may prove empty)."""
        return self.body_length != 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AppendRequest:
    """Add bytes to an upload.

    offset: where the body begins, which must be where the upload ends.
    declared_length: the upload's total in bytes where this request declares it, else None.
    body_length: bytes of the body, or None when only its end will tell.
    verification: of the body, None for none.
    Raises LengthConflict when the declared length is below the offset, BodyTooLong when the body
    goes past it. What contradicts the upload itself is for the engine to find.
    """

    offset: int
    declared_length: int | None = None
    body_length: int | None = None
    verification: Verification | None = None

    def __post_init__(self) -> None:
        _not_negative(
            offset=self.offset, declared_length=self.declared_length, body_length=self.body_length
        )
        if self.declared_length is None:
            return
        if self.declared_length < self.offset:
            raise LengthConflict
        if self.offset + (self.body_length or 0) > self.declared_length:
            raise BodyTooLong


_is_name = lru_cache(maxsize=256)(is_token)  # responses name the same few headers for ever


@dataclass(frozen=True, slots=True)
class Response:
    """A whole response: status, headers in the order to send them, body.

    Raises ValueError for what must never be sent: a header name that is no token, a value with
    anything but printable ASCII (a line break would begin another header, RFC 9110, 5.5).
    """

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""

    def __post_init__(self) -> None:
        if not 200 <= self.status <= 599:
            raise ValueError("status must be in 200..599")
        for name, value in self.headers:
            if not _is_name(name):
                raise ValueError("a header name must be a token (RFC 9110, 5.1)")
            if not _VALUE.fullmatch(value):
                raise ValueError(f"{name} must be printable ASCII (RFC 9110, 5.5)")
