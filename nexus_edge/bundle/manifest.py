"""manifest.json: what a bundle is, where it comes from, what its graphs take and give, and the hash of every file."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from nexus_edge._fields import Fields
from nexus_edge._text import parse_json
from nexus_edge.bundle.digest import check_digest
from nexus_edge.bundle.paths import check_relative
from nexus_edge.bundle.source import Source
from nexus_edge.errors import BundleError

FORMAT_VERSION = 2  # 2: each graph names its weights file
DTYPES = (
    "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "uint16", "uint32", "uint64", "bool"
)  # fmt: skip


@dataclass(frozen=True)
class TensorSpec:
    """An input or output of a graph; a string in `shape` is a dimension that varies."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]

    @classmethod
    def from_json(cls, value: Any, where: str) -> "TensorSpec":
        table = Fields.of(value, where, BundleError, _names(cls))
        shape = table.items("shape")
        if not all(isinstance(dim, str) or (type(dim) is int and dim >= 0) for dim in shape):
            raise BundleError(f"{where}: shape {shape!r:.60} must hold sizes and names of dimensions")
        return cls(table.text("name"), table.choice("dtype", DTYPES), tuple(shape))


@dataclass(frozen=True)
class GraphInfo:
    """One graph.

    Attributes:
        file: of the graph, relative to the bundle
        inputs, outputs: its interface
        scheme: in words, how its weights are stored
        weights: the safetensors file of its weights, relative to the bundle; None for a graph that has none
    """

    file: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    scheme: str
    weights: str | None = None

    @classmethod
    def from_json(cls, value: Any, where: str) -> "GraphInfo":
        table = Fields.of(value, where, BundleError, _names(cls))

        def specs(key: str) -> tuple[TensorSpec, ...]:
            return tuple(
                TensorSpec.from_json(item, f"{where}: {key}[{index}]") for index, item in enumerate(table.items(key))
            )

        weights = table.optional_text("weights")
        return cls(
            file=check_relative(table.text("file"), where),
            inputs=specs("inputs"),
            outputs=specs("outputs"),
            scheme=table.text("scheme"),
            weights=None if weights is None else check_relative(weights, where),
        )

    @property
    def files(self) -> tuple[str, ...]:
        """The graph's file, and that of its weights if it has one."""
        return (self.file,) if self.weights is None else (self.file, self.weights)


@dataclass(frozen=True)
class FileInfo:
    """Bytes and SHA-256 (hex) of a file."""

    size: int
    sha256: str

    @classmethod
    def from_json(cls, value: Any, where: str) -> "FileInfo":
        table = Fields.of(value, where, BundleError, _names(cls))
        digest = table.text("sha256")
        check_digest(digest, f"{where}: sha256")
        return cls(table.integer("size"), digest)


@dataclass(frozen=True)
class DualEncoderInfo:
    """What a model of two towers needs beside their graphs.

    Attributes:
        logit_scale: factor of the cosine similarities before the softmax over labels (not its logarithm)
        embed_dim: length of an embedding
        image_tower, text_tower: SHA-256 (hex) of a tower's graph and weights. An index or a label bank carries the one
            it was made with. Both stay when a bundle is shipped without one of its towers.
    """

    logit_scale: float
    embed_dim: int
    image_tower: str
    text_tower: str

    @classmethod
    def from_json(cls, value: Any, where: str) -> "DualEncoderInfo":
        table = Fields.of(value, where, BundleError, _names(cls))
        towers = {}
        for name in ("image_tower", "text_tower"):
            towers[name] = table.text(name)
            check_digest(towers[name], f"{where}: {name}")
        scale, dim = table.number("logit_scale"), table.integer("embed_dim")
        if not 0 < scale < math.inf or dim < 1:
            raise BundleError(f"{where}: logit_scale {scale!r} and embed_dim {dim!r} must be positive")
        return cls(scale, dim, **towers)


@dataclass(frozen=True)
class Manifest:
    """The whole of manifest.json.

    Attributes:
        recipe: the resolved recipe, as `Recipe.to_json` gives it
        graphs: target -> graph name -> graph
        files: every file of the bundle but manifest.json, by its path; `BundleWriter` fills it
        parity: the verdict of the parity ladder ("verdict", a `parity.report.Verdict`, and the rungs), or None
        context_length: most tokens, prompt and answer together
        dual_encoder: of a model with an image and a text tower, None for others
    """

    model_type: str
    name: str
    toolkit_version: str
    source: Source
    recipe: Mapping[str, Any]
    targets: tuple[str, ...]
    graphs: Mapping[str, Mapping[str, GraphInfo]]
    context_length: int
    files: Mapping[str, FileInfo] = field(default_factory=dict)
    parity: Mapping[str, Any] | None = None
    dual_encoder: DualEncoderInfo | None = None
    format_version: int = FORMAT_VERSION

    def to_json(self) -> str:
        """The text of manifest.json."""
        return json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n"

    @property
    def rejection(self) -> str | None:
        """Why the parity ladder rejected the bundle; None where it did not."""
        if self.parity is None or self.parity.get("verdict") != "rejected":
            return None
        return str(self.parity.get("reason") or "no reason is recorded")

    def with_files(self, files: Mapping[str, FileInfo]) -> "Manifest":
        """The same manifest for these files."""
        return replace(self, files=dict(files))

    @classmethod
    def from_json(cls, text: str, where: str = "manifest.json") -> "Manifest":
        """Parse and validate.

        Raises:
            BundleError: naming the field that is missing, unknown, of the wrong type, or points outside the bundle.
        """
        try:
            value = parse_json(text)
        except (ValueError, RecursionError) as error:
            raise BundleError(f"{where}: is no valid JSON: {error}; export the bundle again") from error
        version = Fields.of(value, where, BundleError).integer("format_version")
        if version != FORMAT_VERSION:
            raise BundleError(
                f"{where}: format_version is {version}, this nexus-edge reads {FORMAT_VERSION}; "
                "export again, or use the version that wrote it"
            )
        table = Fields.of(value, where, BundleError, _names(cls))
        manifest = cls(
            model_type=table.text("model_type"),
            name=table.text("name"),
            toolkit_version=table.text("toolkit_version"),
            source=Source.from_json(table.table.get("source"), f"{where}: source"),
            recipe=table.sub("recipe").table,
            targets=table.texts("targets"),
            graphs={
                target: {
                    name: GraphInfo.from_json(graph, f"{where}: graphs.{target}.{name}")
                    for name, graph in table.sub("graphs").sub(target).table.items()
                }
                for target in table.sub("graphs").table
            },
            context_length=table.integer("context_length"),
            files={
                check_relative(path, f"{where}: files"): FileInfo.from_json(info, f"{where}: files[{path!r}]")
                for path, info in table.sub("files").table.items()
            },
            parity=None if table.table.get("parity") is None else table.sub("parity").table,
            dual_encoder=None
            if table.table.get("dual_encoder") is None
            else DualEncoderInfo.from_json(table.table["dual_encoder"], f"{where}: dual_encoder"),
        )
        manifest._check_references(where)
        return manifest

    def _check_references(self, where: str) -> None:
        if set(self.targets) != set(self.graphs):
            raise BundleError(f"{where}: targets {list(self.targets)} and graphs {list(self.graphs)} disagree")
        for target, graphs in self.graphs.items():
            for name, graph in graphs.items():
                for file in graph.files:
                    if file not in self.files:
                        raise BundleError(f"{where}: graphs.{target}.{name}: {file} is not listed in files")


def _names(kind: type[Any]) -> tuple[str, ...]:
    return tuple(item.name for item in fields(kind))
