"""What the rungs share: the bundle, the checkpoint, and the two PyTorch models, each made once on demand.

`Lab` leaves open what depends on the kind of model: one subclass for each kind (vlm/, dual/), made whole by one file
for each family (in its folder of models/).
"""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from nexus_edge.bundle import Bundle, Manifest
from nexus_edge.checkpoints import Checkpoint
from nexus_edge.engines.probes import runner_of
from nexus_edge.eval_file import Example
from nexus_edge.parity.metrics import Array
from nexus_edge.parity.precisions import computes_here, runtime_options
from nexus_edge.parity.report.report import Check, NotRunError
from nexus_edge.parity.sources import (
    FLOAT_BYTES,
    load_dequantized,
    load_full_precision,
    load_quantized,
    parameter_bytes,
    parameter_count,
    scheme_class,
    weight_bytes,
)
from nexus_edge.parity.stages import Judge, Step
from nexus_edge.parity.tolerances import Gate, Tolerances

if TYPE_CHECKING:
    from nexus_edge.models.base import ReferenceModel
    from nexus_edge.runtimes import EngineOptions

GB = 1e9

Reference = Literal["full", "quantized", "dequantized"]
"""What graphs are held against in PyTorch: the checkpoint in float32; the bundle's own weights with inputs rounded as
their schemes say; the same weights with inputs as they are."""


def half_of_memory() -> int:
    """Half of the machine's memory in bytes: what the ladder may fill with models unless told otherwise."""
    if not hasattr(os, "sysconf"):  # Windows
        return 8_000_000_000
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


