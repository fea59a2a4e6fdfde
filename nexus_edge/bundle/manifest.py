"""manifest.json: what a bundle is, where it comes from, what its graphs take and give, and the hash of every file.

A field is described in the docstring of its class, in the list of attributes; the JSON Schema takes it from there.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta

from nexus_edge import _typed
from nexus_edge._text import parse_json
from nexus_edge.bundle.digest import Digest
from nexus_edge.bundle.paths import RelativePath
from nexus_edge.bundle.source import Source
from nexus_edge.errors import BundleError
from nexus_edge.interfaces.facts import RuntimeFacts

FORMAT_VERSION = 3  # 2: each graph names its weights file; 3: facts, and programs of graphs
READABLE = (2, FORMAT_VERSION)
DTYPES = (
    "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "uint16", "uint32", "uint64", "bool"
)  # fmt: skip
Dtype = Annotated[str, Meta(extra_json_schema={"enum": list(DTYPES)})]
"""Of a bundle's graphs; a graph that is looked into may have others."""
Size = Annotated[int, Meta(ge=0)]
Scale = Annotated[float, Meta(ge=2.0**-24, le=2.0**24)]
"""Beyond these, differences of cosines in float32 are all or nothing of a probability."""
Role = Literal["vision", "embedding", "decoder", "head", "image", "text"]
Verdict = Literal["passed", "rejected", "incomplete", "not run"]
"""`passed` alone is green. `rejected`: a gate failed, now or in the verdict that still stands. `incomplete`: what ran
holds, but a rung that was asked for did not run. `not run`: nothing was gated."""
ComputeUnits = Literal["all", "cpuAndGPU", "cpuAndNeuralEngine", "cpuOnly"]


@dataclass(frozen=True)
class TensorSpec:
    """An input or output of a graph.

    Attributes:
        name: in the graph
        dtype: of its numbers
        shape: sizes; a string is a dimension that varies, and equal strings are equal sizes
    """

    name: str
    dtype: Dtype
    shape: tuple[Size | str, ...]


@dataclass(frozen=True)
class ProgramInfo:
    """A graph with fixed shapes as an app finds it: a function of a package.

    Attributes:
        package: its folder, relative to the bundle
        function: its name in the package; `main` where it is the only one
        role: what an app takes the package for; of several for one role, the decoder apart, the newest that loads
        part_of: the graph of the model's split that the package is, or is a part of
        layers: of a part of the decoder: the first, and the one after the last
        ios, macos: oldest major versions that load the package
        compute_units: advice, a case of MLComputeUnits
        note: for the app developer
        images: inputs that are given as pixels, 0 to 255; dtype and shape are those of the program
        states: tensors that are kept between calls
        identity: hash that the package carries, too; one with another hash belongs to another bundle
    """

    package: RelativePath
    function: str
    role: Role
    part_of: str
    layers: tuple[Size, Size] | None
    ios: Annotated[int, Meta(ge=1)]
    macos: Annotated[int, Meta(ge=1)]
    compute_units: ComputeUnits
    note: str
    images: tuple[str, ...]
    states: tuple[TensorSpec, ...]
    identity: Digest


@dataclass(frozen=True)
class GraphInfo:
    """One graph.

    Attributes:
        file: of the graph, relative to the bundle
        inputs, outputs: its interface
        scheme: in words, how its weights are stored
        weights: the safetensors file of its weights, relative to the bundle; null for a graph that has none
        program: of a graph with fixed shapes, how an app finds it; null for others
    """

    file: RelativePath
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    scheme: str
    weights: RelativePath | None = None
    program: ProgramInfo | None = None

    @property
    def files(self) -> tuple[str, ...]:
        """The graph's file, and that of its weights if it has one."""
        return (self.file,) if self.weights is None else (self.file, self.weights)


@dataclass(frozen=True)
class FileInfo:
    """A file.

    Attributes:
        size: in bytes
        sha256: of its content
    """

    size: Size
    sha256: Digest


