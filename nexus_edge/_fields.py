"""Reads typed values out of a parsed JSON or TOML table; every complaint names the place and the field."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from nexus_edge._typed import suggest as suggest
from nexus_edge.errors import InputError


@dataclass(frozen=True)
class Fields:
    """One table, with the place it comes from and the error to raise."""

    table: Mapping[str, Any]
    where: str
    error: type[InputError]

    @classmethod
    def of(cls, value: Any, where: str, error: type[InputError], known: Iterable[str] = ()) -> "Fields":
        """Check that `value` is a table whose keys are all in `known` (any keys, if `known` is empty)."""
        if not isinstance(value, dict):
            raise error(f"{where}: must be a table, not {_kind(value)}")
        names = tuple(known)
        for key in value:
            if names and key not in names:
                raise error(f"{where}: unknown key {key!r}{suggest(str(key), names)}")
        return cls(value, where, error)

    def text(self, key: str, default: str | None = None) -> str:
        """A string; required unless there is a default."""
        value = self._get(key, default)
        if not isinstance(value, str):
            raise self._wrong(key, "a string", value)
        return value

    def optional_text(self, key: str) -> str | None:
        """A string, or None where the key is absent or null."""
        return None if self.table.get(key) is None else self.text(key)

    def choice(self, key: str, choices: tuple[str, ...], default: str | None = None) -> str:
        """One of `choices`."""
        value = self.text(key, default)
        if value not in choices:
            raise self.error(f"{self.where}: {key} = {value!r}{suggest(value, choices)}")
        return value

    def integer(self, key: str) -> int:
        """A whole number that is not negative; true and false are none."""
        value = self._get(key, None)
        if type(value) is not int or value < 0:
            raise self._wrong(key, "a whole number >= 0", value)
        return value

    def number(self, key: str) -> float:
        """A number; true and false are none."""
        value = self._get(key, None)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._wrong(key, "a number", value)
        return float(value)

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of strings."""
        value = self._get(key, None)
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self._wrong(key, "a list of strings", value)
        return tuple(value)

    def items(self, key: str) -> list[Any]:
        """A list of anything."""
        value = self._get(key, None)
        if not isinstance(value, list):
            raise self._wrong(key, "a list", value)
        return value

    def sub(self, key: str, known: Iterable[str] = ()) -> "Fields":
        """The table under `key`; an absent one is empty."""
        return Fields.of(self.table.get(key, {}), f"{self.where}: {key}", self.error, known)

    def _get(self, key: str, default: str | None) -> Any:
        if key in self.table:
            return self.table[key]
        if default is None:
            raise self.error(f"{self.where}: {key} is missing")
        return default

    def _wrong(self, key: str, expected: str, value: Any) -> InputError:
        return self.error(f"{self.where}: {key} must be {expected}, not {_kind(value)} {value!r:.60}")


def _kind(value: Any) -> str:
    return "null" if value is None else f"a {type(value).__name__}"
