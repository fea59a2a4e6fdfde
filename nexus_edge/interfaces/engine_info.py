"""An engine: what runs the graphs of a target, one folder of `nexus_edge/engines/` each."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from nexus_edge.interfaces.family import Kind


@dataclass(frozen=True)
class EngineState:
    """What `nexus-edge doctor` says of an engine: what it lists, or what is missing. `usable`: it runs here, as what
    it is."""

    name: str
    usable: bool
    state: str


@dataclass(frozen=True)
class EngineInfo:
    """What is known of an engine before it is imported: `ENGINE` of `nexus_edge/engines/<name>/__init__.py`.

    Modules are named within the folder.

    Attributes:
        name: of the folder, and what a user asks for
        title: as people write it
        target: whose graphs it runs; several engines may run those of one target, and the one of its name is the first
        extra: of pyproject.toml that it needs; "" for the base install
        modules: kind of model -> module with `open_engine(bundle, options)`
        state: module with `state() -> EngineState`
        devices: whether it computes elsewhere than on the CPU, too (`EngineOptions.device`)
        is_reference: whether all that it is here is an evaluator, for comparisons and hundreds of times too slow
        tuning: module with `settings_here()`, the settings that `nexus-edge tune` measures; None: there are none
        probe: module with `RUNNER`, through which the ladder loads graphs (`nexus_edge.engines.probes.Runner`); None:
            the ladder judges its target by another engine
        variants: module with `variants()`, the ways in which P5 has it compute (`nexus_edge.engines.probes.Variant`);
            importing it needs no runtime
        piecewise: module with `comes_in_pieces(graph)`, which says of which graphs of the split the ladder runs one
            layer after the other, and `write_without_weights(checkpoint, recipe, folder)`; None: of none
    """

    name: str
    title: str
    target: str
    extra: str
    modules: Mapping[Kind, str]
    state: str = "state"
    devices: bool = False
    is_reference: Callable[[], bool] = lambda: False
    tuning: str | None = None
    probe: str | None = None
    variants: str = "probe.variants"
    piecewise: str | None = None
