"""Runs one graph in PyTorch and keeps every named value on the way: layer outputs and outputs.

Both sides name a layer's residual stream `<module>.output` (see bundle/layer_names.py): the exporter gives that name
to the graph's value, a forward hook gives it to the tensor. A cache output `present.3.key` belongs to layer 3 as well.
So a difference has a place.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from nexus_edge.bundle.layer_names import is_layer, layer_of_output, output_of
from nexus_edge.parity.formats import Formats
from nexus_edge.parity.metrics import Measures, NearTie, Values, compare, compare_logits
from nexus_edge.parity.report.report import Check
from nexus_edge.parity.tolerances import Gate

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.utils.hooks import RemovableHandle

    from nexus_edge.interfaces.graph import GraphSpec

Effects = Callable[[], Mapping[str, Measures]]
"""By how much rounding moves each value, see rounding.py. Asked for where a value is not within float32's own noise."""

_CACHE_OUTPUT = re.compile(r"^present\.(\d+)\.(?:key|value)$")


@dataclass(frozen=True)
class Step:
    """One run of one graph in PyTorch: what went in, and every value that came out.

    `moved` says how far errors of some formats move each value, see rounding.py, with each layer on what the layer
    before it made or, where its second argument is true, on the reference's values; None where nobody can tell.
    """

    graph: str
    case: str
    inputs: Values
    expected: Values
    moved: Callable[[Formats, bool], Mapping[str, Measures]] | None = None
    known: dict[tuple[Formats, bool], Mapping[str, Measures]] = field(default_factory=dict, compare=False)

    def effect(self, formats: Formats, *, cut: bool) -> Mapping[str, Measures]:
        """What `moved` finds, once; empty where nobody can tell."""
        if self.moved is None:
            return {}
        if (formats, cut) not in self.known:
            self.known[formats, cut] = self.moved(formats, cut)
        return self.known[formats, cut]


def layer_of(name: str) -> int | None:
    """The layer that a value belongs to: `present.3.key` and `model.layers.3.output` are of layer 3."""
    match = _CACHE_OUTPUT.match(name)
    return layer_of_output(name) if match is None else int(match.group(1))


def in_order(names: Sequence[str]) -> list[str]:
    """Names as the tensor flows: layer by layer, a layer's cache before its output, the graph's own outputs last."""

    def place(name: str) -> tuple[int, int]:
        layer = layer_of(name)
        return (1 << 30, 0) if layer is None else (layer, int(name.endswith(".output")))

    return sorted(names, key=place)


@contextmanager
def removed_after(handles: "Sequence[RemovableHandle]") -> Iterator[None]:
    """Inside, hooks that were registered run; afterwards they are gone."""
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def layer_outputs(root: "nn.Module", fed: Values = MappingProxyType({})) -> Iterator[dict[str, "Tensor"]]:
    """Inside, every layer of `root` that runs leaves its residual stream under `<name>.output`.

    What `fed` has under that name goes on in its place.
    """
    import torch

    seen: dict[str, Tensor] = {}

    def hook(name: str) -> Callable[[Any, Any, Any], Any]:
        def keep(_module: Any, _inputs: Any, output: Any) -> Any:
            first, *rest = output if isinstance(output, tuple) else (output,)
            seen[output_of(name)] = first
            if output_of(name) not in fed:
                return None
            given = torch.from_numpy(np.array(fed[output_of(name)])).to(first.dtype)
            return (given, *rest) if isinstance(output, tuple) else given

        return keep

    handles = [module.register_forward_hook(hook(name)) for name, module in root.named_modules() if is_layer(name)]
    with removed_after(handles):
        yield seen


def run_torch(spec: "GraphSpec", inputs: Values, fed: Values = MappingProxyType({})) -> Values:
    """The graph's module in PyTorch: all layer outputs, then the graph's outputs by name.

    Args:
        spec: a graph around a model with data; its module holds the model as `root`
        inputs: by name, as `spec.inputs` lists them
        fed: see `layer_outputs`
    """
    import torch

    tensors = [torch.from_numpy(np.array(inputs[tensor.name])) for tensor in spec.inputs]
    root: Any = spec.module.root
    with torch.inference_mode(), layer_outputs(root, fed) as layers:
        result = spec.module(*tensors)
    outputs = result if isinstance(result, tuple) else (result,)
    named = dict(layers) | dict(zip((tensor.name for tensor in spec.outputs), outputs, strict=True))
    return {name: named[name].float().numpy() for name in in_order(list(named))}


@dataclass(frozen=True)
class Judge:
    """Turns two sets of values into checks, with the gate and the rule for near ties that a stage's name gives."""

    gate: Callable[[str], Gate | None]
    near_tie: Callable[[str], NearTie]

    @staticmethod
    def resolved(gate: Gate | None, name: str, measures: Measures, effects: Effects | None) -> Gate | None:
        """The gate with the limit that rounding gives it here; as it is where nobody can tell what rounding does."""
        if gate is None or gate.rounding is None or effects is None:
            return gate
        if measures.get(gate.metric, math.inf) <= gate.least:
            return gate.with_rounding({gate.metric: 0.0})  # within float32's noise: nothing has to be measured
        return gate.with_rounding(effects().get(name))

    def check(
        self, stage: str, case: str, actual: Values, expected: Values, effects: Effects | None = None
    ) -> list[Check]:
        """One check for each expected value, in order; a value that is missing or of another shape fails.

        Args:
            stage: which says by what is gated
            case: what ran
            actual: what the artefact computed
            expected: what it should be
            effects: of rounding on this case's values; None where nobody can tell
        """
        checks = []
        gate = self.gate(stage)
        for name in in_order(list(expected)):
            problem, measures = None, {}
            if name not in actual:
                problem = "missing in the artefact"
            elif actual[name].shape != expected[name].shape:
                problem = f"shape {list(actual[name].shape)}, expected {list(expected[name].shape)}"
            elif name == "logits":
                measures = compare_logits(actual[name], expected[name], self.near_tie(stage))
            else:
                measures = compare(actual[name], expected[name])
            found = self.resolved(gate, name, measures, effects)
            checks.append(Check(stage, short_name(name), case, measures, found, layer_of(name), problem))
        return checks


def short_name(name: str) -> str:
    """`output` for a layer's residual stream, whose full name only repeats stage and layer."""
    return "output" if layer_of_output(name) is not None else name
