"""How the ladder loads and runs the graphs of a target: through the `probe/` of an engine.

A runner never touches a bundle's files. It shows what a runtime hides: the value that leaves each layer, and each layer
on its own.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from nexus_edge._extras import needs_extra
from nexus_edge.axes import engine_module, engines, engines_of, targets
from nexus_edge.bundle import Bundle, TensorSpec
from nexus_edge.engines.base import EngineOptions
from nexus_edge.errors import BundleError, MissingExtraError, ParityError
from nexus_edge.interfaces.engine_info import EngineInfo
from nexus_edge.interfaces.graph import Interface
from nexus_edge.interfaces.host import HostMaker, VlmHost
from nexus_edge.parity.formats import EXACT, Formats
from nexus_edge.parity.metrics import Array, Values
from nexus_edge.parity.report.report import NotRunError

if TYPE_CHECKING:
    from nexus_edge.checkpoints import Checkpoint
    from nexus_edge.recipe import Recipe

Layers = Literal["hidden", "visible", "cut"]
"""What a graph lets see. "hidden": its outputs. "visible": besides, what leaves every layer, as `<layer>.output`.
"cut": besides, every layer is fed from outside instead of from the layer before it, and `run` gives it the reference's
values. Then a fault shows in its own layer and in no other, and rounding that differs by one step does not grow from
layer to layer, so gates can be tight."""


@dataclass(frozen=True)
class Variant:
    """A way in which an engine can be asked to compute.

    Attributes:
        precision: in words; "" where there is no choice
        options: with which P5 opens the runtime
        formats: what it rounds beyond what the quantized model in PyTorch does
        here: whether this machine can compute so
    """

    precision: str
    options: EngineOptions
    formats: Formats
    here: Callable[[], bool] = lambda: True


class Piecewise(Protocol):
    """What an engine whose graphs are run layer by layer says of it: the module that `EngineInfo.piecewise` names."""

    def comes_in_pieces(self, graph: str) -> bool:
        """Whether a graph of the split does."""

    def write_without_weights(self, checkpoint: "Checkpoint", recipe: "Recipe", folder: Path) -> Mapping[str, Path]:
        """Full-precision graphs, those that come in pieces without weights: graph of the target -> its file."""


class Stage(Protocol):
    """One graph, ready to run."""

    @property
    def inputs(self) -> Mapping[str, TensorSpec]:
        """What it takes."""

    @property
    def outputs(self) -> Mapping[str, TensorSpec]:
        """What it gives."""

    def run(self, inputs: Values) -> Values:
        """All outputs by name, in the order of the tensor's way.

        Args:
            inputs: the graph's; where the graph was cut, `<layer>.output` of the reference as well

        Raises:
            ParityError: an input is missing, or the graph does not run.
        """


@dataclass(frozen=True)
class Piece:
    """Some layers of a graph, ready to run: what it takes and gives are values of the whole graph by their names there.

    Attributes:
        stage: takes outputs of pieces before it, beside the graph's inputs
        needed: which values that are no outputs of the graph a later piece takes
    """

    stage: Stage
    needed: frozenset[str]


WeightOf = Callable[[str], Array]
"""From the name of a weight in the model to its numbers, float32: in the place of a graph's own file of weights."""


@dataclass(frozen=True)
class Counterpart:
    """What a target computes in the place of a graph of the model's split: one file, or several one after the other.

    Attributes:
        name: in reports; the graph's own, for the one that the runtime uses
        graph: of the split, whose inputs its stage takes and whose outputs it gives
        open: see `Runner.open`
        precision: in words, how it computes; "" where the target knows one way only
        rounds: whether something is rounded there that PyTorch does not round
        formats: what may be rounded there differently than in PyTorch
        as_shipped: False for a precision that no runtime uses, in which errors of the graph show without any rounding
        pieces: opens one layer after the other, of which only one is loaded at a time; None: the graph comes whole
    """

    name: str
    graph: str
    open: Callable[[Layers], Stage]
    precision: str = ""
    rounds: bool = False
    as_shipped: bool = True
    formats: Formats = EXACT
    pieces: Callable[[WeightOf | None], Iterator[Piece]] | None = None


