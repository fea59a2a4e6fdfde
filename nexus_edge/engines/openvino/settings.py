"""How OpenVINO's CPU plugin computes; needs no openvino."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

CPU = "CPU"
"""OpenVINO's name of the device that all can compute on, and that the settings below are for."""

BF16 = "BF16"
"""What the plugin lists where the CPU computes in bfloat16."""

InferencePrecision = Literal["f32", "bf16"]
"""Of products and sums, by OpenVINO's own name; what weights and caches are stored in are other matters."""
Cache = Literal["f32", "f16", "u8"]


@dataclass(frozen=True)
class OpenVinoSettings:
    """What the CPU plugin may trade for speed.

    Attributes:
        precision: of products and sums between float tensors; a CPU without bf16 takes f32 instead, see `on`
        quantization_group: inputs of products with compressed weights are rounded to int8 in groups of this many
            neighbours; 0: not rounded
        cache: how cached keys and values are stored
    """

    precision: InferencePrecision = "bf16"  # a quarter less time than f32 until the first token, and the same behind it
    quantization_group: int = 128  # as our weights; 32, the plugin's own choice, decodes a quarter slower
    cache: Cache = "u8"

    def __post_init__(self) -> None:
        """Raises ValueError for what the plugin does not know."""
        if self.precision not in get_args(InferencePrecision) or self.cache not in get_args(Cache):
            raise ValueError(f"no such precision or cache: {self}")
        if type(self.quantization_group) is not int or self.quantization_group < 0:
            raise ValueError(f"quantization_group is {self.quantization_group!r}; it must be 0 or more")

    def on(self, capabilities: Collection[str]) -> "OpenVinoSettings":
        """The same where the plugin lists what they ask for among its OPTIMIZATION_CAPABILITIES; else with float32.

        A CPU without bfloat16 is not refused it: it emulates it, and a vision encoder takes eight times as long.
        """
        return self if self.precision != "bf16" or BF16 in capabilities else replace(self, precision="f32")

    def properties(self, threads: int | None) -> dict[str, Any]:
        """In the names of the plugin."""
        values: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": self.precision,
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": self.quantization_group,
            "KV_CACHE_PRECISION": self.cache,
            "PERFORMANCE_HINT": "LATENCY",
        }
        return values if threads is None else {**values, "INFERENCE_NUM_THREADS": threads}
