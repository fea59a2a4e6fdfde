"""Numbers and tables out of a checkpoint's parsed configuration; a complaint is a ValueError that names the key."""

from collections.abc import Mapping
from typing import Any


def count(values: Mapping[str, Any], key: str, default: int | None = None) -> int:
    """A whole number above 0; absent or null means the default, where there is one."""
    value = values[key] if default is None else values.get(key)
    if value is None and default is not None:
        return default
    if type(value) is not int or value < 1:
        raise ValueError(f"{key} is {value!r:.40}, expected a whole number above 0")
    return value


def table(values: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """An object; empty where it is absent or null."""
    value = values.get(key) or {}
    if not isinstance(value, Mapping):
        raise ValueError(f"{key} is {value!r:.40}, expected an object")
    return value


def check_multiple(name: str, value: int, of: str, unit: int) -> None:
    """Raise unless `value` is a multiple of `unit`."""
    if value % unit:
        raise ValueError(f"{name} {value} is not a multiple of {of} {unit}")


def require(values: Mapping[str, Any], key: str, allowed: tuple[object, ...]) -> None:
    """Raise unless the value is one of those that the model is built for; an absent key counts as None."""
    if values.get(key) not in allowed:
        known = " or ".join("absent" if value is None else repr(value) for value in allowed)
        raise ValueError(f"{key} is {values.get(key)!r:.60}, and this model knows {known}")
