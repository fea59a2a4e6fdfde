"""A SHA-256 as text."""

from typing import Annotated

from msgspec import Meta

Digest = Annotated[str, Meta(pattern="^[0-9a-f]{64}$", max_length=64, description="64 lower-case hex digits")]
"""The length beside the pattern: `$` would let a line end pass."""
