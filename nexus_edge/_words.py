"""Numbers with their nouns, and lists, as people say them."""

from collections.abc import Sequence


def counted(number: int, noun: str) -> str:
    """`1 image`, `2 images`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def first_of(problems: Sequence[str]) -> str:
    """The first, and how many more there are."""
    return problems[0] + (f", and {len(problems) - 1} more" if len(problems) > 1 else "")
