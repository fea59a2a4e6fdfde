"""Calls of fixed sizes, for programs whose shapes are fixed."""

from collections.abc import Iterable, Iterator


def cut(items: int, sizes: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Where each call starts, and its size: as large as the items fill, and only the smallest may be filled up."""
    known, start = sorted(sizes), 0
    while start < items:
        size = max((size for size in known if size <= items - start), default=known[0])
        yield start, size
        start += size
