"""The JSON Schema of manifest.json, for readers in other languages; made from the types that read it here.

python -m nexus_edge.bundle.schema runtimes/schema/manifest.schema.json
"""

import inspect
import json
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from nexus_edge.bundle.manifest import FORMAT_VERSION, Manifest

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_ATTRIBUTE = re.compile(r"^    (\w+(?:, \w+)*): (.*)$")


def manifest_schema() -> dict[str, Any]:
    """Of what is written today. Fields are described by the docstrings of their classes; unknown ones are refused."""
    (reference,), parts = msgspec.json.schema_components([Manifest], ref_template="#/$defs/{name}")
    classes = {kind.__name__: kind for kind in _classes()}
    for name, part in parts.items():
        described = [_split(inspect.getdoc(kind) or "") for kind in reversed(classes[name].__mro__)]
        attributes = {field: text for _, fields in described for field, text in fields.items()}
        part["description"] = described[-1][0]
        part["additionalProperties"] = False
        for field, schema in part["properties"].items():
            schema.pop("default", None)  # a writer leaves nothing out
            if field in attributes:
                schema["description"] = attributes[field]
        part["required"] = list(part["properties"])
    parts["Manifest"]["properties"]["format_version"] = {"const": FORMAT_VERSION, "description": "of this file"}
    return {
        "$schema": DIALECT,
        "$id": "manifest.schema.json",
        "title": f"manifest.json of a nexus-edge bundle, format {FORMAT_VERSION}",
        **reference,
        "$defs": parts,
    }


def _classes() -> Iterator[type[Any]]:
    """Every class in a manifest."""
    found: dict[type[Any], None] = {}
    _collect([msgspec.inspect.type_info(Manifest)], found)
    return iter(found)


def _collect(kinds: Iterable[msgspec.inspect.Type], found: dict[type[Any], None]) -> None:
    for kind in kinds:
        match kind:
            case (
                msgspec.inspect.StructType(cls=cls, fields=fields)
                | msgspec.inspect.DataclassType(cls=cls, fields=fields)
            ):
                if cls not in found:
                    found[cls] = None
                    _collect([field.type for field in fields], found)
            case msgspec.inspect.Metadata(type=inner):
                _collect([inner], found)
            case msgspec.inspect.UnionType(types=types) | msgspec.inspect.TupleType(item_types=types):
                _collect(types, found)
            case msgspec.inspect.DictType(value_type=inner) | msgspec.inspect.VarTupleType(item_type=inner):
                _collect([inner], found)


def _split(docstring: str) -> tuple[str, dict[str, str]]:
    """A class's description in a line, and those of its attributes by their names."""
    text, _, listed = docstring.partition("\n\nAttributes:\n")
    attributes: dict[str, str] = {}
    names: list[str] = []
    for line in listed.splitlines():
        if match := _ATTRIBUTE.match(line):
            names = match[1].split(", ")
            attributes |= dict.fromkeys(names, match[2])
        else:
            attributes |= {name: f"{attributes[name]} {line.strip()}" for name in names}
    return " ".join(text.split()), attributes


def main() -> None:
    """Write the schema to the file that is named."""
    text = json.dumps(manifest_schema(), indent=2, ensure_ascii=False) + "\n"
    Path(sys.argv[1]).write_text(text, "utf-8")


if __name__ == "__main__":
    main()
