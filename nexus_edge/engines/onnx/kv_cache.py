"""The KV cache: buffers that the decoder reads and writes in place, grown as a sequence needs it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nexus_edge._telemetry import without_telemetry
from nexus_edge.engines.memory import mapped_zeros
from nexus_edge.errors import BundleError

with without_telemetry():
    import onnxruntime

BLOCK = 256  # tokens; capacities are multiples of it
GROWTH = 2

DTYPES: dict[str, np.dtype[Any]] = {
    "tensor(float)": np.dtype(np.float32),
    "tensor(float16)": np.dtype(np.float16),
    "tensor(int8)": np.dtype(np.int8),
    "tensor(uint8)": np.dtype(np.uint8),  # two 4-bit values in a byte
}


@dataclass(frozen=True)
class CacheSpec:
    """One key or value tensor of the decoder.

    `past` and `present` are the names of its input and output; `width` counts elements per head and token.
    """

    past: str
    present: str
    heads: int
    width: int
    dtype: np.dtype[Any]

    @classmethod
    def of_graph(cls, inputs: Sequence[Any], where: str) -> "tuple[CacheSpec, ...]":
        """The cache of a decoder with these inputs (onnxruntime.NodeArg); raises BundleError if there is none."""
        specs = []
        for node in inputs:
            name = re.fullmatch(r"past_key_values\.(\d+)\.(key|value)", node.name)
            if name is None:
                continue
            if node.type not in DTYPES or not all(isinstance(node.shape[axis], int) for axis in (1, 3)):
                raise BundleError(f"{where}: {node.name} is {node.type} {node.shape}; a KV cache must be one of "
                                  f"{', '.join(DTYPES)} with fixed heads and head size")  # fmt: skip
            present = f"present.{name[1]}.{name[2]}"
            specs.append(cls(node.name, present, node.shape[1], node.shape[3], DTYPES[node.type]))
        if not specs:
            raise BundleError(f"{where}: has no inputs past_key_values.N.key; it is not a decoder")
        return tuple(specs)


class KVCache:
    """Buffers [1, heads, capacity, width], each bound to the decoder as past and as present at once.

    GroupQueryAttention then writes the new tokens after the old ones and copies nothing. How many tokens are valid
    is known to the caller alone: the decoder is told by the length of its attention mask.

    Buffers are mapped by themselves, so the system gives them memory page by page, when a token is first written there:
    room for tokens that never come is address space and no more. That is why a buffer grows to twice of what is asked
    for. Growing copies what is used into pages that are all new, which for 512 tokens of Phi-3-Vision takes as long as
    ten decode steps; this way it happens once in as many tokens as there were.
    """

    def __init__(self, specs: Sequence[CacheSpec]) -> None:
        self._specs = specs
        self._buffers = {
            spec.past: np.zeros((1, spec.heads, 0, spec.width), spec.dtype) for spec in specs
        }  # empty until the first reserve
        self._values: dict[str, Any] = {}
        self._bound = 0

    @property
    def capacity(self) -> int:
        """Tokens for which there is room."""
        return min(int(buffer.shape[2]) for buffer in self._buffers.values())

    @property
    def num_bytes(self) -> int:
        """Size of all buffers, of which only what was written takes memory."""
        return sum(buffer.nbytes for buffer in self._buffers.values())

    def reserve(self, tokens: int, used: int) -> None:
        """Make room for `tokens` in all and as many again, and keep the first `used`.

        One buffer at a time, so that only one appears twice; interrupted, the next call carries on.
        """
        capacity = -(-GROWTH * tokens // BLOCK) * BLOCK
        for spec in self._specs:
            old = self._buffers[spec.past]
            if old.shape[2] < tokens:
                grown = mapped_zeros((1, spec.heads, capacity, spec.width), spec.dtype)
                grown[:, :, :used] = old[:, :, :used]
                self._buffers[spec.past] = grown
                self._values.pop(spec.past, None)
                self._bound = 0

    def bind(self, binding: Any) -> None:
        """Bind every buffer to its input and output of an `onnxruntime.IOBinding`, if it grew since the last time."""
        if self._bound == self.capacity:
            return
        for spec in self._specs:
            value = onnxruntime.OrtValue.ortvalue_from_numpy(self._buffers[spec.past])  # shares the memory
            binding.bind_ortvalue_input(spec.past, value)
            binding.bind_ortvalue_output(spec.present, value)
            self._values[spec.past] = value
        self._bound = self.capacity
