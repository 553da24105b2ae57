"""What the operator decided, as plain values."""

from __future__ import annotations

from dataclasses import dataclass

from tusd_s3.planner.choose import LayoutPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """Settings of the engine.

    policy: which part layout an upload gets.
    key_template, key_prefix: make the object key (see `model.objects.render_key`).
    max_upload_bytes: length of the longest upload.
    lifetime_s: an unfinished upload is gone this long after its last change.
    concurrent_parts: parts of one upload on their way to S3 at once.
    body_silence_max_s: a body that is silent for longer is ended, and what came is kept.
    checkpoint_interval_s: bytes short of a part are made durable at least this often.
    completion_wait_s: how long HEAD waits for a completion it drives on.
    concatenation_wait_s: how long a POST waits until the final upload that it makes is whole.
    copies_at_once: parts of final uploads that S3 copies at once, for one worker.
    """

    policy: LayoutPolicy
    key_template: str
    key_prefix: str
    max_upload_bytes: int
    lifetime_s: float
    concurrent_parts: int
    body_silence_max_s: float
    checkpoint_interval_s: float
    completion_wait_s: float
    concatenation_wait_s: float
    copies_at_once: int
