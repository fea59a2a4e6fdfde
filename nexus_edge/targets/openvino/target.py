"""The graphs of a bundle's `openvino/` folder, each an .xml with its weights in the .bin beside it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nexus_edge.bundle import GraphInfo
from nexus_edge.bundle.openvino_names import CONSTANTS
from nexus_edge.families import family_named
from nexus_edge.interfaces.graph import GraphSpec
from nexus_edge.interfaces.target import ExportedModel, StoredTensor, StoredWeights, WeightsFile
from nexus_edge.recipe import Recipe
from nexus_edge.targets.openvino.family import PLAIN, OpenVinoClient, Part
from nexus_edge.targets.openvino.ir_file import Draft
from nexus_edge.targets.openvino.model import convert

FOLDER = "openvino"


def make(recipe: Recipe, specs: Sequence[GraphSpec]) -> "OpenVinoTarget":
    """See `nexus_edge.targets.make_target`."""
    return OpenVinoTarget(family_named(recipe.model_type).openvino_client() or PLAIN)


@dataclass(frozen=True)
class _TranslatedPart:
    """A part of a graph that waits for its weights."""

    part: Part
    draft: Draft
    weights: WeightsFile


@dataclass(frozen=True)
class OpenVinoGraphs:
    """The IRs that a graph of the split becomes; see `nexus_edge.interfaces.target.Translated`."""

    graph: str
    parts: tuple[_TranslatedPart, ...]

    @property
    def files(self) -> Sequence[WeightsFile]:
        """One per .xml, because OpenVINO looks for the .bin of the same name."""
        return [translated.weights for translated in self.parts]


class OpenVinoTarget:
    """See `nexus_edge.interfaces.target.Target`."""

    def __init__(self, client: OpenVinoClient) -> None:
        self._client = client
        self.companions = client.companions

    def weight_files(self, spec: GraphSpec) -> int:
        """One per .xml."""
        return len(self._client.parts(spec))

    def translate(self, spec: GraphSpec) -> OpenVinoGraphs:
        return OpenVinoGraphs(spec.name, tuple(_translate(part) for part in self._client.parts(spec)))

    def write(
        self, root: Path, graphs: Sequence[OpenVinoGraphs], weights: StoredWeights, exported: ExportedModel
    ) -> dict[str, GraphInfo]:
        (root / FOLDER).mkdir(exist_ok=True)
        infos = {}
        for whole in graphs:
            for translated in whole.parts:
                part, bin_file = translated.part, translated.weights.file
                file = f"{FOLDER}/{part.file}.xml"
                tensors = _in_file(weights.tensors, root / bin_file)
                translated.draft.write(root / file, tensors, tensors[_constants(part)])
                scheme = weights.schemes[whole.graph]
                infos[part.spec.name] = GraphInfo(file, part.inputs, part.outputs, scheme, bin_file)
        return infos


def _translate(part: Part) -> _TranslatedPart:
    model = convert(part.spec)
    if part.finish is not None:
        part.finish(model)
    draft = Draft.of(model)
    inputs = frozenset(tensor.name for tensor in part.inputs)
    weights = WeightsFile(
        f"{FOLDER}/{part.file}.bin", draft.weights(inputs) | part.companions, {_constants(part): draft.constants}
    )
    return _TranslatedPart(part, draft, weights)


def _constants(part: Part) -> str:
    """The name under which the small constants of a graph lie among its weights."""
    return part.spec.name + CONSTANTS


def _in_file(stored: Mapping[str, StoredTensor], path: Path) -> dict[str, StoredTensor]:
    return {name: tensor for name, tensor in stored.items() if tensor.path == path}
