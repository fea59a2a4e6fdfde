"""Streaming: tensor by tensor, a few at a time, and nothing left of a checkpoint that turns out to be damaged."""

import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from nexus_edge.checkpoints import Checkpoint, FolderCheckpoint, TensorInfo
from nexus_edge.checkpoints.transforms.stored import Stored
from nexus_edge.errors import CheckpointError
from nexus_edge.interfaces.target import WeightsFile
from nexus_edge.interfaces.weights import WeightSource
from nexus_edge.pipeline import weights
from nexus_edge.pipeline.plan import make_plan
from nexus_edge.pipeline.weights import require_float32, summary, write_weights
from nexus_edge.quant.apply import quantize_modules
from nexus_edge.quant.schemes import load_scheme
from nexus_edge.recipe import find_recipe

LAYER = "model.layers.1.mlp.down_proj.weight"


def stream(checkpoint: Checkpoint, path: Path) -> tuple[list[tuple[int, int]], list[str]]:
    """Write everything that an int4 bundle of `checkpoint` could need; returns progress and names."""
    plan = make_plan(checkpoint, find_recipe("phi3-vision", "int4"))
    names = [*dict(plan.quantized.named_parameters()), *dict(plan.quantized.named_buffers())]
    names = [name for name in names if name not in plan.quantized.constants()]
    steps: list[tuple[int, int]] = []
    wanted = WeightsFile(path.name, frozenset(names), {})
    stored = write_weights(plan.weights, plan.quantized, wanted, path.parent, lambda *step: steps.append(step), {})
    return steps, list(stored)


def test_few_tensors_at_a_time(checkpoint: FolderCheckpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alive: weakref.WeakSet[Tensor] = weakref.WeakSet()
    most = 0

    def counted(source: WeightSource, key: str) -> Tensor:
        nonlocal most
        tensor = read(source, key)
        alive.add(tensor)
        most = max(most, len(alive))
        return tensor

    read = weights.take
    monkeypatch.setattr(weights, "take", counted)
    steps, stored = stream(checkpoint, tmp_path / "weights.safetensors")
    assert 1 <= most <= weights.WORKERS
    total = sum(tensor.size // 4 for tensor in checkpoint.keys().values())
    assert steps[-1] == (total, total)
    assert [done for done, _ in steps] == sorted(done for done, _ in steps)
    assert set(stored) == set(safetensors.torch.load_file(tmp_path / "weights.safetensors"))


class _Matrices:
    """A checkpoint of large bfloat16 matrices that are made when they are read."""

    name, revision, kind, folder = "matrices", None, "synthetic", None
    config: Mapping[str, Any] = {"model_type": "phi3_v"}  # of which only the rules about extra keys matter

    def __init__(self, model: nn.Module) -> None:
        self._infos = {key: TensorInfo("float16", tuple(value.shape)) for key, value in model.named_parameters()}

    def keys(self) -> Mapping[str, TensorInfo]:
        return self._infos

    def read(self, key: str) -> np.ndarray:
        return np.resize(np.linspace(-1, 1, 4093, dtype=np.float16), self._infos[key].shape)

    def release(self, key: str) -> None: ...


def test_memory_does_not_grow_with_the_model(tmp_path: Path) -> None:
    """64 matrices of 4 MB, 256 MB in all: what is resident at once are two of them with their temporaries."""

    def model() -> nn.Module:
        with torch.device("meta"):
            return nn.ModuleDict({str(i): nn.Linear(2048, 1024, bias=False) for i in range(64)})

    full, quantized = model(), model()
    quantize_modules(quantized, lambda name: load_scheme("int4-g64"))
    wanted = WeightsFile("weights.safetensors", frozenset(dict(quantized.named_buffers())), {})
    before = _reset_peak()
    write_weights(Stored(_Matrices(full)), quantized, wanted, tmp_path, lambda done, total: None, {})
    assert (tmp_path / wanted.file).stat().st_size > 70_000_000
    # Two float16 matrices with their temporaries are 30 MB; the rest is room for the allocator.
    assert _status("VmHWM") - before < 100_000_000


def _reset_peak() -> int:
    """Forget the process's peak of resident memory, and return what is resident now, in bytes."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pytest.skip("the peak of a process can be reset on Linux only")
    return _status("VmRSS")


def _status(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        pytest.param(LAYER, torch.nan, id="quantized layer"),
        pytest.param("model.embed_tokens.weight", torch.inf, id="embedding"),
        pytest.param("model.norm.weight", -torch.inf, id="kept in float32"),
        pytest.param("model.vision_embed_tokens.img_projection.0.bias", torch.nan, id="bias of a quantized layer"),
    ],
)
def test_damaged_weights_are_named_and_leave_no_file(
    key: str, value: float, checkpoint: FolderCheckpoint, tmp_path: Path
) -> None:
    assert checkpoint.folder is not None
    tensors = safetensors.torch.load_file(checkpoint.folder / "model.safetensors")
    tensors[key].view(-1)[-1] = value
    safetensors.torch.save_file(tensors, tmp_path / "model.safetensors")
    for path in checkpoint.folder.glob("*.json"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    with pytest.raises(CheckpointError, match=key.replace(".", r"\.")) as caught:
        stream(FolderCheckpoint(tmp_path), tmp_path / "weights.safetensors")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "weights.safetensors").exists()


def test_summary_names_the_most_frequent_scheme_first() -> None:
    int4, int8 = load_scheme("int4-g64"), load_scheme("int8")
    assert summary({"a": int8, "b": int4, "c": int4}) == "int4-g64, int8"
    assert summary({}) == "float32"


def test_a_float64_beyond_float32_is_no_damage() -> None:
    """IEEE 754: the largest float32 is (2 - 2**-23) * 2**127, about 3.4e38."""
    require_float32("w", torch.tensor([3.4e38, torch.inf, torch.nan], dtype=torch.float64))
    with pytest.raises(CheckpointError, match=r"tensor 'w' holds 1e\+39, too large for float32"):
        require_float32("w", torch.tensor([1.0, 1e39], dtype=torch.float64))
