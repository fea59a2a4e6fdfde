"""OpenVINO GenAI's graphs of Phi-3-Vision in the place of those that the model is split into.

The tower and the projector are two graphs with the HD layout between them, image features are put among the embeddings
outside, and the decoder keeps its cache itself.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nexus_edge._telemetry import without_telemetry
from nexus_edge.bundle import TensorSpec
from nexus_edge.bundle.openvino_names import BEAMS
from nexus_edge.engines.openvino.engine import separators_of
from nexus_edge.engines.openvino.probe.graph import OpenVinoGraph, source_of
from nexus_edge.errors import BundleError, ParityError
from nexus_edge.parity.metrics import Array, Values
from nexus_edge.parity.stages import in_order
from nexus_edge.processing.hd_transform import CROP
from nexus_edge.runtimes.vlm.hd_layout import lay_out

with without_telemetry():
    import openvino as ov

Specs = Mapping[str, TensorSpec]

_PAST, _PRESENT = "past_key_values.", "present."
POSITIONS = "position_ids"
INPUTS = frozenset({"inputs_embeds", "attention_mask", POSITIONS, BEAMS})
"""Of the decoder's graph."""


class VisionStage:
    """Pixels to image features; see `Stage`."""

    def __init__(self, tower: OpenVinoGraph, projector: OpenVinoGraph, folder: Path) -> None:
        """`folder` holds config.json with the separators."""
        self._tower, self._projector = tower, projector
        try:
            self._separators = separators_of(folder)
        except BundleError as error:
            raise ParityError(str(error)) from error
        crop = tower.inputs["pixel_values"].shape
        self.inputs: Specs = _by_name(
            TensorSpec("pixel_values", "float32", ("pictures", "crops", *crop[1:])),
            TensorSpec("image_sizes", "int64", ("pictures", 2)),
        )
        hidden = projector.outputs["last_hidden_state"].shape[-1]
        self.outputs: Specs = _by_name(TensorSpec("image_features", "float32", ("image_tokens", hidden)))

    def run(self, inputs: Values) -> Values:
        grids = [(int(height) // CROP, int(width) // CROP) for height, width in inputs["image_sizes"]]
        counts = [1 + rows * columns for rows, columns in grids]  # what is behind them only fills the batch
        crops = [views[:count] for views, count in zip(inputs["pixel_values"], counts, strict=True)]
        values = dict(self._tower.run({**inputs, "pixel_values": np.concatenate(crops)}))
        features = np.split(values.pop("last_hidden_state"), np.cumsum(counts)[:-1])
        tokens = [self._project(*picture) for picture in zip(features, grids, strict=True)]
        return {**values, "image_features": np.concatenate(tokens)}

    def _project(self, features: Array, grid: tuple[int, int]) -> Array:
        """Features of one picture's crops [crops, 576, width] -> [image tokens, hidden]"""
        tokens = lay_out(np.asarray(features, np.float32), grid, self._separators)
        return self._projector.run({"input": tokens[None]})["last_hidden_state"][0]


class EmbeddingStage:
    """Ids and image features to embeddings; see `Stage`."""

    def __init__(self, graph: OpenVinoGraph) -> None:
        self._graph = graph
        hidden = graph.outputs["inputs_embeds"].shape[-1]
        features = TensorSpec("image_features", "float32", ("image_tokens", hidden))
        self.inputs: Specs = _by_name(TensorSpec("input_ids", "int64", ("batch", "tokens")), features)
        self.outputs = graph.outputs

    def run(self, inputs: Values) -> Values:
        ids = np.asarray(inputs["input_ids"], np.int64)
        embeds = self._graph.run({"input": np.maximum(ids, 0)})["inputs_embeds"].copy()
        embeds[ids < 0] = inputs["image_features"]
        return {"inputs_embeds": embeds}


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
