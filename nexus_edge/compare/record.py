"""All that was measured of one side, and the baseline file, which is one such record."""

import base64
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nexus_edge._atomic import replaced_when_done
from nexus_edge._fields import Fields
from nexus_edge._text import parse_json, read_text
from nexus_edge.errors import InputError

FORMAT = "nexus-edge baseline"
VERSION = 1
_IN_FILES = {"inputs": "material"}  # fields whose names in baseline files of version 1 are others
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Reply:
    """What a model said to one item: an answer, or the label that fits an image best; and whether that is right."""

    item: str
    text: str
    right: bool | None = None


@dataclass(frozen=True)
class Record:
    """One side.

    Attributes:
        bundle: the manifest's name
        folder: as the user wrote it
        model_type, weights, recipe: from the manifest
        engine: the target that ran
        machine: processor, cores and threads, in words
        inputs: a hash of what was asked, "material" in files; replies can be compared only where it is the same
        size_bytes: of all files but parity/
        graph_bytes: of each graph's files, by graph
        load_s: of each round
        speeds: name -> of each round, per second
        peak_bytes: most resident memory of the process that ran it; None where the system does not tell
        replies: to each item, in order
        vectors: name -> float32 [rows, dim]: embeddings, image features, logits
        layers: "graph, case" -> layer by layer, float32 [rows, dim] of a few of its tokens
    """

    bundle: str
    folder: str
    model_type: str
    weights: str
    recipe: str
    engine: str
    machine: str
    inputs: str
    size_bytes: int
    graph_bytes: Mapping[str, int]
    load_s: tuple[float, ...] = ()
    speeds: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    peak_bytes: int | None = None
    replies: tuple[Reply, ...] = ()
    vectors: Mapping[str, Floats] = field(default_factory=dict)
    layers: Mapping[str, tuple[Floats, ...]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        names = [name for name in self.__dataclass_fields__ if name not in ("vectors", "layers", "replies")]
        return {
            "format": FORMAT,
            "format_version": VERSION,
            **{_IN_FILES.get(name, name): getattr(self, name) for name in names},
            "replies": [asdict(reply) for reply in self.replies],
            "vectors": {name: encode(rows) for name, rows in self.vectors.items()},
            "layers": {name: [encode(rows) for rows in layers] for name, layers in self.layers.items()},
        }


def encode(rows: Floats) -> dict[str, Any]:
    """An array as JSON: its shape, and its little-endian float32 bytes in base64."""
    return {"shape": list(rows.shape), "float32": base64.b64encode(rows.astype("<f4").tobytes()).decode()}


def decode(value: Any, where: str) -> Floats:
    """What `encode` made; raises InputError."""
    table = Fields.of(value, where, InputError, ("shape", "float32"))
    try:
        shape = [int(size) for size in table.items("shape")]
        rows = np.frombuffer(base64.b64decode(table.text("float32"), validate=True), "<f4").reshape(shape)
    except (ValueError, TypeError) as error:
        raise InputError(f"{where}: is no array ({error})") from error
    return rows.astype(np.float32)


def save(record: Record, path: Path) -> None:
    """Write a baseline file.

    Raises:
        OutputError: it cannot be written
    """
    text = json.dumps(record.to_json(), indent=1, ensure_ascii=False) + "\n"
    with replaced_when_done(path) as new:
        new.write_text(text, "utf-8")


def read(path: Path) -> Record:
    """A baseline file, or the JSON of an earlier comparison, whose new side is the baseline then.

    Raises:
        InputError: it is neither, naming the field
    """
    try:
        value = parse_json(read_text(path))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: is no valid JSON: {error}") from error
    if isinstance(value, dict) and isinstance(value.get("new"), dict):
        value = value["new"]
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise InputError(f"{path}: is no baseline; write one with nexus-edge compare --save-baseline")
    if value.get("format_version") != VERSION:
        raise InputError(f"{path}: format_version is {value.get('format_version')!r:.20}, this version reads {VERSION}")
    names = (_IN_FILES.get(name, name) for name in Record.__dataclass_fields__)
    return _record(Fields.of(value, str(path), InputError, ("format", "format_version", *names)))


def _record(table: Fields) -> Record:
    texts = ("bundle", "folder", "model_type", "weights", "recipe", "engine", "machine")
    vectors, layers, speeds = table.sub("vectors"), table.sub("layers"), table.sub("speeds")
    return Record(
        **{name: table.text(name) for name in texts},
        inputs=table.text(_IN_FILES["inputs"]),
        size_bytes=table.integer("size_bytes"),
        graph_bytes={name: table.sub("graph_bytes").integer(name) for name in table.sub("graph_bytes").table},
        load_s=_numbers(table, "load_s"),
        speeds={name: _numbers(speeds, name) for name in speeds.table},
        peak_bytes=None if table.table.get("peak_bytes") is None else table.integer("peak_bytes"),
        replies=tuple(_reply(item, f"{table.where}: replies[{i}]") for i, item in enumerate(table.items("replies"))),
        vectors={name: decode(vectors.table[name], f"{vectors.where}: {name}") for name in vectors.table},
        layers={
            name: tuple(decode(rows, f"{layers.where}: {name}[{i}]") for i, rows in enumerate(layers.items(name)))
            for name in layers.table
        },
    )


def _numbers(table: Fields, key: str) -> tuple[float, ...]:
    values = table.items(key)
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        raise InputError(f"{table.where}: {key} must be a list of numbers")
    return tuple(float(value) for value in values)


def _reply(value: Any, where: str) -> Reply:
    table = Fields.of(value, where, InputError, ("item", "text", "right"))
    right = table.table.get("right")
    if right is not None and not isinstance(right, bool):
        raise InputError(f"{where}: right must be true, false or null")
    return Reply(table.text("item"), table.text("text"), right)
