"""Finds what grows by one folder or one file: a room is scanned, and nothing is listed by hand."""

import pkgutil
from importlib import import_module


def folders(room: str) -> list[str]:
    """Names of the packages in the package `room`, by name; none of them is imported."""
    return sorted(found.name for found in pkgutil.iter_modules(import_module(room).__path__) if found.ispkg)


def files(room: str) -> list[str]:
    """Names of the modules in the package `room` that are single files, by name; none of them is imported."""
    return sorted(found.name for found in pkgutil.iter_modules(import_module(room).__path__) if not found.ispkg)