@dataclass(frozen=True)
class DualEncoderInfo:
    """What a model of two towers needs beside their graphs.

    Attributes:
        logit_scale: factor of the cosine similarities before the softmax over labels (not its logarithm)
        embed_dim: length of an embedding
        image_tower, text_tower: SHA-256 (hex) of a tower's graph and weights. An index or a label bank carries the one
            it was made with. Both stay when a bundle is shipped without one of its towers.
    """

    logit_scale: Scale
    embed_dim: Annotated[int, Meta(ge=1)]
    image_tower: Digest
    text_tower: Digest


@dataclass(frozen=True)
class Manifest:
    """The whole of manifest.json.

    Attributes:
        model_type: family of the model
        name: of the recipe
        toolkit_version: of the nexus-edge that wrote it
        source: the checkpoint
        recipe: the resolved recipe, as `Recipe.to_json` gives it
        targets: formats of the graphs
        graphs: target -> graph name -> graph
        files: every file of the bundle but manifest.json, by its path; `BundleWriter` fills it
        parity: the verdict of the parity ladder ("verdict", a `Verdict`, and the rungs), or null
        context_length: most tokens, prompt and answer together
        dual_encoder: of a model with an image and a text tower, null for others
        facts: what a runtime must know of the model; null in bundles of format 2
        format_version: of this file; it stays where a verdict is recorded in an older one
    """

    model_type: str
    name: str
    toolkit_version: str
    source: Source
    recipe: Mapping[str, Any]
    targets: tuple[str, ...]
    graphs: Mapping[str, Mapping[str, GraphInfo]]
    context_length: Size
    files: Mapping[RelativePath, FileInfo] = field(default_factory=dict)
    parity: Mapping[str, Any] | None = None
    dual_encoder: DualEncoderInfo | None = None
    facts: RuntimeFacts | None = None
    format_version: int = FORMAT_VERSION

    def to_json(self) -> str:
        """The text of manifest.json."""
        return json.dumps(msgspec.to_builtins(asdict(self)), indent=2, ensure_ascii=False) + "\n"

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
            raise BundleError(f"{where}: is not valid JSON: {error}; export the bundle again") from error
        if isinstance(value, dict):
            version = value.get("format_version")
            if type(version) is not int or version not in READABLE:
                found = version if type(version) is int else f"{type(version).__name__} {version!r:.40}"
                raise BundleError(
                    f"{where}: format_version is {'missing' if version is None else found}, this nexus-edge reads "
                    f"{' and '.join(map(str, READABLE))}; export again, or use the version that wrote it"
                )
        manifest = _typed.read(value, cls, where, BundleError)
        manifest._check_references(where)
        manifest._check_verdict(where)
        manifest._check_towers(where)
        return manifest

    def _check_verdict(self, where: str) -> None:
        """A word that is no verdict must not pass for one that lets the bundle run."""
        verdict = None if self.parity is None else self.parity.get("verdict")
        if self.parity is not None and verdict not in get_args(Verdict):
            raise BundleError(
                f"{where}: parity: verdict must be one of {', '.join(get_args(Verdict))}, not {verdict!r:.60}; "
                "run nexus-edge parity --update"
            )

    def _check_towers(self, where: str) -> None:
        """Whether graphs give embeddings as long as dual_encoder says."""
        if self.dual_encoder is None:
            return
        for target, graphs in self.graphs.items():
            for name, graph in graphs.items():
                sizes = [(spec, size) for spec in graph.outputs for size in spec.shape[-1:] if isinstance(size, int)]
                wrong = [spec for spec, size in sizes if size != self.dual_encoder.embed_dim]
                if wrong:
                    raise BundleError(
                        f"{where}: graphs.{target}.{name}: {wrong[0].name} has the shape {list(wrong[0].shape)}, "
                        f"dual_encoder says that an embedding has {self.dual_encoder.embed_dim} numbers; export again"
                    )

    def _check_references(self, where: str) -> None:
        if set(self.targets) != set(self.graphs):
            raise BundleError(f"{where}: targets {list(self.targets)} and graphs {list(self.graphs)} disagree")
        for target, graphs in self.graphs.items():
            for name, graph in graphs.items():
                for file in graph.files:
                    if file not in self.files:
                        raise BundleError(f"{where}: graphs.{target}.{name}: {file} is not listed in files")
