"""The graphs of a bundle's `openvino/` folder, each an .xml with its weights in the .bin beside it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nexus_edge.bundle import GraphInfo
from nexus_edge.bundle.openvino_names import CONSTANTS
from nexus_edge.families import family_named
from nexus_edge.interfaces.graph import GraphSpec
from nexus_edge.pipeline.weights import StoredTensor, WeightsFile
from nexus_edge.recipe import Recipe
from nexus_edge.targets.base import Ingredients
from nexus_edge.targets.openvino.family import PLAIN, OpenVinoClient, Part
from nexus_edge.targets.openvino.ir_file import Draft
from nexus_edge.targets.openvino.model import convert

FOLDER = "openvino"


def make(recipe: Recipe, specs: Sequence[GraphSpec]) -> "OpenVinoTarget":
    """See `nexus_edge.targets.base.make_target`."""
    return OpenVinoTarget(family_named(recipe.model_type).openvino_client() or PLAIN)


@dataclass(frozen=True)
class _Translated:
    """A part of a graph that waits for its weights."""

    part: Part
    draft: Draft
    weights: WeightsFile


class OpenVinoTarget:
    """Translated graphs that wait for their weights; see `nexus_edge.targets.base.Target`."""

    repeats_weights = False

    def __init__(self, client: OpenVinoClient) -> None:
        self._client = client
        self._done: dict[str, list[_Translated]] = {}

    def weight_files(self, spec: GraphSpec) -> int:
        """One per .xml."""
        return len(self._client.parts(spec))

    def translate(self, spec: GraphSpec) -> None:
        self._done[spec.name] = [self._translate(part) for part in self._client.parts(spec)]

    def _translate(self, part: Part) -> _Translated:
        model = convert(part.spec)
        if part.finish is not None:
            part.finish(model)
        draft = Draft.of(model)
        inputs = frozenset(tensor.name for tensor in part.inputs)
        weights = WeightsFile(
            f"{FOLDER}/{part.file}.bin", draft.weights(inputs) | part.companions, {_constants(part): draft.constants}
        )
        return _Translated(part, draft, weights)

    def weights_files(self, graph: str) -> Sequence[WeightsFile]:
        """One per .xml, because OpenVINO looks for the .bin of the same name."""
        return [translated.weights for translated in self._done[graph]]

    def write(self, root: Path, ingredients: Ingredients) -> dict[str, GraphInfo]:
        infos = {}
        for graph, parts in self._done.items():
            for translated in parts:
                part, bin_file = translated.part, translated.weights.file
                file = f"{FOLDER}/{part.file}.xml"
                tensors = _in_file(ingredients.stored, root / bin_file)
                translated.draft.write(root / file, tensors, tensors[_constants(part)])
                scheme = ingredients.schemes[graph]
                infos[part.spec.name] = GraphInfo(file, part.inputs, part.outputs, scheme, bin_file)
        for write in self._client.companions:
            write(root / FOLDER, ingredients)
        return infos


def _constants(part: Part) -> str:
    """The name under which the small constants of a graph lie among its weights."""
    return part.spec.name + CONSTANTS


def _in_file(stored: Mapping[str, StoredTensor], path: Path) -> dict[str, StoredTensor]:
    return {name: tensor for name, tensor in stored.items() if tensor.path == path}
