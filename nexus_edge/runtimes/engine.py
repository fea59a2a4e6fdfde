"""What a runtime has to offer, and the registry of those that do: one file per engine, none of them imports torch."""

import importlib
from dataclasses import dataclass
from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray

from nexus_edge.bundle import Bundle
from nexus_edge.errors import BundleError

Floats = NDArray[np.float32]
Ids = NDArray[np.int64]

ENGINES = {"onnx": "nexus_edge.runtimes.onnx_engine"}
"""Target of a bundle -> module with `open_engine(bundle, options) -> Engine`; the first that a bundle has is taken."""


@dataclass(frozen=True)
class EngineOptions:
    """How an engine uses the machine.

    Attributes:
        threads: that compute one operator; None leaves it to the engine (one per core)
        keep_vision: keep the vision encoder loaded between pictures. Off, its memory is free while text is generated,
            and each new picture pays for loading it again.
    """

    threads: int | None = None
    keep_vision: bool = False


class Engine(Protocol):
    """The three graphs of a vision-language model, and the KV cache of one sequence."""

    def encode_picture(self, pixel_values: Floats, image_sizes: Ids) -> Floats:
        """[1, views, 3, height, width] and int64 [1, 2] -> features [image tokens, hidden]."""

    def reserve(self, tokens: int, past: int) -> None:
        """Make room in the cache for a sequence of this length; its first `past` tokens stay."""

    def extend(self, ids: Ids, features: Floats | None, past: int, rope_length: int) -> Floats:
        """Run tokens through the decoder, behind the first `past` tokens of the cache.

        What the cache held after those is overwritten, so going back to a prefix costs nothing.

        Args:
            ids: int64 [tokens], negative where the next row of `features` goes
            features: [negative ids, hidden], or None if there are none
            past: cached tokens that stay, at most as many as earlier calls left there
            rope_length: at least past + tokens; the length of sequence for which LongRoPE's factors are chosen

        Returns:
            logits of the last token, [vocab]; valid until the next call
        """


def open_engine(bundle: Bundle, options: EngineOptions) -> Engine:
    """The engine for the first target of `bundle` that can run here; raises BundleError if none can."""
    for target in bundle.manifest.targets:
        if target in ENGINES:
            return cast(Engine, importlib.import_module(ENGINES[target]).open_engine(bundle, options))
    has, can = ", ".join(bundle.manifest.targets), ", ".join(ENGINES)
    raise BundleError(f"{bundle.root}: was exported for {has}, what can run here is {can}; export it for that")
