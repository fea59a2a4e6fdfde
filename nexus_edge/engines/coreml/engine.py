"""The Core ML engine: the packages that an iPhone runs, in our own pipeline.

On a Mac Core ML computes. Elsewhere it is our evaluator, which shows what a device would answer and is no runtime.
"""

import threading
from collections.abc import Iterator, Mapping

import numpy as np

from nexus_edge.bundle import Bundle
from nexus_edge.engines.base import EngineOptions, Floats, Ids, closed
from nexus_edge.engines.coreml.advice import TARGET, compute_units
from nexus_edge.engines.coreml.decoder import CoremlChunks
from nexus_edge.engines.coreml.mil import MilFunction
from nexus_edge.engines.coreml.parts import (
    EMBEDS,
    FEATURES,
    IDS,
    PIXELS,
    SEPARATORS_GLOBAL_FIRST,
    CoremlParts,
    package_of,
)
from nexus_edge.engines.coreml.session import CoremlFunction, open_function
from nexus_edge.processing.hd_transform import CROP
from nexus_edge.runtimes.vlm.hd_layout import SIDE, Separators, lay_out_joined


def open_engine(bundle: Bundle, options: EngineOptions) -> "CoremlEngine":
    """The engine of a bundle's `coreml` target, which has no use for threads; raises BundleError."""
    return CoremlEngine(bundle, options)


class CoremlEngine:
    """See `nexus_edge.engines.base.Engine`. The vision encoder is loaded when the first picture comes.

    One call at a time goes to the packages, whoever asks: Apple's page of MLModel allows an instance one thread or one
    dispatch queue at a time.
    """

    def __init__(self, bundle: Bundle, options: EngineOptions) -> None:
        self._parts = CoremlParts.of(package_of(bundle, name) for name in bundle.manifest.graphs[TARGET])
        self._units = compute_units(bundle)
        self._keep_vision = options.keep_vision
        self._turn = threading.Lock()
        self._vision: dict[int, CoremlFunction] = {}
        self._embedding = {width: self._open(function) for width, function in self._parts.embedding.items()}
        self._chunks: CoremlChunks | None = CoremlChunks(self._parts, self._units)

    @property
    def context_length(self) -> int:
        """See `Engine.context_length`."""
        return self._parts.context

    def encode_picture(self, pixel_values: Floats, image_sizes: Ids) -> Floats:
        """See `Engine.encode_picture`."""
        rows, columns = (int(size) // CROP for size in image_sizes[0])
        with self._turn:
            views, separators = self._encode(pixel_values[0, : 1 + rows * columns])
            if not self._keep_vision:
                self._vision.clear()
        first = self._parts.separators == SEPARATORS_GLOBAL_FIRST
        return lay_out_joined(views, (rows, columns), Separators(*separators), global_first=first)

    def decoder(self) -> "CoremlDecoder":
        """See `Engine.decoder`."""
        if self._chunks is None:
            raise closed()
        return CoremlDecoder(self._embedding, self._chunks, self._turn)

    def close(self) -> None:
        """See `Engine.close`."""
        with self._turn:
            self._vision, self._embedding, self._chunks = {}, {}, None

    def _encode(self, crops: Floats) -> tuple[Floats, Floats]:
        """[crops, 3, height, width] -> joined patches [crops, 12, 12, hidden], and the two separators [2, hidden]"""
        found, separators = [], np.zeros(0, np.float32)
        for start, count in cut(len(crops), self._parts.vision):
            if count not in self._vision:
                self._vision[count] = self._open(self._parts.vision[count])
            part = crops[start : start + count]
            padded = np.pad(part, ((0, count - len(part)), (0, 0), (0, 0), (0, 0)))
            results = self._vision[count].run({PIXELS: padded})
            found.append(results[FEATURES].reshape(count, SIDE, SIDE, -1)[: len(part)])
            separators = results[self._parts.separators]
        return np.concatenate(found), separators

    def _open(self, function: MilFunction) -> CoremlFunction:
        return open_function(function, self._units.get(function.package.name, "all"))


class CoremlDecoder:
    """See `nexus_edge.engines.base.Decoder`; the states of one sequence.

    Args:
        embedding: token embeddings by their width
        chunks: what the engine's decoders share
        turn: held while packages run
    """

    def __init__(self, embedding: Mapping[int, CoremlFunction], chunks: CoremlChunks, turn: threading.Lock) -> None:
        self._embedding, self._chunks, self._turn = embedding, chunks, turn
        self._states = chunks.new_states()

    def reserve(self, tokens: int, past: int) -> None:
        """See `Decoder.reserve`; the states are as long as they will ever be."""

    def extend(self, ids: Ids, features: Floats | None, past: int, rope_length: int) -> Floats:
        """See `Decoder.extend`."""
        with self._turn:
            embeds = self._embed(np.maximum(ids, 0)[None].astype(np.int32))
            if features is not None:
                embeds[0, ids < 0] = features
            return self._chunks.extend(embeds, past, rope_length, self._states)

    def _embed(self, ids: Ids) -> Floats:
        """int32 [1, tokens] -> [1, tokens, hidden]"""
        rows = []
        for start, count in cut(ids.shape[1], self._embedding):
            part = ids[:, start : start + count]
            padded = np.pad(part, ((0, 0), (0, count - part.shape[1])))
            rows.append(self._embedding[count].run({IDS: padded})[EMBEDS][:, : part.shape[1]])
        return np.concatenate(rows, axis=1)


def cut(items: int, sizes: Mapping[int, object]) -> Iterator[tuple[int, int]]:
    """Where each call starts, and its size: as large as the items fill, and only the smallest may be filled up."""
    start = 0
    while start < items:
        size = max((size for size in sizes if size <= items - start), default=min(sizes))
        yield start, size
        start += size
