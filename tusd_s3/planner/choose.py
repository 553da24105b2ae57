"""Which part layout an upload gets.

S3 allows 10,000 parts of at least 5 MiB. With a known length every part has one size: the
configured one, or as much more as it takes to fit the length. With a deferred length the sizes
double on a fixed schedule, unless the store wants equal parts (R2), which caps such uploads.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, replace

from tusd_s3 import errors, limits
from tusd_s3.model.layout import PartLayout
from tusd_s3.model.upload import Upload

_STEP_BYTES = 64 * limits.KIB
"""Sizes beyond the configured one are multiples of this, so that chunks and pages align."""


@dataclass(frozen=True, slots=True)
class LayoutPolicy:
    """What the operator chose.

    part_size_bytes: size of parts where the length does not demand more.
    parts_max: how many parts the store takes (AWS 10,000; Scaleway 1,000).
    equal_parts: whether the store wants all parts of an upload equal although its length is not
        known at the start.
    part_max_bytes: the largest part there is memory for.
    """

    part_size_bytes: int
    parts_max: int = limits.S3_PARTS_MAX
    equal_parts: bool = False
    part_max_bytes: int = limits.PART_SIZE_MAX_BYTES

    def layout_for(self, length: int | None) -> PartLayout:
        """The layout of a new upload. Raises UploadTooLarge if no layout can hold `length`."""
        if length is None:
            per_size = 0 if self.equal_parts else self._parts_per_size
            return self._bounded(PartLayout(self.part_size_bytes, per_size, self.parts_max))
        return self._uniform(length, at_least=self.part_size_bytes)

    def layout_after_declaration(self, upload: Upload, length: int) -> PartLayout:
        """The layout once a deferred length is declared.

        It can still be chosen while no part exists; after that it is fixed and must hold `length`.
        Raises UploadTooLarge if it does not.
        """
        if upload.multipart_id is None:
            # Not below the old first part: the tail may already be almost that long.
            return self._uniform(length, at_least=upload.layout.first_size_bytes)
        if length > upload.layout.capacity_bytes:
            raise errors.UploadTooLarge(upload.layout.capacity_bytes)
        return upload.layout

    @property
    def _parts_per_size(self) -> int:
        # The same ten steps whatever the store's number of parts.
        share = limits.S3_PARTS_MAX // limits.DEFERRED_PARTS_PER_SIZE
        return max(1, self.parts_max // share)

    def _uniform(self, length: int, *, at_least: int) -> PartLayout:
        needed = -(-length // self.parts_max)
        rounded = -(-needed // _STEP_BYTES) * _STEP_BYTES
        size = max(at_least, rounded)
        if size > self.part_max_bytes:
            raise errors.UploadTooLarge(self.part_max_bytes * self.parts_max)
        return PartLayout(size, 0, self.parts_max)

    def _bounded(self, layout: PartLayout) -> PartLayout:
        """`layout` up to the last part there is memory for."""
        last = bisect_right(range(1, layout.parts_max + 1), self.part_max_bytes, key=layout.size_of)
        return replace(layout, parts_max=max(1, last))


def with_declared_length(upload: Upload, length: int, policy: LayoutPolicy) -> Upload:
    """`upload` with its deferred length declared (tus creation-defer-length).

    Declaring the same length again is fine. Raises LengthConflict when it differs from one
    declared before or is below the offset, UploadTooLarge when the layout cannot hold it.
    """
    if upload.length == length:
        return upload
    if upload.length is not None or length < upload.offset:
        raise errors.LengthConflict
    return replace(upload, length=length, layout=policy.layout_after_declaration(upload, length))
