"""The sizes that BiomedCLIP's programs are made in."""

SHORT_TEXT = 64
"""Most tokens of the shorter text function: labels fit, and attention to padding costs as much as to words."""


def text_lengths(context: int) -> tuple[int, int]:
    """Tokens of the shorter text function, and of the one that takes every text."""
    return min(SHORT_TEXT, context // 2), context
