"""OpenVINO graphs compiled for the CPU, and its errors as ours."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import openvino as ov

from nexus_edge.errors import BundleError

DEVICE = "CPU"


@dataclass(frozen=True)
class OpenVinoSettings:
    """What the CPU plugin may trade for speed.

    Attributes:
        precision: of products and sums between float tensors
        quantization_group: inputs of products with compressed weights are rounded to int8 in groups of this many
            neighbours; 0: not rounded
        cache: how cached keys and values are stored
    """

    precision: Literal["f32", "bf16"] = "f32"
    quantization_group: int = 32
    cache: Literal["f32", "f16", "u8"] = "u8"

    def properties(self, threads: int | None) -> dict[str, Any]:
        """In the names of the plugin."""
        values: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": self.precision,
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": self.quantization_group,
            "KV_CACHE_PRECISION": self.cache,
            "PERFORMANCE_HINT": "LATENCY",
        }
        return values if threads is None else {**values, "INFERENCE_NUM_THREADS": threads}


def compile_graph(
    path: Path, settings: OpenVinoSettings, threads: int | None, change: Callable[[Any], None] = lambda model: None
) -> Any:
    """Load a graph for the CPU (openvino.CompiledModel).

    Args:
        path: of the .xml
        settings: see `OpenVinoSettings`
        threads: that compute; None: one per core
        change: what is done to the model before

    Raises:
        BundleError: the file or its .bin is missing, is no valid graph, or cannot run here.
    """
    with reported_as_bundle_error(path, "cannot be loaded"):
        core = ov.Core()
        model = core.read_model(path)
        change(model)
        return core.compile_model(model, DEVICE, settings.properties(threads))


@contextmanager
def reported_as_bundle_error(path: Path, what: str = "fails when it runs") -> Iterator[None]:
    """Turn OpenVINO's errors, which are all RuntimeErrors, into a BundleError that names the graph's file."""
    try:
        yield
    except RuntimeError as error:
        message = " ".join(str(error).split())
        raise BundleError(f"{path}: {what} ({message[-300:]}); export the bundle again") from error