@dataclass
class Rows:
    """Which rows of a reference the calls of a vision graph are for.

    There all views of all images lie one after the other. A host cuts those of one image into calls, and fills up the
    last.

    Attributes:
        start: the image's first row
        count: its views
        taken: so many of them went into calls
    """

    start: int
    count: int
    taken: int = 0

    def take(self, size: int) -> slice:
        """Of the next call, of at most `size` views."""
        first = self.start + self.taken
        self.taken = min(self.taken + size, self.count)
        return slice(first, self.start + self.taken)


class Runner(Protocol):
    """A target's way to load graphs.

    Attributes:
        rounds_activations: whether inputs of quantized layers are rounded to int8, as the schemes say, or multiplied
            as they are
    """

    rounds_activations: bool

    def open(self, path: Path, graph: str, layers: Layers = "hidden") -> Stage:
        """Load a graph; raises ParityError if it does not load.

        Args:
            path: the graph's file
            graph: its name in the manifest, which also says which one of several in a file it is
            layers: what it is to show
        """

    def counterparts(self, files: Mapping[str, Path], host: HostMaker | None) -> Sequence[Counterpart]:
        """What of a target can be held against the graphs of the split, in the order of the tensor's way.

        Args:
            files: of all graphs of the target, by their names in the manifest
            host: what the model's family does between them, where it does something
        """

    def interface(self, path: Path, graph: str) -> tuple[Mapping[str, TensorSpec], Mapping[str, TensorSpec]]:
        """Inputs and outputs that a graph's file declares, by name, without loading a weight; raises ParityError."""


def host_for(runner: Runner, files: Mapping[str, Path], make: HostMaker | None, folder: Path) -> VlmHost:
    """The host of graphs that have one; reads what they declare and no weight. Raises ParityError.

    Args:
        runner: of their target
        files: of the graphs that it is for
        make: see `Runner.counterparts`
        folder: that holds the graphs
    """
    assert make is not None, "only vision-language models have such graphs"
    declared = {name: runner.interface(path, name) for name, path in files.items()}
    interfaces = {name: Interface(*(tuple(specs.values()) for specs in both)) for name, both in declared.items()}
    try:
        return make(interfaces, folder)
    except BundleError as error:
        raise ParityError(str(error)) from error


def one_by_one(runner: Runner, files: Mapping[str, Path], formats: Formats) -> list[Counterpart]:
    """The counterparts of a target whose graphs are those of the split."""
    return [
        Counterpart(graph, graph, partial(runner.open, path, graph), formats=formats) for graph, path in files.items()
    ]


@runtime_checkable
class Sealed(Protocol):
    """A runner of files that name their bundle (`TargetInfo.sealed`)."""

    def seal_problems(self, bundle: Bundle) -> list[str]:
        """In words, what is of another bundle, or is no whole model together; needs neither torch nor a runtime."""


def runner_of(target: str) -> Runner:
    """The runner of a target; raises NotRunError where there is none, or where its runtime is not installed."""
    info = probed(target)
    if info is None or info.probe is None:
        raise NotRunError(f"nothing here runs graphs of the target {target}; known are {', '.join(engines())}")
    try:
        with needs_extra(f"running graphs of the target {target}", targets()[target].extra):
            runner: Runner = engine_module(info, info.probe).RUNNER
    except MissingExtraError as error:
        raise NotRunError(str(error)) from error
    return runner


def piecewise(target: str) -> Piecewise | None:
    """Which graphs of a target are run layer by layer; None: none of them."""
    info = probed(target)
    if info is None or info.piecewise is None:
        return None
    found: Piecewise = engine_module(info, info.piecewise)
    return found


def probed(target: str) -> EngineInfo | None:
    """The engine through which the ladder judges a target."""
    return next((info for info in engines_of((target,)) if info.probe is not None), None)
