"""The decoder in ONNX Runtime for one sequence: its KV cache and its bindings, on sessions that all sequences share."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nexus_edge._telemetry import without_telemetry
from nexus_edge.engines.onnx.kv_cache import CacheSpec, KVCache
from nexus_edge.engines.onnx.session import fixed_size, reported_as_bundle_error
from nexus_edge.interfaces.engine import Floats, Ids, Positions

with without_telemetry():
    import onnxruntime

IDS, EMBEDS, MASK, POSITIONS = "input_ids", "inputs_embeds", "attention_mask", "position_ids"


@dataclass(frozen=True)
class Graph:
    """A graph's file and its session (onnxruntime.InferenceSession)."""

    path: Path
    session: Any


class DecoderGraphs:
    """What turns ids into logits: token embedding and decoder, read once for any number of sequences.

    Raises:
        BundleError: they are no such graphs.
    """

    def __init__(self, embed: Graph, decoder: Graph) -> None:
        self.embed, self.decoder = embed, decoder
        self.vocab = fixed_size(decoder.session.get_outputs(), "logits", 2, decoder.path)
        self.cache = CacheSpec.of_graph(decoder.session.get_inputs(), str(decoder.path))
        self.fixed = _without_rows(embed)
        ranks = [len(node.shape) for node in decoder.session.get_inputs() if node.name == POSITIONS]
        self.positions_rank = ranks[0] if ranks else None


class OnnxDecoder:
    """See `nexus_edge.interfaces.engine.Decoder`."""

    def __init__(self, graphs: DecoderGraphs) -> None:
        self._graphs, self._embed, self._decoder = graphs, graphs.embed, graphs.decoder
        self._cache = KVCache(graphs.cache)
        self._binding = self._decoder.session.io_binding()
        self._logits = np.zeros((1, 1, graphs.vocab), np.float32)
        self._logits_value = _share(self._logits)
        self._binding.bind_ortvalue_output("logits", self._logits_value)

    @property
    def cache_bytes(self) -> int:
        """Size of the KV cache's buffers; what was never written of them takes no memory."""
        return self._cache.num_bytes

    def embed(self, ids: Ids) -> Floats:
        """See `Decoder.embed`."""
        with reported_as_bundle_error(self._embed.path):
            embeds: Floats = self._embed.session.run([EMBEDS], {IDS: ids[None], **self._graphs.fixed})[0]
        return embeds[0]

    def reserve(self, tokens: int, past: int) -> None:
        """See `Decoder.reserve`."""
        self._cache.reserve(tokens, used=past)

    def extend(self, embeds: Floats, past: int, positions: Positions) -> Floats:
        """See `Decoder.extend`."""
        total = past + len(embeds)
        self._cache.reserve(positions.length, used=past)
        binding = self._binding
        # The graph counts the ones for its positions, and takes the width for the length of the sequence.
        mask = np.zeros((1, positions.length), np.int64)
        mask[:, :total] = 1
        given = {EMBEDS: embeds[None], MASK: mask}
        if self._graphs.positions_rank is not None:  # [batch, tokens], or [axes, batch, tokens]
            given[POSITIONS] = positions.ids if self._graphs.positions_rank == 2 else positions.ids[:, None]
        values = {name: _share(np.ascontiguousarray(array)) for name, array in given.items()}
        for name, value in values.items():
            binding.bind_ortvalue_input(name, value)
        self._cache.bind(binding)
        with reported_as_bundle_error(self._decoder.path):
            self._decoder.session.run_with_iobinding(binding)
        logits: Floats = self._logits[0, 0]
        return logits


def _without_rows(embed: Graph) -> dict[str, NDArray[Any]]:
    """What a token embedding takes beside ids: features of images, which other runtimes merge there. Here none."""
    others = [node.name for node in embed.session.get_inputs() if node.name != IDS]
    sizes = {name: fixed_size(embed.session.get_inputs(), name, 1, embed.path) for name in others}
    return {name: np.zeros((0, size), np.float32) for name, size in sizes.items()}


def _share(array: NDArray[Any]) -> Any:
    """An OrtValue on the array's own memory; it must outlive the run that it is bound for."""
    return onnxruntime.OrtValue.ortvalue_from_numpy(array)
