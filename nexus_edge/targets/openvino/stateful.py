"""A decoder that keeps its KV cache between calls, in the form that OpenVINO GenAI asks for.

Each pair of a past input and a present output becomes a variable: ReadValue, a Gather that picks the sequences which a
beam search goes on with, the Concat that is there already, and Assign.
"""

import numpy as np

from nexus_edge._telemetry import without_telemetry
from nexus_edge.bundle.openvino_names import BEAMS

with without_telemetry():
    import openvino as ov
    from openvino import opset13 as op
    from openvino._offline_transformations import apply_make_stateful_transformation


def make_stateful(model: ov.Model, embeds: str, past: str, present: str) -> None:
    """Turn inputs and outputs into variables, in place.

    Args:
        model: a decoder with inputs [batch, heads, cached tokens, head_dim] and outputs of the same names
        embeds: the input whose first axis is the batch
        past, present: prefixes of the cache's inputs and outputs
    """
    beams = op.parameter([-1], np.int32, name=BEAMS)
    beams.output(0).tensor.set_names({BEAMS})
    model.add_parameters([beams])
    axis = op.constant(np.int64(0))
    pairs = {}
    for cache in [port for port in model.inputs if port.any_name.startswith(past)]:
        consumers = cache.get_target_inputs()
        picked = op.gather(cache, beams, axis)
        for consumer in consumers:
            consumer.replace_source_output(picked.output(0))
        pairs[cache.any_name] = present + cache.any_name.removeprefix(past)
    model.validate_nodes_and_infer_types()
    apply_make_stateful_transformation(model, pairs)
    _start_empty(model, embeds)


def _start_empty(model: ov.Model, embeds: str) -> None:
    """Let every variable begin without tokens, for as many sequences as a call brings."""
    batch = op.gather(op.shape_of(model.input(embeds), "i64"), op.constant(np.array([0])), op.constant(np.int64(0)))
    for node in model.get_ops():
        if node.get_type_name() != "ReadValue":
            continue
        _, heads, _, head_dim = node.get_output_partial_shape(0)
        sizes = [np.array([size]) for size in (heads.get_length(), 0, head_dim.get_length())]
        shape = op.concat([batch, *(op.constant(size) for size in sizes)], 0)
        node.set_arguments([op.broadcast(op.constant(np.float32(0)), shape)])
    model.validate_nodes_and_infer_types()
