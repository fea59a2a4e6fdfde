"""A SHA-256 as text."""

from nexus_edge.errors import BundleError

SHA256_DIGITS = 64


def check_digest(digest: str, where: str) -> None:
    """Raise BundleError unless it is a SHA-256 in lower-case hex."""
    if len(digest) != SHA256_DIGITS or not set(digest) <= set("0123456789abcdef"):
        raise BundleError(f"{where} {digest!r:.80} is not {SHA256_DIGITS} lower-case hex digits")
