"""How calls to S3 fail, as errors of ours. What S3 said goes to the log only."""

from __future__ import annotations

import logging
from types import TracebackType

from aiohttp import ClientError as HttpClientError
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

from tusd_s3 import errors

logger = logging.getLogger("tusd_s3.s3")

_PASSING_CODES = {"SlowDown", "RequestTimeout", "InternalError", "ServiceUnavailable", "Throttling"}
_GONE_CODES = {"NoSuchUpload"}
_CONDITION_CODES = {"PreconditionFailed", "ConditionalRequestConflict"}
_NO_OBJECT_CODES = {"NoSuchKey", "404"}


class UnknownConditionError(errors.StorageRefused):
    """The store answered that it does not do what a header asks (501)."""


class translated:  # noqa: N801 - reads like a function where it is used
    """Turns the SDK's errors into ours; what S3 said goes to the log only.

    A class for the same reason as that for Redis' errors."""

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(error, ClientError):
            raise _from_answer(error) from error
        if isinstance(error, NoCredentialsError):
            logger.error("no AWS credentials were found")
            raise errors.StorageRefused from error
        if isinstance(error, BotoCoreError | HttpClientError | OSError | TimeoutError):
            logger.warning("S3 did not answer: %s", type(error).__name__)
            raise errors.StorageUnavailable from error


def _from_answer(error: ClientError) -> errors.UploadError:
    code = error.response.get("Error", {}).get("Code", "")
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500)
    if code in _GONE_CODES:
        return errors.UploadNotFound()
    if code in _NO_OBJECT_CODES:
        return errors.NoSuchObject()
    if code in _CONDITION_CODES:
        return errors.ObjectExists()
    if code == "NotImplemented":
        return UnknownConditionError()
    logger.warning("S3 refused %s: %s %s", error.operation_name, status, code)
    if status >= 500 or status == 429 or code in _PASSING_CODES:
        return errors.StorageUnavailable()
    return errors.StorageRefused()
