"""Graphs of the target openvino on the CPU.

The plugin rounds the inputs of products with compressed weights, and a decoder's cache, unless it is told not to. So
every graph is judged twice: in float32 throughout, where PyTorch's numbers must come out, and as it ships.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from nexus_edge._telemetry import without_telemetry
from nexus_edge.engines.interface import Specs
from nexus_edge.engines.openvino.check import check_graph
from nexus_edge.engines.openvino.probe.graph import OpenVinoGraph
from nexus_edge.engines.openvino.probe.pieces import decoder_pieces
from nexus_edge.engines.openvino.probe.stages import DecoderStage, EmbeddingStage, VisionStage
from nexus_edge.engines.openvino.probe.variants import EXACT, formats_of, in_words, shipped_here
from nexus_edge.engines.openvino.session import reported_as_bundle_error, specs_of
from nexus_edge.engines.openvino.settings import OpenVinoSettings
from nexus_edge.engines.probes import Counterpart, Layers, Stage, host_for
from nexus_edge.errors import BundleError, ParityError
from nexus_edge.interfaces.host import HostMaker

with without_telemetry():
    import openvino as ov


class OpenVinoRunner:
    """See `Runner`."""

    rounds_activations = False

    def open(self, path: Path, graph: str, layers: Layers = "hidden") -> OpenVinoGraph:
        return OpenVinoGraph(path, layers, shipped_here())

    def counterparts(self, files: Mapping[str, Path], host: HostMaker | None) -> list[Counterpart]:
        composed = {graph: parts for graph, parts in _PARTS.items() if files.keys() >= set(parts)}
        graphs = (*composed, *(name for name in files if all(name not in parts for parts in _PARTS.values())))
        return [
            Counterpart(
                graph,
                graph,
                _Opener(files, graph, settings, host),
                in_words(settings),
                rounds=settings is not EXACT,
                as_shipped=settings is not EXACT,
                formats=formats_of(settings),
                pieces=partial(decoder_pieces, files["language_model"], settings) if graph == "decoder" else None,
            )
            for settings in (EXACT, shipped_here())
            for graph in graphs
        ]

    def interface(self, path: Path, graph: str) -> tuple[Specs, Specs]:
        try:
            check_graph(path)
            with reported_as_bundle_error(path, "cannot be loaded"):
                model = ov.Core().read_model(path)
                inputs, outputs = specs_of(model.inputs), specs_of(model.outputs)
        except BundleError as error:
            raise ParityError(f"{path.name} does not load: {error}") from error
        return inputs, outputs


_PARTS = {
    "vision_encoder": ("vision_embeddings", "vision_projection"),
    "embed_tokens": ("text_embeddings",),
    "decoder": ("language_model",),
}
"""Graph of the split -> those of a VLMPipeline that do its work."""


@dataclass(frozen=True)
class _Opener:
    """Opens what computes a graph of the model's split."""

    files: Mapping[str, Path]
    graph: str
    settings: OpenVinoSettings
    host: HostMaker | None

    def __call__(self, layers: Layers) -> Stage:
        if self.graph in self.files:
            return self._open(self.graph, layers)
        if self.graph == "decoder":
            return DecoderStage(self._open("language_model", layers))
        tower, projector = _PARTS["vision_encoder"]
        files = {name: self.files[name] for name in (tower, projector)}
        host = host_for(RUNNER, files, self.host, files[tower].parent)
        if self.graph == "embed_tokens":
            return EmbeddingStage(self._open("text_embeddings", "hidden"), host)
        return VisionStage(host, tower, self._open(tower, layers), {projector: self._open(projector, "hidden")})

    def _open(self, name: str, layers: Layers) -> OpenVinoGraph:
        return OpenVinoGraph(self.files[name], layers, self.settings)


RUNNER = OpenVinoRunner()
