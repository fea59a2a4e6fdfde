"""How long work says how far it is."""

from collections.abc import Callable

Progress = Callable[[str, float], None]
"""Is called with the step that runs now, and the share of the whole that is done, 0..1."""

Count = Callable[[int, int], None]
"""Is called with how many of one kind are done, and how many there are: images, texts, parameters."""


def silent(step: str, share: float) -> None:
    """The `Progress` of those who do not look."""


def uncounted(done: int, total: int) -> None:
    """The `Count` of those who do not look."""
