"""The Core ML engine: the packages that an iPhone runs, in our own pipeline.

On a Mac Core ML computes. Elsewhere it is our evaluator, which shows what a device would answer and is no runtime.
"""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np

from nexus_edge.bundle import Bundle
from nexus_edge.engines.base import EngineOptions, closed
from nexus_edge.engines.coreml.advice import TARGET, compute_units
from nexus_edge.engines.coreml.decoder import CoremlChunks
from nexus_edge.engines.coreml.interface import open_packages
from nexus_edge.engines.coreml.mil import MilFunction
from nexus_edge.engines.coreml.parts import EMBEDS, IDS, CoremlParts
from nexus_edge.engines.coreml.session import CoremlFunction, open_function
from nexus_edge.errors import BundleError
from nexus_edge.interfaces.engine import Array, Floats, Ids, Positions, Run
from nexus_edge.processing.calls import cut


def open_engine(bundle: Bundle, options: EngineOptions) -> "CoremlEngine":
    """The engine of a bundle's `coreml` target, which has no use for threads; raises BundleError."""
    return CoremlEngine(bundle, options)


class CoremlEngine:
    """See `nexus_edge.interfaces.engine.Engine`.

    One call at a time goes to the packages, whoever asks: Apple's page of MLModel allows an instance one thread or one
    dispatch queue at a time.
    """

    target = TARGET

    def __init__(self, bundle: Bundle, options: EngineOptions) -> None:
        self._where = bundle.root
        self._parts = CoremlParts.of_models(open_packages(bundle, bundle.manifest.graphs[TARGET]))
        self._units = compute_units(bundle)
        self._keep_vision = options.keep_vision
        self._turn = threading.Lock()
        self._vision: dict[str, CoremlFunction] = {}
        self._embedding = {width: self._open(function) for width, function in self._parts.embedding.items()}
        self._chunks: CoremlChunks | None = CoremlChunks(self._parts, self._units)

    @property
    def context_length(self) -> int:
        """See `Engine.context_length`."""
        return self._parts.context

    @contextmanager
    def vision(self) -> Iterator[Run]:
        """See `Engine.vision`."""
        with self._turn:
            try:
                yield self._run
            finally:
                if not self._keep_vision:
                    self._vision.clear()

    def decoder(self) -> "CoremlDecoder":
        """See `Engine.decoder`."""
        if self._chunks is None:
            raise closed()
        return CoremlDecoder(self._embedding, self._chunks, self._turn)

    def close(self) -> None:
        """See `Engine.close`."""
        with self._turn:
            self._vision, self._embedding, self._chunks = {}, {}, None

    def _run(self, graph: str, inputs: Mapping[str, Array]) -> dict[str, Array]:
        if graph not in self._parts.vision:
            raise BundleError(f"{self._where}: no Core ML package is {graph}; export the bundle again")
        if graph not in self._vision:
            self._vision[graph] = self._open(self._parts.vision[graph])
        return self._vision[graph].run(inputs)

    def _open(self, function: MilFunction) -> CoremlFunction:
        return open_function(function, self._units.get(function.package.name, "all"))


class CoremlDecoder:
    """See `nexus_edge.interfaces.engine.Decoder`; the states of one sequence.

    Args:
        embedding: token embeddings by their width
        chunks: what the engine's decoders share
        turn: held while packages run
    """

    def __init__(self, embedding: Mapping[int, CoremlFunction], chunks: CoremlChunks, turn: threading.Lock) -> None:
        self._embedding, self._chunks, self._turn = embedding, chunks, turn
        self._states = chunks.new_states()

    def embed(self, ids: Ids) -> Floats:
        """See `Decoder.embed`."""
        rows, given = [], ids[None].astype(np.int32)
        with self._turn:
            for start, count in cut(len(ids), self._embedding):
                part = given[:, start : start + count]
                padded = np.pad(part, ((0, 0), (0, count - part.shape[1])))
                rows.append(self._embedding[count].run({IDS: padded})[EMBEDS][0, : part.shape[1]])
        return np.concatenate(rows)

    def reserve(self, tokens: int, past: int) -> None:
        """See `Decoder.reserve`; the states are as long as they will ever be."""

    def extend(self, embeds: Floats, past: int, positions: Positions) -> Floats:
        """See `Decoder.extend`."""
        with self._turn:
            return self._chunks.extend(embeds, past, positions, self._states)
