"""The Core ML packages of a dual encoder: on a Mac in Core ML, elsewhere in our evaluator, which is slow.

The evaluator emulates float16 and shows what an iPhone would compute.
"""

from collections.abc import Mapping

import numpy as np

from nexus_edge.bundle import Bundle
from nexus_edge.errors import BundleError
from nexus_edge.runtimes.coreml_parts import package_of
from nexus_edge.runtimes.coreml_session import CoremlFunction, open_function
from nexus_edge.runtimes.dual_engine import IMAGE, TEXT
from nexus_edge.runtimes.engine import EngineOptions, Floats, Ids
from nexus_edge.runtimes.mil import MilFunction, MilModel

PIXELS, IDS = "pixel_values", "input_ids"


def open_engine(bundle: Bundle, options: EngineOptions) -> "CoremlDualEngine":
    """The engine of a bundle's `coreml` target; it has no use for threads."""
    return CoremlDualEngine(bundle)


class CoremlDualEngine:
    """See `nexus_edge.runtimes.dual_engine.DualEngine`."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self._functions: dict[str, Mapping[int, MilFunction]] = {}
        self._opened: dict[str, CoremlFunction] = {}

    def encode_images(self, pixel_values: Floats) -> Floats:
        """See `DualEngine.encode_images`."""
        (function,) = self._taking(IMAGE, PIXELS).values()
        return _stacked(self._open(function), PIXELS, pixel_values)

    def encode_texts(self, input_ids: Ids) -> Floats:
        """See `DualEngine.encode_texts`; the shortest function that the texts fit into computes them."""
        functions, tokens = self._taking(TEXT, IDS), input_ids.shape[1]
        longest = max(functions)
        if tokens > longest:
            raise BundleError(f"{self._bundle.root}: texts of {tokens} tokens, the text encoder takes {longest}")
        width = min(size for size in functions if size >= tokens)
        return _stacked(self._open(functions[width]), IDS, np.pad(input_ids, ((0, 0), (0, width - tokens))))

    def _open(self, function: MilFunction) -> CoremlFunction:
        if function.where not in self._opened:
            self._opened[function.where] = open_function(function)
        return self._opened[function.where]

    def _taking(self, graph: str, name: str) -> Mapping[int, MilFunction]:
        """Functions of a graph's package with an input of this name, by its second size."""
        if graph not in self._functions:
            package = package_of(self._bundle, graph)
            functions = MilModel.open(package).functions.values()
            sizes = [(function.inputs[name].shape[1], function) for function in functions if name in function.inputs]
            found = {size: function for size, function in sizes if isinstance(size, int)}
            if not found:
                raise BundleError(f"{package}: no function takes {name}; export the bundle again")
            self._functions[graph] = found
        return self._functions[graph]


def _stacked(function: CoremlFunction, name: str, values: Floats | Ids) -> Floats:
    """Row by row, which is what the package is made for."""
    (output,) = function.outputs
    rows = [function.run({name: values[row : row + 1]})[output] for row in range(len(values))]
    embeddings: Floats = np.concatenate(rows)
    if not np.isfinite(embeddings).all():
        raise BundleError(f"{function.where}: computes numbers that are none (NaN); export the bundle again")
    return embeddings
