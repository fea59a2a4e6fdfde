"""A decoder of OpenVINO's CPU plugin whose keys and values lie in blocks that belong to us.

The IR keeps its cache in variables, as other runtimes want it. Here its attention becomes a paged one at load: the
plugin's kernel for prompts, which skips what the mask hides, and which is told how many tokens of the cache count, so
that going back to a prefix costs nothing. 2,400 tokens with 8 layers of Phi-3-Vision: 8 s of one core instead of 13 at
once and of 39 in pieces.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from nexus_edge._telemetry import without_telemetry
from nexus_edge.bundle import GraphInfo
from nexus_edge.bundle.openvino_names import LARGEST_POSITION
from nexus_edge.engines.memory import mapped_zeros
from nexus_edge.engines.openvino.decoder import keep_last, open_position
from nexus_edge.engines.openvino.session import compile_graph, reported_as_bundle_error
from nexus_edge.engines.openvino.settings import OpenVinoSettings
from nexus_edge.interfaces.engine import Floats, Positions

with without_telemetry():
    import openvino as ov
    from openvino._offline_transformations import paged_attention_transformation

GROWTH = 2  # times the tokens asked for: memory is taken when a token is written, room for it costs nothing
KEYS, VALUES = "key_cache.", "value_cache."
"""Begin the names of the inputs that hold the cache: [blocks, heads, about a block's tokens, about head_dim]; what is
rounded has its scales in the same place."""


def paged_decoders(
    path: Path, settings: OpenVinoSettings, threads: int | None, declared: GraphInfo | None = None
) -> "Callable[[], PagedDecoder]":
    """Load the decoder of a bundle: what makes one for each sequence. Arguments and errors are `compile_graph`'s."""
    compiled = compile_graph(path, settings, threads, partial(adapt, path), declared=declared)
    return partial(PagedDecoder, compiled, path)


class PagedDecoder:
    """One sequence with its cache and a request (openvino.InferRequest) of its own, see
    `openvino_engine.EmbedsDecoder`."""

    def __init__(self, compiled: Any, path: Path) -> None:
        self._path = path
        self._request = compiled.create_infer_request()
        self._ports = [port for port in compiled.inputs if port.any_name.startswith((KEYS, VALUES))]
        values = next(port for port in self._ports if port.any_name.startswith(VALUES))
        self._block = values.get_partial_shape()[2].get_length()
        self._caches: dict[str, Any] = {}
        self._capacity = 0

    def extend(self, embeds: Floats, past: int, positions: Positions) -> Floats:
        """See `Decoder.extend`."""
        tokens = len(embeds)
        total = past + tokens
        self.reserve(total, past)
        blocks = -(-total // self._block)
        with reported_as_bundle_error(self._path):
            outputs = self._request.infer(
                {
                    "inputs_embeds": embeds,
                    "position_ids": positions.ids[0],
                    LARGEST_POSITION: np.array(positions.length - 1, np.int64),
                    "max_context_len": np.array(total, np.int32),
                    "past_lens": np.array([past], np.int32),
                    "subsequence_begins": np.array([0, tokens], np.int32),
                    "block_indices": np.arange(blocks, dtype=np.int32),
                    "block_indices_begins": np.array([0, blocks], np.int32),
                },
                share_inputs=True,
                share_outputs=True,
            )
        logits: Floats = outputs["logits"][-1, 0]
        return logits

    def reserve(self, tokens: int, past: int) -> None:
        """Make room for `tokens` in all and as many again; the first `past` stay."""
        if tokens <= self._capacity:
            return
        blocks, used = -(-GROWTH * tokens // self._block), -(-past // self._block)
        for port in self._ports:  # one at a time, so that only one appears twice; interrupted, the next call does all
            name, shape = port.any_name, port.get_partial_shape()
            buffer = mapped_zeros(
                (blocks, *(shape[axis].get_length() for axis in (1, 2, 3))), port.get_element_type().to_dtype()
            )
            if used:
                buffer[:used] = self._caches[name][:used]
            self._caches[name] = buffer
            self._request.set_tensor(name, ov.Tensor(buffer, shared_memory=True))
        self._capacity = blocks * self._block


def adapt(path: Path, model: Any) -> None:
    """Page the attention of the decoder read from `path`, and do what `openvino_decoder.adapt` does; in place."""
    open_position(path, model)
    paged_attention_transformation(model)
    keep_last(model.output("logits").get_node().input_value(0).get_node(), axis=0)  # [tokens, 1, hidden] by now
    model.validate_nodes_and_infer_types()
