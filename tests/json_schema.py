"""As much of JSON Schema (draft 2020-12) as the schemas in runtimes/ use; anything else in one of them is an error."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "runtimes"
SAID = {"$schema", "$id", "$defs", "title", "description"}  # they allow and forbid nothing
TYPES = {
    "object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "null": type(None)
}  # fmt: skip


def problems(value: Any, name: str) -> list[str]:
    """Where a value is not what the schema of this name allows; empty if it is."""
    root = json.loads((FOLDER / f"{name}.schema.json").read_text())
    return list(_problems(value, root, root, "$"))


def _problems(value: Any, schema: dict[str, Any], root: dict[str, Any], where: str) -> Iterator[str]:
    for key, rule in schema.items():
        if key in SAID or (key in ("properties", "required", "additionalProperties") and not isinstance(value, dict)):
            continue
        match key:
            case "$ref":
                yield from _problems(value, root["$defs"][rule.removeprefix("#/$defs/")], root, where)
            case "properties":
                for name in rule.keys() & value.keys():
                    yield from _problems(value[name], rule[name], root, f"{where}.{name}")
            case "additionalProperties":
                for name in value.keys() - schema.get("properties", {}).keys():
                    yield from _problems(value[name], rule, root, f"{where}.{name}")
            case "items":
                for place, item in enumerate(value if isinstance(value, list) else ()):
                    yield from _problems(item, rule, root, f"{where}[{place}]")
            case _:
                if not _allowed(value, key, rule):
                    yield f"{where}: {value!r:.60} breaks {key} {rule}"


def _allowed(value: Any, key: str, rule: Any) -> bool:
    if value is None and key != "type":
        return True if key != "enum" else value in rule
    match key:
        case "type":
            names = [rule] if isinstance(rule, str) else rule
            return any(isinstance(value, TYPES[name]) and not isinstance(value, bool) for name in names)
        case "const":
            return bool(value == rule)
        case "enum":
            return value in rule
        case "required":
            return value.keys() >= set(rule)
        case "pattern":
            return re.search(rule, value) is not None
        case "minimum":
            return bool(value >= rule)
        case "exclusiveMinimum":
            return bool(value > rule)
        case "minItems":
            return len(value) >= rule
        case "maxItems":
            return len(value) <= rule
    raise AssertionError(f"this does not know the keyword {key}")
