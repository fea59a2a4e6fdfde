"""What the rungs share: the bundle, the checkpoint, the cases, and the two PyTorch models, each made once on demand."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from nexus_edge import processing
from nexus_edge.bundle import Bundle, BundleWeights, Manifest
from nexus_edge.checkpoints import Checkpoint
from nexus_edge.parity.cases import Case, make_cases
from nexus_edge.parity.sources import (
    build_quantized,
    load_full_precision,
    load_quantized,
    parameter_bytes,
    scheme_class,
    weight_bytes,
)
from nexus_edge.parity.stages import Judge, Values
from nexus_edge.parity.tolerances import Gate, Tolerances
from nexus_edge.processing import Processor

if TYPE_CHECKING:
    from nexus_edge.models.base import ReferenceModel

GB = 1e9
HELD_OUT_PICTURES = 20  # 100 questions of the embedded checkpoint: one wrong answer is 1 %; takes some seconds


class NotRunError(Exception):
    """A rung cannot be climbed here; the message says why. It is reported as not run, never as passed."""


def half_of_memory() -> int:
    """Half of the machine's memory in bytes: what the ladder may fill with models unless told otherwise."""
    if not hasattr(os, "sysconf"):  # Windows
        return 8_000_000_000
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


@dataclass
class Lab:
    """One climb.

    Attributes:
        bundle: what is judged
        checkpoint: what it was made from, or why there is none
        tolerances: all gates
        goldens: folder with goldens of the original implementation, if there is one
        max_memory: bytes that models may fill
        held_out_pictures: how many of the checkpoint's held-out set, if it brings one, are asked about
        notes: what the rung in progress leaves for the report
    """

    bundle: Bundle
    checkpoint: Checkpoint | str
    tolerances: Tolerances
    goldens: Path | None
    max_memory: int
    target: str = "onnx"
    held_out_pictures: int = HELD_OUT_PICTURES
    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        """Leave a remark for the rung in progress; the same remark is kept once."""
        if text not in self.notes:
            self.notes.append(text)

    @property
    def manifest(self) -> Manifest:
        return self.bundle.manifest

    @property
    def source(self) -> Checkpoint:
        """The checkpoint; raises NotRunError where there is none."""
        if isinstance(self.checkpoint, str):
            raise NotRunError(self.checkpoint)
        return self.checkpoint

    @cached_property
    def processor(self) -> Processor:
        return processing.from_checkpoint(self.bundle.root)

    @cached_property
    def cases(self) -> list[Case]:
        return make_cases(self.processor, self.long_after)

    @property
    def text_case(self) -> Case:
        """The case that needs no picture and no long context."""
        return next(case for case in self.cases if case.prompt and not case.pictures)

    @cached_property
    def long_after(self) -> int | None:
        """Tokens after which the model takes LongRoPE's long list, None for a model without one."""
        from nexus_edge.models.phi3_v import Phi3V
        from nexus_edge.parity.sources import build_quantized

        model = build_quantized(self.bundle)
        return model.params.rope.original_max_position_embeddings if isinstance(model, Phi3V) else None

    @cached_property
    def full(self) -> "ReferenceModel":
        """The full-precision reference; raises NotRunError where it would not fit."""
        self.require_memory(parameter_bytes(self.source), "the full-precision reference")
        return load_full_precision(self.source)

    @cached_property
    def quantized(self) -> "ReferenceModel":
        """The quantized PyTorch model; raises NotRunError where it would not fit."""
        self.require_memory(weight_bytes(self.bundle), "the quantized PyTorch model")
        return load_quantized(self.bundle)

    @cached_property
    def streamed_text(self) -> Values:
        """What the quantized model makes of the text case, computed with one layer in memory."""
        from nexus_edge.parity.streamed import bundle_reader, capture_streamed

        read = bundle_reader(BundleWeights(self.bundle))
        return capture_streamed(build_quantized(self.bundle), read, self.text_case)

    def require_memory(self, needed: int, what: str) -> None:
        """Raise NotRunError unless `needed` bytes are allowed."""
        if needed > self.max_memory:
            raise NotRunError(
                f"{what} takes {needed / GB:.1f} GB, allowed are {self.max_memory / GB:.1f} GB (--max-memory)"
            )

    def gate(self, rung: str, scheme: str) -> Callable[[str], Gate | None]:
        """From a stage's name to its gate on this rung."""
        weights = self.manifest.source.weights
        return lambda stage: self.tolerances.gate(rung, stage, self.target, scheme, weights)

    def judge(self, rung: str, graph: str | None = None, scheme: str | None = None) -> Judge:
        """For the weights of one graph, or of the whole bundle; `scheme` overrides what the manifest says."""
        chosen = scheme or scheme_class(self.manifest, graph, self.target)
        return Judge(self.gate(rung, chosen), self.tolerances.near_tie(chosen))
