"""Deterministic full-size weights without a file, so that an export's cost can be measured without the real ones.

Every matrix looks like N(0, 0.02) to a quantizer, and rows differ, so sizes, times and memory are those of the real
model. What the model says is noise.

How 8.3 GB come in seconds: one table of normal values is drawn once, already rounded to bfloat16; a tensor is a
sequence of blocks, and each block is a copy from a place in the table. The places of a tensor's blocks follow the
golden ratio sequence from a start that its key gives: they never repeat (repeated rows would make singular matrices),
they stay far apart, and any rows can be made without those before them.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from nexus_edge.checkpoints.adapters.adapter import Adapter
from nexus_edge.checkpoints.base import Array, TensorInfo, WeightsKind
from nexus_edge.checkpoints.formats import format_of
from nexus_edge.errors import CheckpointError
from nexus_edge.storage.dtypes import numpy_dtype

GENERATOR = "synthetic-1"  # the revision; changes whenever the numbers would
STD = 0.02  # initializer_range of the real config.json
TABLE = 1 << 21  # normal values; 4 MB of bfloat16, so that it stays in the L2/L3 cache
BLOCK = 4096  # values copied at a time
SEED = 20240521
STRIDE = 1296111  # odd, next to TABLE / 1.618: multiples of the golden ratio are spread as evenly as any sequence


class SyntheticCheckpoint:
    """Weights of the shapes that the published config.json asks for, in bfloat16.

    Args:
        numbers: a file of a family's `published/`
        tokenizer: the folder whose tokenizer files are lent: synthetic weights have none of their own, and ids beyond
            that vocabulary are simply never decoded.
    """

    name = "synthetic"
    revision: str | None = GENERATOR
    kind: WeightsKind = "synthetic"
    folder: Path | None = None
    ignored_keys: tuple[str, ...] = ()
    adapter: Adapter | None = None
    weight_files: tuple[Path, ...] = ()

    def __init__(self, numbers: Path, tokenizer: Path) -> None:
        data = json.loads(numbers.read_text("utf-8"))
        self.config: dict[str, Any] = data["config"]
        # config.json, and preprocessor_config.json where the family has one
        self._own = {f"{key}.json": value for key, value in data.items() if key != "source"}
        self._tokenizer = tokenizer
        self._windows: dict[float, NDArray[np.uint16]] = {}

    def keys(self) -> Mapping[str, TensorInfo]:
        return self._infos

    @cached_property
    def _infos(self) -> Mapping[str, TensorInfo]:
        """The parameters of the reference model, which is built without data."""
        from nexus_edge.models.loading import build_empty  # not above: models are loaded from checkpoints

        model = build_empty(self)
        return {key: TensorInfo("bfloat16", tuple(parameter.shape)) for key, parameter in model.named_parameters()}

    def read(self, key: str) -> Array:
        info = self._info(key)
        return self._values(key, 0, math.prod(info.shape)).reshape(info.shape)

    def rows(self, key: str, start: int, stop: int) -> Array:
        shape = self._info(key).shape
        start, stop, _ = slice(start, stop).indices(shape[0])
        width = math.prod(shape[1:])
        return self._values(key, start * width, max(start, stop) * width).reshape(-1, *shape[1:])

    def release(self, key: str) -> None:
        """Nothing is held."""

    def processor_files(self) -> Mapping[str, bytes]:
        encoded = {name: json.dumps(value, indent=2).encode() for name, value in self._own.items()}
        return {**format_of(self._tokenizer).processor_files(self._tokenizer), **encoded}

    def _info(self, key: str) -> TensorInfo:
        try:
            return self._infos[key]
        except KeyError:
            raise CheckpointError(f"synthetic weights have no tensor {key!r}") from None

    def _values(self, key: str, begin: int, end: int) -> Array:
        """Values `begin..end` of the flattened tensor."""
        first, last = begin // BLOCK, -(-end // BLOCK)
        origin = int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "little")
        places = (origin + STRIDE * np.arange(first, last)) % TABLE
        blocks = self._table(_mean(key))[places].reshape(-1)
        return blocks[begin - first * BLOCK : end - first * BLOCK].view(numpy_dtype("bfloat16"))

    def _table(self, mean: float) -> NDArray[np.uint16]:
        """Every window of `BLOCK` values of the table, as bit patterns: [TABLE, BLOCK], a view."""
        if mean not in self._windows:
            # RandomState, because numpy promises that its stream never changes; default_rng's may.
            normal = np.random.RandomState(SEED).standard_normal(TABLE + BLOCK - 1) * STD + mean
            bits = normal.astype(numpy_dtype("bfloat16")).view(np.uint16)
            self._windows[mean] = sliding_window_view(bits, BLOCK)
        return self._windows[mean]


def _mean(key: str) -> float:
    """Scales of normalization layers lie around one, everything else around zero."""
    module, _, leaf = key.rpartition(".")
    return 1.0 if leaf == "weight" and "norm" in module.rpartition(".")[2].lower() else 0.0
