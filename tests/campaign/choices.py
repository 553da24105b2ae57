"""What hypothesis may choose: sizes, amounts, and troubles as text."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.campaign.mischief import LOSSES, REDIS_WAYS, S3_WAYS
from tests.support.bodies import KIB, MIB, PART_BYTES

SIZES = (
    *(0, 1, 1000, 64 * KIB, MIB + 1),
    *(PART_BYTES - 1, PART_BYTES, PART_BYTES + 1),
    *(2 * PART_BYTES - 1, 2 * PART_BYTES, 2 * PART_BYTES + 1),
    *(12 * MIB + 7, 12 * MIB + 7, 3 * PART_BYTES, 16 * MIB, 16 * MIB),
)
AMOUNTS = (
    *("rest", "rest", "half", "rest less 1", "nothing", "1", "100 KiB", "2 MiB", "7 MiB"),
    *("to the boundary", "to the boundary less 1", "to the boundary plus 1"),
)
SLOTS = 3

slots = st.integers(0, SLOTS - 1)
servers = st.integers(0, 1)
amounts = st.sampled_from(AMOUNTS)
pauses_ms = st.sampled_from([0, 0, 0, 20, 100])

_OFTEN = (
    "CreateMultipartUpload",
    "PutObject of a recovery object",
    "UploadPart",
    "UploadPart",
    "PutObject",
    "CompleteMultipartUpload",
)
_SELDOM = (
    "DeleteObject of a recovery object",
    "AbortMultipartUpload",
    "ListParts",
    "GetObject of a recovery object",
    "HeadObject",
    "DeleteObject",
)
_s3_calls = st.sampled_from([*_OFTEN, *_OFTEN, *_SELDOM])
_redis_commands = st.sampled_from(["EVALSHA", "EVALSHA", "SET", "SETRANGE", "GETRANGE", "HMGET"])
_stages = st.sampled_from(["before", "after"])
_nths = st.sampled_from([1, 1, 2, 3])
_moments = st.one_of(
    st.just("now"),
    st.sampled_from([0.02, 0.1, 0.3, 0.8]).map("soon {}".format),
    st.builds("s3 {} {} {}".format, _s3_calls, _nths, _stages),
    st.builds("redis {} {} {}".format, _redis_commands, st.integers(1, 5), _stages),
)
_seconds = st.sampled_from([0.05, 0.3, 1.0, 2.5, 3.5])
_processes = st.sampled_from(["kill", "kill", "term", "freeze", "freeze"])
_redis = st.sampled_from(["redis-restart", "redis-freeze", "redis-away"])

_process_troubles = st.builds("{}|{}|{}|{}".format, _processes, servers, _seconds, _moments)
_redis_troubles = st.builds("{}|{}|{}|{}".format, _redis, servers, _seconds, _moments)
_call_troubles = st.builds(
    "redis-net|{}|{}|{}".format, _redis_commands, st.sampled_from(REDIS_WAYS), st.integers(1, 5)
)
_s3_troubles = st.builds(
    "s3|{}|{}|{}|{}".format,
    _s3_calls,
    st.sampled_from(S3_WAYS),
    _nths,
    st.sampled_from([1, 1, 3, 8]),
)
losses = st.builds(
    "{}|0|{}|{}".format,
    st.sampled_from(sorted(LOSSES)),
    st.sampled_from([0.05, 0.3, 1.0]),
    st.just("now") | _moments,
)
_one_part_troubles = st.builds(
    "s3|UploadPart#{}|{}|1|12".format, st.integers(1, 3), st.sampled_from(["503", "cut before"])
)
"""One part cannot be stored, while those behind it can."""
troubles = st.one_of(
    _process_troubles,
    _redis_troubles,
    _call_troubles,
    _s3_troubles,
    _s3_troubles,
    _one_part_troubles,
)


def share(amount: str, offset: int, total: int) -> int:
    """How many bytes an amount is for an upload at `offset`."""
    rest = total - offset
    to_boundary = PART_BYTES - offset % PART_BYTES
    sizes = {
        "rest": rest,
        "half": rest // 2,
        "rest less 1": rest - 1,
        "none": 0,
        "nothing": 0,
        "1": 1,
        "100 KiB": 100 * KIB,
        "2 MiB": 2 * MIB,
        "7 MiB": 7 * MIB,
        "to the boundary": to_boundary,
        "to the boundary less 1": to_boundary - 1,
        "to the boundary plus 1": to_boundary + 1,
    }
    return max(0, min(rest, sizes[amount]))
