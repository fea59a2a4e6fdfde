"""A stateful decoder of OpenVINO for one sequence, which can go back to a prefix of it.

It runs on every device, but on the CPU a prompt in pieces takes four times as long as with `openvino_paged_decoder`.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from nexus_edge._telemetry import without_telemetry
from nexus_edge.bundle import GraphInfo
from nexus_edge.bundle.openvino_names import BEAMS, LARGEST_POSITION
from nexus_edge.engines.openvino.session import compile_graph, reported_as_bundle_error
from nexus_edge.engines.openvino.settings import CPU, OpenVinoSettings
from nexus_edge.errors import BundleError
from nexus_edge.interfaces.engine import Floats, Positions

with without_telemetry():
    import openvino as ov
    from openvino import opset13 as op

LENGTH_AXIS = 2  # of a variable, [batch, heads, tokens, head_dim]


def stateful_decoders(
    path: Path, settings: OpenVinoSettings, threads: int | None, device: str = CPU, declared: GraphInfo | None = None
) -> "Callable[[], StatefulDecoder]":
    """Load the decoder of a bundle: what makes one for each sequence. Arguments and errors are `compile_graph`'s."""
    compiled = compile_graph(path, settings, threads, partial(adapt, path), device, declared)
    return partial(StatefulDecoder, compiled, path)


class StatefulDecoder:
    """One sequence with its cache in a request (openvino.InferRequest) of its own, see
    `openvino_engine.EmbedsDecoder`."""

    def __init__(self, compiled: Any, path: Path) -> None:
        self._path = path
        self._request = compiled.create_infer_request()
        self._states = self._request.query_state()
        self._length = 0

    def extend(self, embeds: Floats, past: int, positions: Positions) -> Floats:
        """See `Decoder.extend`."""
        total = past + len(embeds)
        with reported_as_bundle_error(self._path):
            held, self._length = self._length, -1  # an interrupted call leaves some layers longer than others
            if past != held:
                self._keep(past)
            outputs = self._request.infer(
                {
                    "inputs_embeds": embeds[None],
                    "attention_mask": np.ones((1, total), np.int64),
                    "position_ids": positions.ids,
                    BEAMS: np.zeros(1, np.int32),
                    LARGEST_POSITION: np.array(positions.length - 1, np.int64),
                },
                share_inputs=True,
                share_outputs=True,
            )
            self._length = total
        logits: Floats = outputs["logits"][0, -1]
        return logits

    def reserve(self, tokens: int, past: int) -> None:
        """The plugin grows its cache by itself."""

    def _keep(self, length: int) -> None:
        """Forget what the cache holds after the first `length` tokens."""
        if length == 0:
            self._request.reset_state()
            return
        for state in self._states:
            kept = np.ascontiguousarray(state.state.data.take(range(length), LENGTH_AXIS))
            state.state = ov.Tensor(kept)


def adapt(path: Path, model: Any) -> None:
    """Let the decoder read from `path` compute the logits of the last token alone, and `open_position`; in place."""
    open_position(path, model)
    product = model.output("logits").get_node().input_value(0).get_node()
    keep_last(product, axis=1)
    model.validate_nodes_and_infer_types()


def open_position(path: Path, model: Any) -> None:
    """Make the largest position of the whole sequence an input of the decoder read from `path`, in place.

    Raises:
        BundleError: it is not a decoder of ours.
    """
    largest = [node for node in model.get_ops() if node.get_friendly_name() == LARGEST_POSITION]
    if len(largest) != 1 or model.output("logits").get_node().input_value(0).get_node().get_type_name() != "MatMul":
        raise BundleError(f"{path}: has no {LARGEST_POSITION} or no product at its end; export the bundle again")
    position = op.parameter([], np.int64, name=LARGEST_POSITION)
    position.output(0).tensor.set_names({LARGEST_POSITION})
    largest[0].output(0).replace(position.output(0))
    model.add_parameters([position])


def keep_last(product: Any, axis: int) -> None:
    """Let a MatMul take of its first input only the last along an axis."""
    begin, end, step, axes = (op.constant(np.array([n], np.int64)) for n in (-1, np.iinfo(np.int64).max, 1, axis))
    last = op.slice(product.input_value(0), begin, end, step, axes)
    product.input(0).replace_source_output(last.output(0))
