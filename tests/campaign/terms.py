"""What a campaign is to do."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a campaign is to do.

    faults: names from `mischief.FAULTS`. ends_at: monotonic time after which steps do nothing.
    sweep_within_s, strays_within_s: see `Judge`. lifetime_s: of uploads; None for one that no
    example reaches. different_bytes: whether racing writers send different bytes.
    """

    faults: frozenset[str]
    ends_at: float
    sweep_within_s: float | None = None
    strays_within_s: float | None = None
    lifetime_s: float | None = None
    different_bytes: bool = True
