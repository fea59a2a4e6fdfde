"""The Core ML packages of a dual encoder: on a Mac in Core ML, elsewhere in our evaluator, which is slow.

The evaluator emulates float16 and shows what an iPhone would compute.
"""

import threading
from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np

from nexus_edge.bundle import Bundle
from nexus_edge.engines.base import EngineOptions
from nexus_edge.engines.coreml import ENGINE
from nexus_edge.engines.coreml.images import IMAGE as IMAGE_INPUT
from nexus_edge.engines.coreml.images import images_of
from nexus_edge.engines.coreml.interface import open_packages
from nexus_edge.engines.coreml.mil import MilFunction
from nexus_edge.engines.coreml.mil.registry import Array
from nexus_edge.engines.coreml.parts import package_of
from nexus_edge.engines.coreml.session import CoremlFunction, open_function
from nexus_edge.engines.dual import IMAGE, TEXT
from nexus_edge.errors import BundleError
from nexus_edge.interfaces.engine import Floats, Ids

PIXELS, IDS = "pixel_values", "input_ids"


def open_engine(bundle: Bundle, options: EngineOptions) -> "CoremlDualEngine":
    """The engine of a bundle's `coreml` target; it has no use for threads."""
    return CoremlDualEngine(bundle)


class CoremlDualEngine:
    """See `nexus_edge.engines.dual.DualEngine`."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self._opened: dict[str, CoremlFunction] = {}
        self._turn = threading.RLock()  # Apple's page of MLModel allows an instance one thread at a time

    def encode_images(self, pixel_values: Floats) -> Floats:
        """See `DualEngine.encode_images`."""
        with self._turn:
            function = self._image_function
        if PIXELS in function.inputs:
            return self._one_by_one(function, PIXELS, [pixels[np.newaxis] for pixels in pixel_values])
        images = images_of(pixel_values, self._bundle)
        return self._one_by_one(function, IMAGE_INPUT, list(images.transpose(0, 2, 3, 1)))

    def encode_texts(self, input_ids: Ids) -> Floats:
        """See `DualEngine.encode_texts`; the shortest function that the texts fit into computes them."""
        with self._turn:
            functions, tokens = self._text_functions, input_ids.shape[1]
        longest = max(functions)
        if tokens > longest:
            raise BundleError(f"{self._bundle.root}: texts of {tokens} tokens, the text encoder takes {longest}")
        width = min(size for size in functions if size >= tokens)
        padded = np.pad(input_ids, ((0, 0), (0, width - tokens)))
        return self._one_by_one(functions[width], IDS, [ids[np.newaxis] for ids in padded])

    def close(self) -> None:
        """See `DualEngine.close`."""
        with self._turn:
            self._opened.clear()

    @cached_property
    def _image_function(self) -> MilFunction:
        """The function for pixels; a package for one function has that for an image."""
        functions = self._functions(IMAGE)
        found = [function for name in (PIXELS, IMAGE_INPUT) for function in functions if name in function.inputs]
        if not found:
            raise BundleError(f"{self._bundle.root}: no function of {IMAGE} takes {PIXELS}; export the bundle again")
        return found[0]

    @cached_property
    def _text_functions(self) -> Mapping[int, MilFunction]:
        """By the tokens that they take."""
        functions = [function for function in self._functions(TEXT) if IDS in function.inputs]
        sizes = [(function.inputs[IDS].shape[1], function) for function in functions]
        found = {size: function for size, function in sizes if isinstance(size, int)}
        if not found:
            raise BundleError(f"{self._bundle.root}: no function of {TEXT} takes {IDS}; export the bundle again")
        return found

    def _functions(self, graph: str) -> list[MilFunction]:
        """All of the package that a tower is in; each is the graph that the manifest describes."""
        package, graphs = package_of(self._bundle, graph), self._bundle.manifest.graphs[ENGINE.target]
        names = [name for name in graphs if package_of(self._bundle, name) == package]
        return list(open_packages(self._bundle, names)[package].functions.values())

    def _one_by_one(self, function: MilFunction, name: str, values: Sequence[Array]) -> Floats:
        """What the package is made for."""
        (output,) = function.outputs
        with self._turn:
            if function.where not in self._opened:
                self._opened[function.where] = open_function(function)
            opened = self._opened[function.where]
            embeddings: Floats = np.concatenate([opened.run({name: value})[output] for value in values])
        if not np.isfinite(embeddings).all():
            raise BundleError(f"{function.where}: produced NaN; export the bundle again")
        return embeddings
