"""How OpenVINO's CPU plugin computes; needs no openvino."""

from dataclasses import dataclass
from typing import Any, Literal, get_args

CPU = "CPU"
"""OpenVINO's name of the device that all can compute on, and that the settings below are for."""

Precision = Literal["f32", "bf16"]
Cache = Literal["f32", "f16", "u8"]


@dataclass(frozen=True)
class OpenVinoSettings:
    """What the CPU plugin may trade for speed.

    Attributes:
        precision: of products and sums between float tensors; a CPU without bf16 takes f32 instead
        quantization_group: inputs of products with compressed weights are rounded to int8 in groups of this many
            neighbours; 0: not rounded
        cache: how cached keys and values are stored
    """

    precision: Precision = "bf16"  # a quarter less time than f32 until the first token, and the same behind it
    quantization_group: int = 128  # as our weights; 32, the plugin's own choice, decodes a quarter slower
    cache: Cache = "u8"

    def __post_init__(self) -> None:
        """Raises ValueError for what the plugin does not know."""
        if self.precision not in get_args(Precision) or self.cache not in get_args(Cache):
            raise ValueError(f"no such precision or cache: {self}")
        if type(self.quantization_group) is not int or self.quantization_group < 0:
            raise ValueError(f"quantization_group is {self.quantization_group!r}; it must be 0 or more")

    def properties(self, threads: int | None) -> dict[str, Any]:
        """In the names of the plugin."""
        values: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": self.precision,
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": self.quantization_group,
            "KV_CACHE_PRECISION": self.cache,
            "PERFORMANCE_HINT": "LATENCY",
        }
        return values if threads is None else {**values, "INFERENCE_NUM_THREADS": threads}
