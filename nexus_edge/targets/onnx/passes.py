"""Clean-ups of a freshly translated graph. Each pass leaves the results unchanged, works in place, needs no weights."""

import ast

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import CommonSubexpressionEliminationPass, RemoveUnusedNodesPass

from nexus_edge.bundle.layer_names import is_layer, output_of
from nexus_edge.targets.onnx import schemas

PARAMETER_PREFIX = "part.root."
"""What stands before the name of a module of the model, see `emit.translate`."""

_SCOPES = "pkg.torch.onnx.name_scopes"


def clean(model: ir.Model) -> None:
    """All passes in the order in which they help each other."""
    split_without_sequences(model)
    drop_identities(model)
    reshape_initializers(model)
    view_nibbles(model)
    share_shapes(model)
    CommonSubexpressionEliminationPass()(model)
    RemoveUnusedNodesPass()(model)
    name_layers(model)
    keep_norms_apart(model)
    drop_metadata(model)


def split_without_sequences(model: ir.Model) -> None:
    """SplitToSequence followed by SequenceAt with constant positions becomes one Split.

    Needs: a list of sizes, and a sequence that SequenceAt alone uses. torch's splits are translated through sequences.
    """
    for node in list(model.graph):
        if node.op_type != "SplitToSequence":
            continue
        uses = [use.node for use in node.outputs[0].uses()]
        sizes = _constant(node.inputs[1])
        if sizes is None or sizes.ndim == 0 or any(use.op_type != "SequenceAt" for use in uses):
            continue
        split = ir.node("Split", [node.inputs[0], node.inputs[1]], {"axis": _axis(node)}, num_outputs=sizes.size)
        model.graph.insert_before(node, split)
        for use in uses:
            position = _constant(use.inputs[1])
            assert position is not None, "a sequence of torch's split is read at constant positions"
            target, old = split.outputs[int(position)], use.outputs[0]
            target.name, target.type, target.shape = old.name, old.type, old.shape
            ir.convenience.replace_all_uses_with(old, target, replace_graph_outputs=True)
            model.graph.remove(use, safe=True)
        model.graph.remove(node, safe=True)


def drop_identities(model: ir.Model) -> None:
    """Identity nodes go; a graph output keeps its own value, so an identity that feeds one stays."""
    for node in list(model.graph):
        source = node.inputs[0] if node.op_type == "Identity" else None
        if source is not None and not node.outputs[0].is_graph_output():
            ir.convenience.replace_all_uses_with(node.outputs[0], source)
            model.graph.remove(node, safe=True)


def reshape_initializers(model: ir.Model) -> None:
    """A Reshape of an initializer to a constant shape becomes the initializer's own shape: its bytes stay the same.

    Needs: the initializer has no other use, the shape no 0 (it would copy a dimension), and the result is no output of
    the graph.
    """
    for node in list(model.graph):
        if node.op_type != "Reshape" or node.inputs[0] is None or not node.inputs[0].is_initializer():
            continue
        source, shape = node.inputs[0], _constant(node.inputs[1])
        if shape is None or 0 in shape or source.shape is None or len(source.uses()) != 1:
            continue
        if node.outputs[0].is_graph_output():
            continue
        count = int(np.prod(source.shape.numpy()))
        known = int(np.prod([size for size in shape.tolist() if size != -1]))
        source.shape = ir.Shape([count // known if size == -1 else size for size in shape.tolist()])
        ir.convenience.replace_all_uses_with(node.outputs[0], source)
        model.graph.remove(node, safe=True)


def view_nibbles(model: ir.Model) -> None:
    """An initializer that goes through Nibbles becomes one of uint4, twice as many in a row: its bytes stay the same.

    Needs: the initializer has no other use.
    """
    for node in list(model.graph):
        if node.op_type != schemas.NIBBLES.name:
            continue
        (source,) = node.inputs
        assert source is not None and source.is_initializer() and source.shape is not None, "nibbles of a weight"
        *sizes, last = source.shape.numpy()
        source.shape, source.dtype = ir.Shape([*sizes, 2 * last]), ir.DataType.UINT4
        ir.convenience.replace_all_uses_with(node.outputs[0], source)
        model.graph.remove(node, safe=True)
    model.opset_imports.pop(schemas.NIBBLES.domain, None)


def share_shapes(model: ir.Model) -> None:
    """Shape nodes that yield the same sizes, whatever they look at, become one; small inputs spend much time on them.

    Needs: the sizes that torch.export noted, where one symbol is one size throughout the graph.
    """
    first: dict[tuple[str, ...], ir.Value] = {}
    for node in list(model.graph):
        shape = node.inputs[0].shape if node.op_type == "Shape" and node.inputs[0] is not None else None
        if shape is None:
            continue
        start, end = (node.attributes.get(name) for name in ("start", "end"))
        sizes = shape[slice(start and start.as_int(), end and end.as_int())]
        if any(isinstance(size, ir.SymbolicDim) and size.value is None for size in sizes):
            continue
        shared = first.setdefault(tuple(map(str, sizes)), node.outputs[0])
        if shared is not node.outputs[0] and not node.outputs[0].is_graph_output():
            ir.convenience.replace_all_uses_with(node.outputs[0], shared)
            model.graph.remove(node, safe=True)


def keep_norms_apart(model: ir.Model) -> None:
    """An Add that nothing but a LayerNormalization reads becomes a Sum, which is the same.

    ONNX Runtime 1.32 would fuse the pair to SkipLayerNormalization, whose CPU kernel takes ten times as long.
    """
    for node in model.graph:
        uses = list(node.outputs[0].uses()) if node.op_type == "Add" else []
        if len(uses) == 1 and uses[0].node.op_type == "LayerNormalization" and not node.outputs[0].is_graph_output():
            node.op_type = "Sum"


def name_layers(model: ir.Model) -> None:
    """What leaves a layer is called "<layer>.output", so that a drift can be pinned to a layer.

    Needs: the scopes that torch's exporter notes at each node; the last node of a layer makes its residual stream.
    """
    last: dict[str, ir.Node] = {}
    for node in model.graph:
        for scope in ast.literal_eval(node.metadata_props.get(_SCOPES, "[]")):
            if is_layer(scope):
                last[scope] = node
    for scope, node in last.items():
        if not node.outputs[0].is_graph_output():
            node.outputs[0].name = output_of(scope.removeprefix(PARAMETER_PREFIX))


def drop_metadata(model: ir.Model) -> None:
    """Forget where in the Python code each node came from: it is most of a file's size, and names folders."""
    for node in model.graph:
        node.metadata_props.clear()
        node.doc_string = None
        for value in node.outputs:
            value.metadata_props.clear()
    for value in (*model.graph.inputs, *model.graph.initializers.values()):
        value.metadata_props.clear()
    model.metadata_props.clear()
    model.graph.metadata_props.clear()


def _constant(value: ir.Value | None) -> "np.ndarray[tuple[int, ...], np.dtype[np.int64]] | None":
    """What a Constant node holds, None for anything else."""
    tensor = ir.convenience.get_const_tensor(value) if value is not None else None
    return None if tensor is None else tensor.numpy()


def _axis(node: ir.Node) -> int:
    axis = node.attributes.get("axis")
    return 0 if axis is None else axis.as_int()
