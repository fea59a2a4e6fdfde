"""What leaves a layer, and its weight, carry the layer's name in MIL too, so that a drift can be pinned to it."""

from torch import fx

from nexus_edge.bundle.layer_names import is_layer, output_of


def value_name(layer: str) -> str:
    """How the name of the value that leaves a layer begins in MIL, which has no dots in names.

    `model.layers.3` becomes `model_layers_3_output`; passes of coremltools add endings like `_cast_fp16`.
    """
    return output_of(layer).replace(".", "_")


def weight_name(layer: str) -> str:
    """Of a layer's weight in MIL."""
    return f"{layer}.weight".replace(".", "_")


def name_layers(graph: fx.Graph, prefix: str) -> None:
    """Rename the node that leaves each layer, in place; what leaves the graph keeps its name.

    Args:
        graph: of a program that torch.export made
        prefix: what stands before the model's own names in the scopes of its nodes
    """
    last: dict[str, tuple[fx.Node, bool]] = {}  # layer -> its last node, and whether the layer itself was called
    for node in graph.nodes:
        paths = [str(path) for path, _ in (node.meta.get("nn_module_stack") or {}).values()]
        for path in paths:
            for layer in _layers_around(path):
                last[layer] = (node, layer in paths)
    leaving = {node for output in graph.find_nodes(op="output") for node in output.all_input_nodes}
    for layer, (node, called) in last.items():
        # Where only the modules within a layer were called, the sum after the last of them ends it.
        end = node if called else next(iter(node.users))
        if end not in leaving:
            end._rename(value_name(layer.removeprefix(prefix)))


def _layers_around(path: str) -> list[str]:
    """`root.model.layers.3` for itself and for everything in it."""
    parts = path.split(".")
    joined = (".".join(parts[:count]) for count in range(1, len(parts) + 1))
    return [name for name in joined if is_layer(name)]
