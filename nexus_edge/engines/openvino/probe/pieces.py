"""The decoder of the target openvino as one small graph per layer, so that OpenVINO compiles one layer at a time.

All layers are cut from each other first, as for a graph that is judged as a whole; what a piece's results and cache
then need of the graph is that piece.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nexus_edge._telemetry import without_telemetry
from nexus_edge.bundle.layer_names import layer_of_output
from nexus_edge.engines.openvino.check import check_graph
from nexus_edge.engines.openvino.probe.graph import OpenVinoGraph, show_layers, source_of
from nexus_edge.engines.openvino.probe.stages import INPUTS, DecoderStage, present_of
from nexus_edge.engines.openvino.session import reported_as_bundle_error
from nexus_edge.engines.openvino.settings import OpenVinoSettings
from nexus_edge.engines.probes import Piece, WeightOf
from nexus_edge.errors import BundleError, ParityError
from nexus_edge.parity.stages import layer_of

with without_telemetry():
    import openvino as ov
    from openvino import opset13 as op

_LAST = 1 << 30  # after all layers


def decoder_pieces(path: Path, settings: OpenVinoSettings, weight_of: WeightOf | None) -> Iterator[Piece]:
    """A decoder's layers in their order, each compiled when it is asked for.

    Args:
        path: of the .xml
        settings: how it computes
        weight_of: where the weights are that are inputs of the graph, if it has such

    Raises:
        ParityError: the graph does not load.
    """
    try:
        check_graph(path)
        with reported_as_bundle_error(path, "cannot be loaded"):
            model = ov.Core().read_model(path)
            show_layers(model, cut=True)
        parts = _parts(model)
        inputs = [_parameters(part) for part in parts]
        weights = [[node for node in nodes if _is_weight(node)] for nodes in inputs]
        feeds = [[node for node in nodes if not _is_weight(node)] for nodes in inputs]
        for number, part in enumerate(parts):
            presents = frozenset(present_of(name) for name in map(_variable, part.sinks))
            with reported_as_bundle_error(path, "cannot be loaded"), _held(weights[number], weight_of):
                piece = ov.Model(part.results, part.sinks, feeds[number], f"{path.stem} {number}")
                stage = DecoderStage(OpenVinoGraph.of_model(path.name, piece, settings), presents)
            later = {source_of(node.get_friendly_name()) for after in feeds[number + 1 :] for node in after}
            yield Piece(stage, frozenset(later))
    except BundleError as error:
        raise ParityError(f"{path.name} does not load: {error}") from error


@dataclass
class _Part:
    """What leaves a piece: values, and a grown cache."""

    results: list[Any] = field(default_factory=list)
    sinks: list[Any] = field(default_factory=list)


def _parts(model: Any) -> list[_Part]:
    """Results and sinks (openvino.Node) by layer, what belongs to none last."""
    parts: dict[int, _Part] = {}
    for result in model.get_results():
        layer = layer_of(result.input_value(0).get_any_name())
        parts.setdefault(_LAST if layer is None else layer, _Part()).results.append(result)
    for sink in model.get_sinks():
        layer = layer_of(present_of(_variable(sink)))
        parts.setdefault(_LAST if layer is None else layer, _Part()).sinks.append(sink)
    return [parts[layer] for layer in sorted(parts)]


def _parameters(part: _Part) -> list[Any]:
    """The inputs of the graph that a piece depends on."""
    found: dict[str, Any] = {}
    seen: set[str] = set()
    waiting = [*part.results, *part.sinks]
    while waiting:
        node = waiting.pop()
        if node.get_name() in seen:  # unique in a graph, where friendly names need not be
            continue
        seen.add(node.get_name())
        if node.get_type_name() == "Parameter":
            found[node.get_name()] = node
        waiting += [value.get_node() for value in node.input_values()]
    return list(found.values())


def _is_weight(parameter: Any) -> bool:
    """Whether an input is neither the decoder's own nor what another layer leaves."""
    name: str = parameter.get_friendly_name()
    return name not in INPUTS and layer_of_output(source_of(name)) is None


@contextmanager
def _held(weights: list[Any], weight_of: WeightOf | None) -> Iterator[None]:
    """Inside, these inputs are constants; afterwards the graph holds no number of theirs."""
    held = []
    for parameter in weights:
        assert weight_of is not None, f"{parameter.get_friendly_name()} has no numbers"
        numbers = weight_of(parameter.get_friendly_name()).reshape(parameter.get_output_shape(0))
        readers = list(parameter.output(0).get_target_inputs())
        constant = op.constant(numbers, name=parameter.get_friendly_name())
        for reader in readers:
            reader.replace_source_output(constant.output(0))
        held.append((parameter, readers))
    yield
    for parameter, readers in held:
        for reader in readers:
            reader.replace_source_output(parameter.output(0))


def _variable(sink: Any) -> str:
    name: str = sink.get_variable_id()
    return name
