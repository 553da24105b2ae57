"""What a body is handed on in: bytes of their own, or a read-only view of a block of memory.

A view keeps its whole block alive; see `app.blocks`.
"""

from __future__ import annotations

from typing import TypeAlias

Chunk: TypeAlias = bytes | memoryview
"""`len` is its size in bytes; a slice of a view is a view."""
