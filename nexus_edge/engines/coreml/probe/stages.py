"""Core ML's packages of a vision-language model in the place of the graphs that the model is split into.

What an app does between them is done here: the family's host leads images through their functions, tokens are cut into
calls of fixed size, image features put among the embeddings, and the cache goes in and out as states.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from nexus_edge.bundle import TensorSpec
from nexus_edge.engines.coreml.decoder import Piece, filled, pieces
from nexus_edge.engines.coreml.mil import Feature, MilFunction
from nexus_edge.engines.coreml.parts import EMBEDS, GROWN, HIDDEN, IDS, LENGTH, LOGITS, POSITION, Chunk, CoremlParts
from nexus_edge.engines.coreml.probe.layers import Call, Caller, outputs_by_number
from nexus_edge.engines.coreml.session import CoremlState
from nexus_edge.engines.interface import ANY_SIZE
from nexus_edge.engines.probes import Rows
from nexus_edge.errors import ParityError, PromptError
from nexus_edge.interfaces.host import VlmHost
from nexus_edge.parity.metrics import Array, Values
from nexus_edge.parity.report.report import NotRunError
from nexus_edge.parity.stages import in_order
from nexus_edge.processing.calls import cut
from nexus_edge.processing.merging import merge_features
from nexus_edge.processing.text_side import as_inputs

Specs = Mapping[str, TensorSpec]

_FEATURES, _MASK, _PAST, _PRESENT = "image_features", "attention_mask", "past_key_values", "present"


class VisionStage:
    """Pixels to image features, as the family's host leads images through the packages; see `Stage`.

    Args:
        host: of these functions
        functions: graph -> a function that takes so many views; the runtime's, or one of them
        hidden: width of the decoder
        caller: of the functions
    """

    def __init__(self, host: VlmHost, functions: Mapping[str, MilFunction], hidden: int, caller: Caller) -> None:
        self._host, self._functions, self._caller = host, functions, caller
        self.inputs: Specs = _by_name(*map(spec_of, next(iter(functions.values())).inputs.values()))
        self.outputs: Specs = _by_name(TensorSpec(_FEATURES, "float32", ("image_tokens", hidden)))

    def run(self, inputs: Values) -> Values:
        """See `Stage.run`."""
        _require(self.inputs, inputs)
        features: list[Array] = []
        layers: dict[str, list[Array]] = {}
        rows = Rows(0, 0)
        for image in self._host.images(inputs):
            rows = Rows(rows.start + rows.count, self._host.views(image))
            features.append(self._host.encode(partial(self._run, inputs, rows, layers), image))
        values = {name: np.concatenate(found) for name, found in layers.items()}
        values[_FEATURES] = np.concatenate(features)
        return {name: values[name] for name in in_order(list(values))}

    def _run(
        self, inputs: Values, rows: Rows, layers: dict[str, list[Array]], graph: str, given: Mapping[str, Array]
    ) -> Values:
        """One call, of as many views as the function takes; the last may be filled up."""
        function, size = self._functions[graph], len(next(iter(given.values())))
        part = rows.take(size)

        def filled_up(values: Array) -> Array:
            return np.pad(values, [(0, size - len(values)), *[(0, 0)] * (values.ndim - 1)])

        reference = {layer: filled_up(inputs[layer][part]) for layer in _fed(self._caller, function, inputs)}
        results = self._caller.run(function, Call(given, None, reference))
        for name in (name for name in results if name not in function.outputs):
            layers.setdefault(name, []).append(results[name][: part.stop - part.start])
        return results


class EmbeddingStage:
    """Ids and image features to embeddings; see `Stage`."""

    def __init__(self, parts: CoremlParts, host: VlmHost, caller: Caller) -> None:
        self._functions, self._host, self._caller = parts.embedding, host, caller
        features = TensorSpec(_FEATURES, "float32", ("image_tokens", parts.hidden))
        self.inputs: Specs = _by_name(TensorSpec(IDS, "int64", ("batch", "tokens")), features)
        self.outputs: Specs = _by_name(TensorSpec(EMBEDS, "float32", ("batch", "tokens", parts.hidden)))

    def run(self, inputs: Values) -> Values:
        """See `Stage.run`."""
        _require(self.inputs, inputs)
        prompt = self._host.prompt(as_inputs(_single(inputs, IDS)[0].tolist()))
        embeds = np.concatenate(list(self._calls(prompt.ids[None].astype(np.int32))), axis=1)
        merge_features(embeds[0], prompt.is_image, inputs[_FEATURES], self._host.merge)
        return {EMBEDS: embeds}

    def _calls(self, ids: Array) -> Iterator[Array]:
        for start, size in cut(ids.shape[1], self._functions):
            part = ids[:, start : start + size]
            given = {IDS: np.pad(part, ((0, 0), (0, size - part.shape[1])))}
            yield self._caller.run(self._functions[size], Call(given, None, {}))[EMBEDS][:, : part.shape[1]]


class DecoderStage:
    """Embeddings and a cache to logits and a longer cache; see `Stage`.

    Args:
        parts: the packages
        weights: the tensors that they were made of, which say what layers are called; None where none is looked at
        caller: of their functions
    """

    def __init__(self, parts: CoremlParts, weights: Path | None, caller: Caller) -> None:
        self._parts, self._caller = parts, caller
        self._names = {} if weights is None else outputs_by_number(weights)
        _, heads, _, head_dim = parts.cache_shape

        def caches(name: str, length: str) -> list[TensorSpec]:
            return [
                TensorSpec(f"{name}.{number}.{kind}", "float32", ("batch", heads, length, head_dim))
                for chunk in parts.chunks
                for number in chunk.layers
                for kind in ("key", "value")
            ]

        self.inputs: Specs = _by_name(
            TensorSpec(EMBEDS, "float32", ("batch", "tokens", parts.hidden)),
            TensorSpec(_MASK, "int64", ("batch", "total")),
            *caches(_PAST, "past"),
        )
        vocab = parts.head.outputs[LOGITS].shape[-1]
        assert isinstance(vocab, int)
        self.outputs: Specs = _by_name(TensorSpec(LOGITS, "float32", ("batch", 1, vocab)), *caches(_PRESENT, "total"))

    def run(self, inputs: Values) -> Values:
        """See `Stage.run`; the mask's width says for which length LongRoPE's factors are chosen."""
        _require(self.inputs, inputs)
        x, total = _single(inputs, EMBEDS), int(inputs[_MASK].sum())
        past = total - x.shape[1]
        try:
            calls = list(pieces(x.shape[1], past, self._parts.widths, self._parts.context))
        except PromptError as error:
            raise NotRunError(str(error)) from error
        values: dict[str, Array] = {}
        for chunk in self._parts.chunks:
            x, found = self._run_chunk(chunk, x, calls, past, inputs)
            values |= found
        given = {HIDDEN: x[:, -1:]}
        values[LOGITS] = self._caller.run(self._parts.head, Call(given, None, {}))[LOGITS]
        return {name: values[name] for name in in_order(list(values))}

    def _run_chunk(
        self, chunk: Chunk, x: Array, calls: list[Piece], past: int, inputs: Values
    ) -> tuple[Array, dict[str, Array]]:
        """What goes on to the next chunk, [1, tokens, hidden], and all that can be seen of this one."""
        state = self._caller.new_state(chunk.functions[1])
        for number, kind, name in _caches(chunk):
            whole = np.zeros(self._parts.cache_shape, np.float32)
            whole[:, :, :past] = inputs[f"{_PAST}.{number}.{kind}"]
            state.write_state(name, whole)
        found = [self._run_piece(chunk.functions[piece.width], x, piece, state, inputs) for piece in calls]
        values = {name: np.concatenate([piece[name] for piece in found], axis=1) for name in found[0]}
        x, total = values.pop(GROWN), past + x.shape[1]
        for number, kind, name in _caches(chunk):
            values[f"{_PRESENT}.{number}.{kind}"] = state.read_state(name)[:, :, :total].astype(np.float32)
        last = self._names.get(chunk.layers[-1])
        if self._caller.layers != "hidden" and last is not None:
            values[last] = x
            x = _reference(last, inputs) if self._caller.layers == "cut" else x
        return x, values

    def _run_piece(
        self, function: MilFunction, x: Array, piece: Piece, state: CoremlState, inputs: Values
    ) -> dict[str, Array]:
        """Values of a piece's tokens, [1, tokens, hidden] each."""
        given = {
            HIDDEN: filled(np.asarray(x, np.float32), piece),
            POSITION: np.array([piece.position], np.int32),
            LENGTH: np.array([inputs[_MASK].shape[1]], np.int32),
        }
        reference = {
            layer: filled(np.asarray(inputs[layer], np.float32), piece)
            for layer in _fed(self._caller, function, inputs)
        }
        results = self._caller.run(function, Call(given, state, reference))
        return {name: value[:, : piece.stop - piece.start] for name, value in results.items()}


