"""Numbers and tables out of a checkpoint's parsed configuration; a complaint is a ValueError that names the key."""

from collections.abc import Collection, Mapping
from typing import Any, TypeGuard

MOST = 2**26
"""Of anything that is counted: 256 times the vocabularies and contexts of today's largest models."""
MOST_LAYERS = 1024
"""Each becomes objects and nodes of a graph before weights are looked for; large models have some 130."""
MOST_VIEWS = 1024
"""Into which one image is cut; published models have 16 at most, and room for all is taken at once."""
LEAST_NUMBER, MOST_NUMBER = 2.0**-126, (2 - 2.0**-23) * 2.0**127
"""The range of float32's normal numbers, in which models compute: others would become 0 or infinite there."""


def count(values: Mapping[str, Any], key: str, default: int | None = None, most: int = MOST) -> int:
    """A whole number from 1 to `most`; absent or null means the default, where there is one."""
    value = values[key] if default is None else values.get(key)
    if value is None and default is not None:
        return default
    if type(value) is not int or value < 1:
        raise ValueError(f"{key} is {value!r:.40}, expected a whole number above 0")
    if value > most:
        raise ValueError(f"{key} is {value!r:.40}, more than any model has ({most:,})")
    return value


def layer_count(values: Mapping[str, Any], key: str, default: int | None = None) -> int:
    """A count of layers, at most `MOST_LAYERS`."""
    return count(values, key, default, MOST_LAYERS)


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


def number(values: Mapping[str, Any], key: str, default: float | None = None) -> float:
    """A number above 0 that float32 holds; absent or null means the default, where there is one."""
    value = values[key] if default is None else values.get(key)
    if value is None and default is not None:
        return default
    if not is_number(value):
        raise ValueError(f"{key} is {value!r:.40}, expected a number above 0, within float32")
    return float(value)


def is_number(value: object) -> TypeGuard[int | float]:
    """Whether a value of JSON is a number above 0 that float32 holds; an integer may have any number of digits."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return LEAST_NUMBER <= value <= MOST_NUMBER


def integer(values: Mapping[str, Any], key: str, default: int) -> int:
    """A whole number; absent or null means the default."""
    value = values.get(key)
    if value is None:
        return default
    if type(value) is not int:
        raise ValueError(f"{key} is {value!r:.40}, expected a whole number")
    return value


def flag(values: Mapping[str, Any], key: str, default: bool = False) -> bool:
    """True or false; absent or null means the default."""
    value = values.get(key)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise ValueError(f"{key} is {value!r:.40}, expected true or false")
    return value


def choice(values: Mapping[str, Any], key: str, known: Collection[str], default: str) -> str:
    """One of the known names; absent or null means the default."""
    value = values.get(key)
    if value is None:
        return default
    if not isinstance(value, str) or value not in known:
        raise ValueError(f"{key} is {value!r:.60}, known are {', '.join(known)}")
    return value


def side(values: Mapping[str, Any], key: str) -> int:
    """The side of a square, written as one whole number or as the same one twice."""
    value = values[key]
    if isinstance(value, list) and len(value) == 2 and value[0] == value[1]:
        value = value[0]
    return count({key: value}, key)
