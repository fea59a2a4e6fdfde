"""The decoder in ONNX Runtime for one sequence: its KV cache and its bindings, on sessions that all sequences share."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nexus_edge._telemetry import without_telemetry
from nexus_edge.engines.base import Floats, Ids
from nexus_edge.engines.onnx.kv_cache import CacheSpec, KVCache
from nexus_edge.engines.onnx.session import fixed_size, reported_as_bundle_error

with without_telemetry():
    import onnxruntime


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
        self.hidden = fixed_size(embed.session.get_inputs(), "image_features", 1, embed.path)
        self.vocab = fixed_size(decoder.session.get_outputs(), "logits", 2, decoder.path)
        self.cache = CacheSpec.of_graph(decoder.session.get_inputs(), str(decoder.path))


class OnnxDecoder:
    """See `nexus_edge.engines.base.Decoder`."""

    def __init__(self, graphs: DecoderGraphs) -> None:
        self._embed, self._decoder = graphs.embed, graphs.decoder
        self._cache = KVCache(graphs.cache)
        self._embed_binding = self._embed.session.io_binding()
        self._decoder_binding = self._decoder.session.io_binding()
        self._no_features = np.zeros((0, graphs.hidden), np.float32)
        self._logits = np.zeros((1, 1, graphs.vocab), np.float32)
        self._logits_value = _share(self._logits)
        self._decoder_binding.bind_ortvalue_output("logits", self._logits_value)

    @property
    def cache_bytes(self) -> int:
        """Size of the KV cache's buffers; what was never written of them takes no memory."""
        return self._cache.num_bytes

    def reserve(self, tokens: int, past: int) -> None:
        """See `Decoder.reserve`."""
        self._cache.reserve(tokens, used=past)

    def extend(self, ids: Ids, features: Floats | None, past: int, rope_length: int) -> Floats:
        """See `Decoder.extend`."""
        total = past + len(ids)
        self._cache.reserve(rope_length, used=past)
        with reported_as_bundle_error(self._embed.path):
            embeds = self._run_embed(ids, self._no_features if features is None else features)
        binding = self._decoder_binding
        # The graph counts the ones for its positions, and chooses LongRoPE's list by the width.
        mask = np.zeros((1, rope_length), np.int64)
        mask[:, :total] = 1
        binding.bind_ortvalue_input("inputs_embeds", embeds)
        binding.bind_ortvalue_input("attention_mask", _share(mask))
        self._cache.bind(binding)
        with reported_as_bundle_error(self._decoder.path):
            self._decoder.session.run_with_iobinding(binding)
        logits: Floats = self._logits[0, 0]
        return logits

    def _run_embed(self, ids: Ids, features: Floats) -> Any:
        """[tokens], [rows, hidden] -> OrtValue [1, tokens, hidden], which goes to the decoder without a copy."""
        binding = self._embed_binding
        inputs = _share(np.ascontiguousarray(ids[None])), _share(np.ascontiguousarray(features))
        binding.bind_ortvalue_input("input_ids", inputs[0])
        binding.bind_ortvalue_input("image_features", inputs[1])
        binding.bind_output("inputs_embeds", "cpu")
        self._embed.session.run_with_iobinding(binding)
        return binding.get_outputs()[0]


def _share(array: NDArray[Any]) -> Any:
    """An OrtValue on the array's own memory; it must outlive the run that it is bound for."""
    return onnxruntime.OrtValue.ortvalue_from_numpy(array)
