"""The ONNX Runtime engine: vision encoder, token embedding and decoder of a bundle on the CPU."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nexus_edge._telemetry import without_telemetry
from nexus_edge.bundle import Bundle
from nexus_edge.runtimes.engine import EngineOptions, Floats, Ids
from nexus_edge.runtimes.kv_cache import CacheSpec, KVCache
from nexus_edge.runtimes.memory import give_back_freed_memory
from nexus_edge.runtimes.onnx_session import fixed_size, open_session, reported_as_bundle_error

with without_telemetry():
    import onnxruntime

TARGET = "onnx"
VISION, EMBED, DECODER = "vision_encoder", "embed_tokens", "decoder"


def open_engine(bundle: Bundle, options: EngineOptions) -> "OnnxEngine":
    """The engine of a bundle's `onnx` target; raises BundleError."""
    return OnnxEngine(bundle, options)


class OnnxEngine:
    """See `nexus_edge.runtimes.engine.Engine`. The vision encoder is loaded when the first picture comes."""

    context_length = None  # the cache grows

    def __init__(self, bundle: Bundle, options: EngineOptions) -> None:
        self._paths = {name: bundle.graph(TARGET, name) for name in (VISION, EMBED, DECODER)}
        self._options = options
        self._vision: Any = None
        self._embed = self._open(EMBED)
        self._decoder = self._open(DECODER)
        hidden = fixed_size(self._embed.get_inputs(), "image_features", 1, self._paths[EMBED])
        vocab = fixed_size(self._decoder.get_outputs(), "logits", 2, self._paths[DECODER])
        self._cache = KVCache(CacheSpec.of_graph(self._decoder.get_inputs(), str(self._paths[DECODER])))
        self._embed_binding = self._embed.io_binding()
        self._decoder_binding = self._decoder.io_binding()
        self._no_features = np.zeros((0, hidden), np.float32)
        self._logits = np.zeros((1, 1, vocab), np.float32)
        self._logits_value = _share(self._logits)
        self._decoder_binding.bind_ortvalue_output("logits", self._logits_value)

    @property
    def cache_bytes(self) -> int:
        """Size of the KV cache's buffers; what was never written of them takes no memory."""
        return self._cache.num_bytes

    def encode_picture(self, pixel_values: Floats, image_sizes: Ids) -> Floats:
        """See `Engine.encode_picture`."""
        features = self._run_vision(pixel_values, image_sizes)
        if not self._options.keep_vision:
            give_back_freed_memory()
        return features

    def _run_vision(self, pixel_values: Floats, image_sizes: Ids) -> Floats:
        session = self._vision or self._open(VISION)
        self._vision = session if self._options.keep_vision else None
        with reported_as_bundle_error(self._paths[VISION]):
            features = session.run(None, {"pixel_values": pixel_values, "image_sizes": image_sizes})[0]
        # A copy, because an output keeps the memory of its whole session alive: 1.3 GB for Phi-3-Vision.
        return np.array(features)

    def reserve(self, tokens: int, past: int) -> None:
        """See `Engine.reserve`."""
        self._cache.reserve(tokens, used=past)

    def extend(self, ids: Ids, features: Floats | None, past: int, rope_length: int) -> Floats:
        """See `Engine.extend`."""
        total = past + len(ids)
        self._cache.reserve(rope_length, used=past)
        with reported_as_bundle_error(self._paths[EMBED]):
            embeds = self._run_embed(ids, self._no_features if features is None else features)
        binding = self._decoder_binding
        # The graph counts the ones for its positions, and chooses LongRoPE's list by the width.
        mask = np.zeros((1, rope_length), np.int64)
        mask[:, :total] = 1
        binding.bind_ortvalue_input("inputs_embeds", embeds)
        binding.bind_ortvalue_input("attention_mask", _share(mask))
        self._cache.bind(binding)
        with reported_as_bundle_error(self._paths[DECODER]):
            self._decoder.run_with_iobinding(binding)
        logits: Floats = self._logits[0, 0]
        return logits

    def _run_embed(self, ids: Ids, features: Floats) -> Any:
        """[tokens], [rows, hidden] -> OrtValue [1, tokens, hidden], which goes to the decoder without a copy."""
        binding = self._embed_binding
        inputs = _share(np.ascontiguousarray(ids[None])), _share(np.ascontiguousarray(features))
        binding.bind_ortvalue_input("input_ids", inputs[0])
        binding.bind_ortvalue_input("image_features", inputs[1])
        binding.bind_output("inputs_embeds", "cpu")
        self._embed.run_with_iobinding(binding)
        return binding.get_outputs()[0]

    def _open(self, graph: str) -> Any:
        return open_session(self._paths[graph], self._options.threads)


def _share(array: NDArray[Any]) -> Any:
    """An OrtValue on the array's own memory; it must outlive the run that it is bound for."""
    return onnxruntime.OrtValue.ortvalue_from_numpy(array)
