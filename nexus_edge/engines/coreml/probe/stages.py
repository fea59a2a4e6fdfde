"""Core ML's packages of a vision-language model in the place of the graphs that the model is split into.

What an app does between them is done here: crops and tokens are cut into calls of fixed size, crops are laid out, image
features put among the embeddings, and the cache goes in and out as states.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from nexus_edge.bundle import TensorSpec
from nexus_edge.engines.coreml.decoder import Piece, filled, pieces
from nexus_edge.engines.coreml.engine import cut
from nexus_edge.engines.coreml.mil import MilFunction
from nexus_edge.engines.coreml.parts import (
    EMBEDS,
    FEATURES,
    GROWN,
    HIDDEN,
    IDS,
    LENGTH,
    LOGITS,
    PIXELS,
    POSITION,
    SEPARATORS_GLOBAL_FIRST,
    Chunk,
    CoremlParts,
)
from nexus_edge.engines.coreml.probe.layers import Call, Caller, outputs_by_number
from nexus_edge.engines.coreml.session import CoremlState
from nexus_edge.errors import ParityError, PromptError
from nexus_edge.parity.metrics import Array, Values
from nexus_edge.parity.report.report import NotRunError
from nexus_edge.parity.stages import in_order
from nexus_edge.processing.hd_transform import CROP
from nexus_edge.runtimes.vlm.hd_layout import SIDE, Separators, lay_out_joined

Specs = Mapping[str, TensorSpec]

_FEATURES, _MASK, _PAST, _PRESENT = "image_features", "attention_mask", "past_key_values", "present"


class VisionStage:
    """Pixels to image features; see `Stage`.

    Args:
        parts: the packages
        functions: crops of a call -> the function for so many; the runtime's, or one of them
        caller: of the functions
    """

    def __init__(self, parts: CoremlParts, functions: Mapping[int, MilFunction], caller: Caller) -> None:
        self._functions, self._caller, self._separators = functions, caller, parts.separators
        self.inputs: Specs = _by_name(
            TensorSpec(PIXELS, "float32", ("pictures", "crops", 3, CROP, CROP)),
            TensorSpec("image_sizes", "int64", ("pictures", 2)),
        )
        self.outputs: Specs = _by_name(TensorSpec(_FEATURES, "float32", ("image_tokens", parts.hidden)))

    def run(self, inputs: Values) -> Values:
        """See `Stage.run`."""
        _require(self.inputs, inputs)
        grids = [(int(height) // CROP, int(width) // CROP) for height, width in inputs["image_sizes"]]
        counts = [1 + rows * columns for rows, columns in grids]  # what is behind them only fills the batch
        crops = np.concatenate([views[:count] for views, count in zip(inputs[PIXELS], counts, strict=True)])
        calls = [self._call(crops, start, size, inputs) for start, size in cut(len(crops), self._functions)]
        values = {name: np.concatenate([call[name] for call in calls]) for name in calls[0]}
        separators = Separators(*values.pop(self._separators)[:2])
        first = self._separators == SEPARATORS_GLOBAL_FIRST
        pictures = zip(np.split(values.pop(FEATURES), np.cumsum(counts)[:-1]), grids, strict=True)
        tokens = [lay_out_joined(views, grid, separators, global_first=first) for views, grid in pictures]
        values[_FEATURES] = np.concatenate(tokens)
        return {name: values[name] for name in in_order(list(values))}

    def _call(self, crops: Array, start: int, size: int, inputs: Values) -> dict[str, Array]:
        """Values of the crops from `start` on, at most `size`, each with the crops as its first axis."""
        function = self._functions[size]

        def part(values: Array) -> Array:
            rows = values[start : start + size]
            return np.pad(rows, [(0, size - len(rows)), *[(0, 0)] * (rows.ndim - 1)])

        reference = {layer: part(inputs[layer]) for layer in _fed(self._caller, function, inputs)}
        results = self._caller.run(function, Call({PIXELS: part(crops)}, None, reference))
        results[FEATURES] = results[FEATURES].reshape(size, SIDE, SIDE, -1)
        count = min(size, len(crops) - start)
        return {name: value if name == self._separators else value[:count] for name, value in results.items()}


class EmbeddingStage:
    """Ids and image features to embeddings; see `Stage`."""

    def __init__(self, parts: CoremlParts, caller: Caller) -> None:
        self._functions, self._caller = parts.embedding, caller
        features = TensorSpec(_FEATURES, "float32", ("image_tokens", parts.hidden))
        self.inputs: Specs = _by_name(TensorSpec(IDS, "int64", ("batch", "tokens")), features)
        self.outputs: Specs = _by_name(TensorSpec(EMBEDS, "float32", ("batch", "tokens", parts.hidden)))

    def run(self, inputs: Values) -> Values:
        """See `Stage.run`."""
        _require(self.inputs, inputs)
        ids = np.asarray(_single(inputs, IDS), np.int64)
        embeds = np.concatenate(list(self._pieces(np.maximum(ids, 0).astype(np.int32))), axis=1)
        embeds[ids < 0] = inputs[_FEATURES]
        return {EMBEDS: embeds}

    def _pieces(self, ids: Array) -> Iterator[Array]:
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


def _by_name(*specs: TensorSpec) -> dict[str, TensorSpec]:
    return {spec.name: spec for spec in specs}
