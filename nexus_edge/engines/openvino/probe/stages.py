"""OpenVINO GenAI's graphs in the place of those that the model is split into.

The tower and the projector are two graphs, between which the family's host works, image features are put among the
embeddings outside, and the decoder keeps its cache itself.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from nexus_edge._telemetry import without_telemetry
from nexus_edge.bundle import TensorSpec
from nexus_edge.bundle.layer_names import layer_of_output
from nexus_edge.bundle.openvino_names import BEAMS
from nexus_edge.engines.openvino.probe.graph import OpenVinoGraph, source_of
from nexus_edge.engines.probes import Rows
from nexus_edge.interfaces.engine import Array
from nexus_edge.interfaces.host import VlmHost
from nexus_edge.parity.metrics import Values
from nexus_edge.parity.stages import in_order
from nexus_edge.processing.merging import merge_features
from nexus_edge.processing.text_side import as_inputs

with without_telemetry():
    import openvino as ov

Specs = Mapping[str, TensorSpec]

_PAST, _PRESENT = "past_key_values.", "present."
POSITIONS = "position_ids"
INPUTS = frozenset({"inputs_embeds", "attention_mask", POSITIONS, BEAMS})
"""Of the decoder's graph."""


class VisionStage:
    """Pixels to image features, as the family's host leads images through the graphs; see `Stage`.

    Args:
        host: of these graphs
        name: of the graph that views go through
        tower: that graph
        others: the other graphs of an image, by their names
    """

    def __init__(self, host: VlmHost, name: str, tower: OpenVinoGraph, others: Mapping[str, OpenVinoGraph]) -> None:
        self._host, self._name, self._tower, self._others = host, name, tower, others
        self.inputs: Specs = {name: spec for name, spec in tower.inputs.items() if source_of(name) == name}
        hidden = next(iter(others.values())).outputs["last_hidden_state"].shape[-1]
        self.outputs: Specs = _by_name(TensorSpec("image_features", "float32", ("image_tokens", hidden)))

    def run(self, inputs: Values) -> Values:
        features: list[Array] = []
        layers: dict[str, list[Array]] = {}
        rows = Rows(0, 0)
        for image in self._host.images(inputs):
            rows = Rows(rows.start + rows.count, self._host.views(image))
            features.append(self._host.encode(partial(self._run, inputs, rows, layers), image))
        seen = {name: np.concatenate(values) for name, values in layers.items()}
        return {**seen, "image_features": np.concatenate(features)}

    def _run(
        self, inputs: Values, rows: Rows, layers: dict[str, list[Array]], graph: str, given: Mapping[str, Array]
    ) -> Values:
        if graph != self._name:
            return self._others[graph].run(given)
        part = rows.take(len(next(iter(given.values()))))
        fed = {source_of(name): inputs[source_of(name)][part] for name in self._tower.inputs if name not in given}
        values = self._tower.run({**fed, **given})
        for name in (name for name in values if layer_of_output(name) is not None):
            layers.setdefault(name, []).append(values[name])
        return values


class EmbeddingStage:
    """Ids and image features to embeddings; see `Stage`."""

    def __init__(self, graph: OpenVinoGraph, host: VlmHost) -> None:
        self._graph, self._host = graph, host
        hidden = graph.outputs["inputs_embeds"].shape[-1]
        features = TensorSpec("image_features", "float32", ("image_tokens", hidden))
        self.inputs: Specs = _by_name(TensorSpec("input_ids", "int64", ("batch", "tokens")), features)
        self.outputs = graph.outputs

    def run(self, inputs: Values) -> Values:
        prompt = self._host.prompt(as_inputs(inputs["input_ids"][0].tolist()))
        embeds = self._graph.run({"input": prompt.ids[None]})["inputs_embeds"][0].copy()
        merge_features(embeds, prompt.is_image, inputs["image_features"], self._host.merge)
        return {"inputs_embeds": embeds[None]}


class DecoderStage:
    """Embeddings and a cache to logits and a longer cache; see `Stage`.

    The cache goes in and out as the graph's variables. Where there is one, the sequence runs as the first of two that
    continues the second of the call before, so that a graph which forgets `beam_idx` is found.
    """

    def __init__(self, graph: OpenVinoGraph, presents: frozenset[str] | None = None) -> None:
        """`presents`: caches that the graph makes, if it is a piece of the decoder's; it may look at others."""
        self._graph = graph
        variables = self._variables(graph.compiled.create_infer_request())
        self._presents = frozenset(map(_present, variables)) if presents is None else presents
        taken = {source_of(name): spec for name, spec in graph.inputs.items() if name not in (BEAMS, POSITIONS)}
        # A call's length is that of its mask, also for a piece that masks nothing.
        mask = TensorSpec("attention_mask", "int64", ("batch", "total"))
        self.inputs: Specs = {
            **taken,
            mask.name: mask,
            **_by_name(*(_cache_spec(name, variable) for name, variable in variables.items())),
        }
        made = {_present(name): variable for name, variable in variables.items() if _present(name) in self._presents}
        caches = _by_name(*(_cache_spec(name, variable) for name, variable in made.items()))
        self.outputs: Specs = {**graph.outputs, **caches}

    def run(self, inputs: Values) -> Values:
        caches = {name: values for name, values in inputs.items() if name.startswith(_PAST)}
        past = next((values.shape[2] for values in caches.values()), 0)
        rows = 2 if past else 1
        request = self._graph.compiled.create_infer_request()
        variables = self._variables(request)
        for name in caches.keys() & variables.keys() if past else ():
            variables[name].state = ov.Tensor(np.concatenate([np.zeros_like(caches[name]), caches[name]]))
        feeds = {name: np.repeat(values, rows, axis=0) for name, values in inputs.items() if name not in caches}
        feeds[POSITIONS] = feeds["attention_mask"].cumsum(axis=1)[:, past:] - 1
        feeds[BEAMS] = np.arange(rows, dtype=np.int32)[::-1]
        values = {name: value[:1] for name, value in self._graph.infer(request, feeds).items()}
        for name, variable in variables.items():
            if _present(name) in self._presents:
                values[_present(name)] = variable.state.data[:1].copy()
        if "logits" in values:
            values["logits"] = values["logits"][:, -1:]
        return {name: values[name] for name in in_order(list(values))}

    def _variables(self, request: Any) -> dict[str, Any]:
        """`past_key_values.{i}.key` and `.value` -> openvino.VariableState; a variable is called past, then present."""
        return {state.name.partition(_PRESENT)[0]: state for state in request.query_state()}


def present_of(variable: str) -> str:
    """`present.{i}.key` or `.value` of a variable's name, `past_key_values.{i}.keypresent.{i}.key`."""
    return _PRESENT + variable.partition(_PRESENT)[2]


def _present(past: str) -> str:
    return _PRESENT + past.removeprefix(_PAST)


def _cache_spec(name: str, variable: Any) -> TensorSpec:
    _, heads, _, head_dim = variable.state.shape
    return TensorSpec(name, "float32", ("batch", heads, "past", head_dim))


def _by_name(*specs: TensorSpec) -> dict[str, TensorSpec]:
    return {spec.name: spec for spec in specs}
