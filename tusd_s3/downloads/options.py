"""What an operator decides about downloads."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadOptions:
    """open_max: downloads at the same time. key_template, key_prefix: of the objects' keys.
    link_life_s: how long the store's own address of an object works."""

    open_max: int
    key_template: str
    key_prefix: str
    link_life_s: int