def _caches(chunk: Chunk) -> Iterator[tuple[int, str, str]]:
    """Layer, kind and state's name of each of a chunk's caches."""
    for number in chunk.layers:
        for kind in ("key", "value"):
            yield number, kind, f"{kind}_{number}"


def _fed(caller: Caller, function: MilFunction, inputs: Values) -> list[str]:
    """The layers of a function that are fed from outside."""
    layers = list(caller.fed(function).values())
    for layer in layers:
        _reference(layer, inputs)
    return layers


def _reference(layer: str, inputs: Values) -> Array:
    if layer not in inputs:
        raise ParityError(f"takes {layer}, which the original has not")
    return inputs[layer]


def _require(specs: Specs, inputs: Values) -> None:
    missing = [name for name in specs if name not in inputs]
    if missing:
        raise ParityError(f"takes {', '.join(missing)}, which the original has not")


def _single(inputs: Values, name: str) -> Array:
    """The input, which must be of one sequence: packages have no batch."""
    if len(inputs[name]) != 1:
        raise NotRunError(f"these packages take one sequence at a time, not {len(inputs[name])}")
    return inputs[name]


def spec_of(feature: Feature) -> TensorSpec:
    """Of an input or output; a range of sizes has no name here."""
    sizes = tuple(size if isinstance(size, int) else ANY_SIZE for size in feature.shape)
    return TensorSpec(feature.name, feature.dtype, sizes)


def _by_name(*specs: TensorSpec) -> dict[str, TensorSpec]:
    return {spec.name: spec for spec in specs}
