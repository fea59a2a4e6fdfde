"""Faults in a saved OpenVINO graph: in its .xml, whose layers are joined by edges, or through its constants' places."""

from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as Tree

Mutation = Callable[["Ir"], None]


class Ir:
    """The layers and edges of an .xml."""

    def __init__(self, root: Tree.Element) -> None:
        self._root = root
        self._by_id = {layer.attrib["id"]: layer for layer in root.iterfind("layers/layer")}

    def constant(self, name: str) -> Tree.Element:
        """The place of a weight in the .bin."""
        (layer,) = (layer for layer in self._by_id.values() if layer.attrib["name"] == name)
        return self._data(layer)

    def variable(self, kind: str, name: str) -> Tree.Element:
        """The ReadValue or Assign of a variable whose name begins like this."""
        (layer,) = (
            layer
            for layer in self._by_id.values()
            if layer.attrib["type"] == kind and self._data(layer).attrib["variable_id"].startswith(name)
        )
        return layer

    def source(self, layer: Tree.Element, port: int = 0) -> Tree.Element:
        """What feeds an input."""
        return self._by_id[self.into(layer)[port].attrib["from-layer"]]

    def into(self, layer: Tree.Element) -> list[Tree.Element]:
        """The edges to a layer, by port."""
        edges = (edge for edge in self._root.iterfind("edges/edge") if edge.attrib["to-layer"] == layer.attrib["id"])
        return sorted(edges, key=lambda edge: int(edge.attrib["to-port"]))

    def feed(self, edge: Tree.Element, layer: Tree.Element) -> None:
        """Let an edge come from another layer with one output."""
        (port,) = layer.iterfind("output/port")
        edge.set("from-layer", layer.attrib["id"])
        edge.set("from-port", port.attrib["id"])

    def _data(self, layer: Tree.Element) -> Tree.Element:
        data = layer.find("data")
        assert data is not None
        return data


def edit_ir(path: Path, mutation: Mutation) -> None:
    """Change an .xml; its .bin stays as it is."""
    root = Tree.fromstring(path.read_text("utf-8"))
    before = Tree.tostring(root)
    mutation(Ir(root))
    after = Tree.tostring(root)
    assert after != before, "this mutation does not mutate"
    path.write_bytes(after)


def swap_constants(first: str, second: str) -> Mutation:
    """Two weights of one type and shape are read from each other's places."""

    def mutate(ir: Ir) -> None:
        ours, theirs = ir.constant(first), ir.constant(second)
        assert ours.attrib["size"] == theirs.attrib["size"] and ours.attrib["shape"] == theirs.attrib["shape"]
        place, other = ours.attrib["offset"], theirs.attrib["offset"]
        ours.set("offset", other)
        theirs.set("offset", place)

    return mutate


def put_new_tokens_first(variable: str) -> Mutation:
    """The Concat of a cache takes its two inputs in the wrong order."""

    def mutate(ir: Ir) -> None:
        old, new = ir.into(ir.source(ir.variable("Assign", variable)))
        old.set("to-port", "1")
        new.set("to-port", "0")

    return mutate


def keep_old_state(variable: str) -> Mutation:
    """What is assigned is what was read: the cache does not grow."""

    def mutate(ir: Ir) -> None:
        (edge,) = ir.into(ir.variable("Assign", variable))
        ir.feed(edge, ir.variable("ReadValue", variable))

    return mutate


def ignore_beams(variable: str) -> Mutation:
    """A cache goes on with the sequences of the call before in the order in which they were."""

    def mutate(ir: Ir) -> None:
        concat = ir.source(ir.variable("Assign", variable))
        gather = ir.source(concat)
        assert gather.attrib["type"] == "Gather"
        ir.feed(ir.into(concat)[0], ir.source(gather))

    return mutate