@dataclass
class Lab(ABC):
    """One climb.

    Attributes:
        bundle: what is judged
        checkpoint: what it was made from, or why there is none
        tolerances: all gates
        goldens: folder with goldens of the original implementation, if there is one
        max_memory: bytes that models may fill
        held_out_pictures: how many of a held-out set are looked at; None: what a kind of model can afford
        examples: a user's own, for the rung "eval"; none: there is no such rung
        own_tolerances: the user's file of tolerances, which `tolerances` holds too
        notes: what the rung in progress leaves for the report
        broken: target -> why none of its graphs is worth running; P0 finds them
    """

    bundle: Bundle
    checkpoint: Checkpoint | str
    tolerances: Tolerances
    goldens: Path | None
    max_memory: int
    held_out_pictures: int | None = None
    examples: tuple[Example, ...] = ()
    own_tolerances: str = ""
    notes: list[str] = field(default_factory=list)
    broken: dict[str, str] = field(default_factory=dict)

    streams: ClassVar[bool] = False
    """Whether references are computed first, layer by layer, and gone when a runtime is loaded."""

    golden_set: ClassVar[str]
    """Folder in the checkout's tests/golden with what the original implementation computed, for P1."""

    @abstractmethod
    def steps(self, reference: Reference) -> Iterator[Step]:
        """The cases on their way through the graphs, run in PyTorch: what P2 and P3 compare with."""

    def reference_bytes(self, reference: Reference) -> int:
        """Memory that a reference takes while it computes: here all of it, for kinds of models that are small."""
        if reference == "full":
            return parameter_bytes(self.source)
        dequantized = parameter_count(self.bundle) * FLOAT_BYTES if reference == "dequantized" else 0
        return weight_bytes(self.bundle) + dequantized

    @abstractmethod
    def compare_original(self, folder: Path, judge: Judge) -> list[Check]:
        """P1: the reference model against every recording in a folder of goldens."""

    def compare_manifest(self) -> list[Check]:
        """P0 for what the manifest says of this kind of model alone."""
        return []

    @abstractmethod
    def compare_schemes(self) -> list[Check]:
        """P4 without the weights: what the quantized PyTorch model makes of the cases, against full precision."""

    @abstractmethod
    def compare_end_to_end(self, target: str) -> list[Check]:
        """P5: the runtime that ships, on pictures and text, against the quantized PyTorch model."""

    @abstractmethod
    def compare_examples(self, target: str) -> list[Check]:
        """How many of the user's examples are right in full precision and in the runtime that ships."""

    @abstractmethod
    def record(self) -> Iterator[tuple[str, Array]]:
        """The goldens of this bundle, `case.value` by name; `ParityFamily.replay` reads them."""

    def note(self, text: str) -> None:
        """Leave a remark for the rung in progress; the same remark is kept once."""
        if text not in self.notes:
            self.notes.append(text)

    @property
    def manifest(self) -> Manifest:
        return self.bundle.manifest

    def only(self, target: str) -> Bundle:
        """The bundle as if it had been exported for one target, for runtimes that take the first they can run."""
        graphs = {target: self.manifest.graphs[target]}
        return replace(self.bundle, manifest=replace(self.manifest, targets=(target,), graphs=graphs))

    @property
    def source(self) -> Checkpoint:
        """The checkpoint; raises NotRunError where there is none."""
        if isinstance(self.checkpoint, str):
            raise NotRunError(self.checkpoint)
        return self.checkpoint

    @cached_property
    def full(self) -> "ReferenceModel":
        """The full-precision reference; raises NotRunError where it would not fit."""
        self.require_memory(parameter_bytes(self.source), "the full-precision reference")
        return load_full_precision(self.source)

    def make_room(self, needed: int) -> None:
        """Forget the full-precision reference if it and `needed` bytes are more than is allowed together."""
        if "full" in self.__dict__ and parameter_bytes(self.source) + needed > self.max_memory:
            del self.full

    @cached_property
    def quantized(self) -> "ReferenceModel":
        """The quantized PyTorch model; raises NotRunError where it would not fit."""
        self.require_memory(weight_bytes(self.bundle), "the quantized PyTorch model")
        return load_quantized(self.bundle)

    @cached_property
    def dequantized(self) -> "ReferenceModel":
        """The quantized model with products in float32; raises NotRunError where it would not fit."""
        needed = weight_bytes(self.bundle) + parameter_count(self.bundle) * FLOAT_BYTES
        self.require_memory(needed, "the quantized model with its weights in float32")
        self.make_room(needed)
        return load_dequantized(self.bundle)

    @property
    def full_beside_runtime(self) -> "ReferenceModel":
        """The full-precision reference, where the quantized model and the runtime leave room; else NotRunError."""
        needed = parameter_bytes(self.source) + 2 * weight_bytes(self.bundle)
        if "dequantized" in self.__dict__:
            needed += parameter_count(self.bundle) * FLOAT_BYTES
        self.require_memory(needed, "full precision beside the quantized model and the runtime")
        return self.full

    def reference_for(self, target: str) -> Reference:
        """The quantized PyTorch model that multiplies what a target multiplies."""
        return "quantized" if runner_of(target).rounds_activations else "dequantized"

    def model(self, reference: Reference) -> "ReferenceModel":
        """One of the models as a whole; raises NotRunError where it would not fit."""
        models: Mapping[Reference, Callable[[], ReferenceModel]] = {
            "full": lambda: self.full,
            "quantized": lambda: self.quantized,
            "dequantized": lambda: self.dequantized,
        }
        return models[reference]()

    def compare_runtimes(
        self, target: str, rung: str, compare: Callable[["EngineOptions", Judge], list[Check]]
    ) -> list[Check]:
        """What `compare` finds in each precision that a target's runtime can be asked for here."""
        checks: list[Check] = []
        for precision, options in runtime_options(target).items():
            if computes_here(options.openvino):
                found = compare(options, self.judge(rung, target=target, precision=precision))
                checks += [replace(check, precision=precision) for check in found]
            else:
                self.note(f"not run in {precision}: this CPU computes no bf16")
        return checks

    def require_memory(self, needed: int, what: str) -> None:
        """Raise NotRunError unless `needed` bytes are allowed."""
        if needed > self.max_memory:
            raise NotRunError(
                f"{what} takes {needed / GB:.1f} GB, allowed are {self.max_memory / GB:.1f} GB (--max-memory)"
            )

    def for_each_target(self, judge: Callable[[str], list[Check]]) -> list[Check]:
        """What `judge` finds for every target of the bundle.

        Raises:
            NotRunError: no target can be judged here. One that cannot beside others that can leaves a note.
        """
        checks: list[Check] = []
        reasons: dict[str, str] = {}
        for target in self.manifest.targets:
            try:
                if target in self.broken:
                    raise NotRunError(self.broken[target])
                checks += [replace(check, target=target) for check in judge(target)]
            except NotRunError as error:
                reasons[target] = str(error)
        if not checks:
            raise NotRunError("; ".join(dict.fromkeys(reasons.values())))
        for target, reason in reasons.items():
            self.note(f"not run for {target}: {reason}")
        return checks

    def gate(self, rung: str, scheme: str, target: str = "", precision: str = "") -> Callable[[str], Gate | None]:
        """From a stage's name to its gate on this rung; without a target for what involves no graph."""
        weights = self.manifest.source.weights
        return lambda stage: self.tolerances.gate(rung, stage, target, scheme, weights, precision)

    def judge(
        self,
        rung: str,
        graph: str | None = None,
        scheme: str | None = None,
        target: str = "",
        precision: str = "",
    ) -> Judge:
        """For the weights of one graph, or of the whole bundle; `scheme` overrides what the manifest says."""
        chosen = scheme or scheme_class(self.manifest, graph)
        return Judge(
            self.gate(rung, chosen, target, precision),
            lambda stage: self.tolerances.near_tie(rung, stage, chosen, precision),
        )
