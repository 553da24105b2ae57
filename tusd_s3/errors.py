"""Every way a request can fail, as one tree.

A client sees three things of an error: its `status`, its stable `code` and one plain sentence.
They are class attributes, so that this file reads as the table of them. `code` is an API: clients
and dashboards match on it, so a code is never renamed or reused.

    UploadError
    ├── RequestError            the request is wrong; nothing was changed by it
    │   ├── InvalidHeader           400  invalid_header
    │   ├── LengthConflict          400  length_conflict
    │   ├── UnusablePartial         400  unusable_partial
    │   ├── UnfinishedPartial       400  unfinished_partial
    │   ├── FinalUpload             403  final_upload
    │   ├── NotFound                404  not_found
    │   ├── UploadNotFound          404  upload_not_found
    │   ├── UploadUnfinished        404  upload_unfinished
    │   ├── PartialUpload           404  partial_upload
    │   ├── MethodNotAllowed        405  method_not_allowed
    │   ├── OffsetMismatch          409  offset_mismatch
    │   ├── PreconditionFailed      412  precondition_failed
    │   ├── UnsupportedVersion      412  unsupported_version
    │   ├── UploadTooLarge          413  upload_too_large
    │   ├── BodyTooLong             413  body_too_long
    │   ├── WrongContentType        415  wrong_content_type
    │   ├── RangeNotSatisfiable     416  range_not_satisfiable
    │   ├── HeaderTooLong           431  header_too_long
    │   └── ChecksumMismatch        460  checksum_mismatch
    ├── UploadLocked            423  upload_locked        another request holds the upload
    ├── UploadInterrupted       423  upload_interrupted   another request took the upload over
    └── TemporaryError          the server or what it stands on; the client should retry
        ├── BodyTimedOut            503  body_timed_out
        ├── BodyCutShort            503  body_cut_short
        ├── ServerBusy              503  server_busy
        ├── TooManyDownloads        503  too_many_downloads
        ├── TooManyWatchers         503  too_many_watchers
        ├── ShuttingDown            503  shutting_down
        ├── StorageUnavailable      503  storage_unavailable
        │   ├── ObjectExists        503  storage_unavailable
        │   └── StorageRefused      500  storage_refused
        │       └── NoSuchObject    500  storage_refused
        ├── StateUnavailable        503  state_unavailable
        └── LeaseLost               503  lease_lost

Why 503 where HTTP has 408 for a silent body: tus-js-client and Uppy retry 5xx, 409 and 423, and
drop the upload on every other 4xx.

Text of S3 or Redis never becomes part of a sentence: it may hold keys, ids and addresses.
"""

from __future__ import annotations

from typing import ClassVar


class UploadError(Exception):
    """Base of all errors that a client may be shown.

    `offset`: the upload's true offset in bytes where it is known and helps the client to go on
    (it becomes the `Upload-Offset` header of the error response), else None.
    """

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    sentence: ClassVar[str] = "The server failed to handle this request."

    def __init__(self, sentence: str | None = None, *, offset: int | None = None) -> None:
        self.text = sentence or self.sentence
        self.offset = offset
        super().__init__(self.text)


class RequestError(UploadError):
    """The request cannot be served as it stands; it changed nothing."""

    status = 400
    code = "bad_request"
    sentence = "The request is malformed."


class InvalidHeader(RequestError):
    """A header is missing, malformed or contradicts another (tus core, creation)."""

    code = "invalid_header"

    def __init__(self, field: str, expected: str) -> None:
        super().__init__(f"{field}: {expected}.")


class LengthConflict(RequestError):
    """A length was declared that contradicts what is known (tus creation-defer-length)."""

    code = "length_conflict"
    sentence = "Upload-Length differs from the length declared before, or is below the offset."


class UnusablePartial(RequestError):
    """A final upload names what is no partial upload of this server (tus concatenation)."""

    code = "unusable_partial"
    sentence = "A final upload is made of partial uploads; one of those named is none, or is gone."


class UnfinishedPartial(RequestError):
    """A final upload names a partial one that lacks bytes (tus concatenation)."""

    code = "unfinished_partial"
    sentence = "A final upload is made of finished partial uploads; one of those named is not."


class FinalUpload(RequestError):
    """A final upload takes no bytes of its own (tus concatenation: 403)."""

    status = 403
    code = "final_upload"
    sentence = "A final upload is made of its partial uploads and takes no bytes of its own."


class NotFound(RequestError):
    """No such path on this server."""

    status = 404
    code = "not_found"
    sentence = "There is nothing at this address."


class UploadNotFound(RequestError):
    """No upload with this id: never made, expired, terminated or lost (tus core, HEAD)."""

    status = 404
    code = "upload_not_found"
    sentence = "There is no such upload, or it has expired."


class UploadUnfinished(RequestError):
    """There is nothing to download yet."""

    status = 404
    code = "upload_unfinished"
    sentence = "The upload is not finished; there is nothing to download yet."


class PartialUpload(RequestError):
    """A piece is not handed out (tus concatenation)."""

    status = 404
    code = "partial_upload"
    sentence = "This is a partial upload, which can be downloaded only as a part of its final one."


class MethodNotAllowed(RequestError):
    """The path exists, the method does not; `allow` lists those that do."""

    status = 405
    code = "method_not_allowed"

    def __init__(self, allow: tuple[str, ...]) -> None:
        self.allow = allow
        super().__init__(f"This address allows {', '.join(allow)}.")


