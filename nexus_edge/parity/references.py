"""The PyTorch models that graphs and schemes are compared with, whole in memory, and how much of it they may fill.

A kind of models that are too large for that streams them; see vlm/references.py.
"""

import os
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from nexus_edge.bundle import Bundle
from nexus_edge.checkpoints import Checkpoint
from nexus_edge.parity.report.report import NotRunError
from nexus_edge.parity.sources import (
    FLOAT_BYTES,
    load_dequantized,
    load_full_precision,
    load_quantized,
    parameter_bytes,
    parameter_count,
    weight_bytes,
)

if TYPE_CHECKING:
    from nexus_edge.interfaces.weights import WeightSource
    from nexus_edge.models.base import ReferenceModel

GB = 1e9

Reference = Literal["full", "quantized", "dequantized"]
"""What graphs are held against in PyTorch: the checkpoint in float32; the bundle's own weights with inputs rounded as
their schemes say; the same weights with inputs as they are."""


def half_of_memory() -> int:
    """Half of the machine's memory in bytes: what the ladder may fill with models unless told otherwise."""
    if not hasattr(os, "sysconf"):  # Windows
        return 8_000_000_000
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


@dataclass(frozen=True)
class MemoryLimit:
    """How many bytes models may fill."""

    bytes: int

    def require(self, needed: int, what: str) -> None:
        """Raise NotRunError unless `needed` bytes are allowed."""
        if needed > self.bytes:
            raise NotRunError(f"{what} takes {needed / GB:.1f} GB, allowed are {self.bytes / GB:.1f} GB (--max-memory)")


@dataclass
class WholeReferences:
    """The models of one run, each made once on demand.

    Attributes:
        bundle: whose weights the quantized ones have
        checkpoint: of full precision, or why there is none
        memory: what they may fill
    """

    bundle: Bundle
    checkpoint: Checkpoint | str
    memory: MemoryLimit

    @property
    def source(self) -> Checkpoint:
        """The checkpoint; raises NotRunError where there is none."""
        if isinstance(self.checkpoint, str):
            raise NotRunError(self.checkpoint)
        return self.checkpoint

    @cached_property
    def weights(self) -> "WeightSource":
        """Those of the checkpoint as they were when the bundle's were rounded; raises NotRunError where it is not."""
        from nexus_edge.models.loading import weights_of
        from nexus_edge.pipeline.calibration import as_quantized

        return as_quantized(self.bundle, weights_of(self.source))

    @cached_property
    def full(self) -> "ReferenceModel":
        """The full-precision reference; raises NotRunError where it would not fit."""
        self.memory.require(parameter_bytes(self.source), "the full-precision reference")
        return load_full_precision(self.weights)

    @cached_property
    def quantized(self) -> "ReferenceModel":
        """The quantized PyTorch model; raises NotRunError where it would not fit."""
        self.memory.require(weight_bytes(self.bundle), "the quantized PyTorch model")
        return load_quantized(self.bundle)

    @cached_property
    def dequantized(self) -> "ReferenceModel":
        """The quantized model with products in float32; raises NotRunError where it would not fit."""
        needed = self.bytes_of("dequantized")
        self.memory.require(needed, "the quantized model with its weights in float32")
        self.make_room(needed)
        return load_dequantized(self.bundle)

    def model(self, reference: Reference) -> "ReferenceModel":
        """One of them; raises NotRunError where it would not fit."""
        if reference == "full":
            return self.full
        return self.quantized if reference == "quantized" else self.dequantized

    def bytes_of(self, reference: Reference) -> int:
        """Memory that one of them takes; raises NotRunError for full precision without a checkpoint."""
        if reference == "full":
            return parameter_bytes(self.source)
        dequantized = parameter_count(self.bundle) * FLOAT_BYTES if reference == "dequantized" else 0
        return weight_bytes(self.bundle) + dequantized

    @property
    def loaded(self) -> frozenset[str]:
        """Those that are in memory."""
        return frozenset(self.__dict__.keys() & {"full", "quantized", "dequantized"})

    def make_room(self, needed: int) -> None:
        """Forget the full-precision reference if it and `needed` bytes are more than is allowed together."""
        if "full" in self.loaded and parameter_bytes(self.source) + needed > self.memory.bytes:
            del self.full

    @property
    def bytes_beside_runtime(self) -> int:
        """Memory that full precision takes together with the quantized model and the runtime.

        Raises:
            NotRunError: there is no checkpoint.
        """
        dequantized = parameter_count(self.bundle) * FLOAT_BYTES if "dequantized" in self.loaded else 0
        return parameter_bytes(self.source) + 2 * weight_bytes(self.bundle) + dequantized

    @property
    def full_beside_runtime(self) -> "ReferenceModel":
        """The full-precision reference, where the quantized model and the runtime leave room; else NotRunError."""
        self.memory.require(self.bytes_beside_runtime, "full precision beside the quantized model and the runtime")
        return self.full
