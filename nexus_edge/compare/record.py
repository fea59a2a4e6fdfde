"""All that was measured of one side, and the baseline file, which is one such record."""

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from nexus_edge import _typed
from nexus_edge._atomic import replaced_when_done
from nexus_edge._outputs import FileKind
from nexus_edge._text import parse_json, read_text
from nexus_edge.errors import InputError

FORMAT = "nexus-edge baseline"
_MARK = rb'\A\{\s*"format": "nexus-edge baseline",\s*"format_version": \d'
BASELINE = FileKind("a baseline", (".json", ""), re.compile(_MARK))
VERSION = 1
_IN_FILES = {"inputs": "material"}  # fields whose names in baseline files of version 1 are others
Floats = NDArray[np.float32]
Count = Annotated[int, Meta(ge=0)]
Size = Annotated[int, Meta(gt=0)]
Measure = Annotated[float, Meta(gt=0)]  # seconds, or something per second


@dataclass(frozen=True)
class Reply:
    """What a model said to one item: an answer, or the label that fits an image best; and whether that is right."""

    item: str
    text: str
    right: bool | None = None


@dataclass(frozen=True)
class Measured:
    """What was measured of one side, but for arrays.

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
    """

    bundle: str
    folder: str
    model_type: str
    weights: str
    recipe: str
    engine: str
    machine: str
    inputs: str
    size_bytes: Size
    graph_bytes: Mapping[str, Count]
    load_s: tuple[Measure, ...] = ()
    speeds: Mapping[str, Annotated[tuple[Measure, ...], Meta(min_length=1)]] = field(default_factory=dict)
    peak_bytes: Size | None = None
    replies: tuple[Reply, ...] = ()


@dataclass(frozen=True)
class Record(Measured):
    """One side.

    Attributes:
        vectors: name -> float32 [rows, dim]: embeddings, image features, logits
        layers: "graph, case" -> layer by layer, float32 [rows, dim] of a few of its tokens
    """

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


@dataclass(frozen=True)
class _Array:
    """An array as JSON.

    Attributes:
        shape: of the array
        float32: its little-endian bytes in base64
    """

    shape: tuple[Count, ...]
    float32: str


@dataclass(frozen=True)
class _File(Measured):
    """A baseline file."""

    format: str = FORMAT
    format_version: int = VERSION
    vectors: Mapping[str, _Array] = field(default_factory=dict)
    layers: Mapping[str, tuple[_Array, ...]] = field(default_factory=dict)


def encode(rows: Floats) -> dict[str, Any]:
    """An array as JSON, see `_Array`."""
    return {"shape": list(rows.shape), "float32": base64.b64encode(rows.astype("<f4").tobytes()).decode()}


def received(array: Any, where: str) -> Floats:
    """What `encode` made, as it comes out of JSON; raises InputError."""
    return decode(_typed.read(array, _Array, where, InputError), where)


def decode(array: _Array, where: str) -> Floats:
    """What `encode` made; raises InputError."""
    try:
        rows = np.frombuffer(base64.b64decode(array.float32, validate=True), "<f4").reshape(array.shape)
    except ValueError as error:
        raise InputError(f"{where}: is not an array ({error})") from error
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
        raise InputError(f"{path}: is not valid JSON: {error}") from error
    if isinstance(value, dict) and isinstance(value.get("new"), dict):
        value = value["new"]
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise InputError(f"{path}: is not a baseline; write one with nexus-edge compare --save-baseline")
    if value.get("format_version") != VERSION:
        raise InputError(f"{path}: format_version is {value.get('format_version')!r:.20}, this version reads {VERSION}")
    names = {in_file: name for name, in_file in _IN_FILES.items()}
    value = {names.get(key, key): item for key, item in value.items()}
    file = _typed.read(value, _File, str(path), InputError)
    measured = {item.name: getattr(file, item.name) for item in fields(Measured)}
    return Record(
        **measured,
        vectors={name: decode(rows, f"{path}: vectors: {name}") for name, rows in file.vectors.items()},
        layers={
            name: tuple(decode(rows, f"{path}: layers: {name}[{index}]") for index, rows in enumerate(layers))
            for name, layers in file.layers.items()
        },
    )