class OffsetMismatch(RequestError):
    """`Upload-Offset` is not the upload's offset (tus core, PATCH: 409)."""

    status = 409
    code = "offset_mismatch"

    def __init__(self, offset: int) -> None:
        super().__init__(f"The upload's offset is {offset}.", offset=offset)


class PreconditionFailed(RequestError):
    """What the client expects is not what there is (RFC 9110, 15.5.13)."""

    status = 412
    code = "precondition_failed"
    sentence = "The upload is not in the state that the request asks for."


class UnsupportedVersion(RequestError):
    """`Tus-Resumable` is missing or names a version this server does not speak (tus core: 412)."""

    status = 412
    code = "unsupported_version"
    sentence = "Tus-Resumable must be 1.0.0."


class UploadTooLarge(RequestError):
    """The upload is longer than the server allows (tus core, Tus-Max-Size: 413)."""

    status = 413
    code = "upload_too_large"

    def __init__(self, max_bytes: int) -> None:
        super().__init__(f"An upload may have at most {max_bytes} bytes here.")


class BodyTooLong(RequestError):
    """The body goes past the end of the upload."""

    status = 413
    code = "body_too_long"
    sentence = "The body is longer than what the upload lacks."


class WrongContentType(RequestError):
    """PATCH takes `application/offset+octet-stream` only (tus core, PATCH: 415)."""

    status = 415
    code = "wrong_content_type"
    sentence = "Content-Type must be application/offset+octet-stream."


class RangeNotSatisfiable(RequestError):
    """`Range` lies behind the end (RFC 9110, 15.5.17). `length`: of the upload, in bytes."""

    status = 416
    code = "range_not_satisfiable"

    def __init__(self, length: int) -> None:
        self.length = length
        super().__init__(f"The upload has {length} bytes, none of them in this range.")


class HeaderTooLong(RequestError):
    """A header value is over its limit (RFC 6585: 431)."""

    status = 431
    code = "header_too_long"

    def __init__(self, field: str, max_bytes: int) -> None:
        super().__init__(f"{field} may have at most {max_bytes} bytes.")


class ChecksumMismatch(RequestError):
    """The body is not what its sender computed the checksum of (tus checksum: 460)."""

    status = 460
    code = "checksum_mismatch"
    sentence = "The body does not agree with Upload-Checksum; nothing of it was kept."


class UploadLocked(UploadError):
    """The lease could not be had in time; clients retry 423."""

    status = 423
    code = "upload_locked"
    sentence = "The upload is busy with another request; try again."


class UploadInterrupted(UploadError):
    """Another request asked for the upload; what had arrived was kept."""

    status = 423
    code = "upload_interrupted"
    sentence = "Another request took this upload over; what had arrived was kept."


class TemporaryError(UploadError):
    """Not the client's fault and expected to pass."""

    status = 503
    code = "unavailable"
    sentence = "The server cannot handle this request now; try again."


class BodyTimedOut(TemporaryError):
    """The body fell silent for longer than the network timeout; what came was kept."""

    code = "body_timed_out"
    sentence = "The body stopped arriving; what had arrived was kept."


class ServerBusy(TemporaryError):
    """The memory that a body held was needed for others."""

    code = "server_busy"
    sentence = "The server has no memory for this body now; try again."


class TooManyDownloads(TemporaryError):
    """As many downloads are open as this worker serves at a time."""

    code = "too_many_downloads"
    sentence = "The server hands out as many uploads as it can now; try again."


class BodyCutShort(TemporaryError):
    """The client went away in the middle of a body that counts as a whole or not at all."""

    code = "body_cut_short"
    sentence = "The body was cut short, and nothing of it was kept; send it again."


class TooManyWatchers(TemporaryError):
    """As many watch uploads, or this one, as this process has room for."""

    code = "too_many_watchers"
    sentence = "Too many are watching; try again later."


class ShuttingDown(TemporaryError):
    """This process is going away; what came was kept."""

    code = "shutting_down"
    sentence = "The server is restarting; what had arrived was kept."


class StorageUnavailable(TemporaryError):
    """S3 did not answer, or answered with a passing error, after bounded retries."""

    code = "storage_unavailable"
    sentence = "The storage behind this server does not answer now; try again."


class StorageRefused(StorageUnavailable):
    """S3 refused for a reason that a retry does not mend (credentials, bucket, a changed part)."""

    status = 500
    code = "storage_refused"
    sentence = "The storage behind this server refused the request."


class NoSuchObject(StorageRefused):
    """S3 has no object under this key. For the layers within; a client never asks for a key."""


class ObjectExists(StorageUnavailable):
    """There is an object under the key already, or another one than was to be replaced. For the
    layers within. `etag`: of the one that is there, None if that is not known."""

    def __init__(self, etag: str | None = None) -> None:
        self.etag = etag
        super().__init__()


class StateUnavailable(TemporaryError):
    """Redis did not answer, or refused a write, after bounded retries."""

    code = "state_unavailable"
    sentence = "The server cannot reach its records now; try again."


class LeaseLost(TemporaryError):
    """This request held the upload for too long without renewal; another may write it now."""

    code = "lease_lost"
    sentence = "This request lost its right to write the upload; ask for the offset and go on."
