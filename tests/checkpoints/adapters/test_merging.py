"""Merged weights against peft's own, recorded on another machine: the same but for the rounding of products."""

import json
from collections.abc import Collection, Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor

from nexus_edge.checkpoints import SafetensorsFile
from nexus_edge.checkpoints.adapters.adapter import Adapter
from nexus_edge.checkpoints.adapters.base import Base
from nexus_edge.checkpoints.adapters.plan import plan
from nexus_edge.checkpoints.base import Array, TensorInfo
from nexus_edge.checkpoints.tensors import take, to_torch
from nexus_edge.checkpoints.transforms.lora import Merged
from nexus_edge.checkpoints.transforms.stored import Stored
from nexus_edge.checkpoints.view import view
from nexus_edge.interfaces.weights import Fused, WeightRules

GOLDEN = Path(__file__).parents[2] / "golden"
LLAVA, PEFT = GOLDEN / "llava15_lora", GOLDEN / "peft_lora"
CASES: Mapping[str, list[str]] = json.loads((LLAVA / "cases.json").read_text("utf-8"))
# How transformers calls what the checkpoint's keys name, since 4.52.
LLAVA_RULES = WeightRules(
    prefixes={
        "model.language_model.": "language_model.model.",
        "lm_head.": "language_model.lm_head.",
        "model.vision_tower.": "vision_tower.",
        "model.multi_modal_projector.": "multi_modal_projector.",
    },
    fuse=(Fused("qkv_proj", ("q_proj", "k_proj", "v_proj")), Fused("gate_up_proj", ("gate_proj", "up_proj"))),
)
HALF = [name.name for name in sorted(PEFT.iterdir()) if name.name.startswith("half")]
WHOLE = [name.name for name in sorted(PEFT.iterdir()) if name.is_dir() and name.name not in HALF]

# Of the largest weight. A change is a sum of products of two factors (rank 2 to 8 here), scaled, and added to the
# weight; a CPU's kernels and peft's convolution sum in their own order, with or without fused multiplications, so each
# side rounds up to ten times by 2^-24.
ROUNDING = 20 * 2**-24
STEP = 2**-7  # of each weight, in bfloat16: sums that differ by the above may round to neighbours
TWICE = "half/model.embed.weight"  # of a bfloat16 embedding peft rounds the change, of up to 0.5, and then the sum


def assert_merged(found: Tensor, expected: Tensor, key: str) -> None:
    assert found.dtype == expected.dtype
    step = STEP if expected.dtype == torch.bfloat16 else 0.0
    around_zero = STEP / 2 if key == TWICE else ROUNDING * float(expected.abs().max())
    torch.testing.assert_close(found, expected, rtol=step, atol=around_zero, msg=lambda text: f"{key}: {text}")


class File:
    """A safetensors file as a checkpoint; in bfloat16 where that is asked for."""

    name = "base"

    def __init__(self, path: Path, *, half: bool = False, renamed: Mapping[str, str] | None = None) -> None:
        self._file, self._half = SafetensorsFile(path), half
        self._keys = {key: key for key in self._file.infos} if renamed is None else dict(renamed)

    def keys(self) -> Mapping[str, TensorInfo]:
        dtype = "bfloat16" if self._half else "float32"
        return {name: TensorInfo(dtype, self._file.infos[key].shape) for name, key in self._keys.items()}

    def read(self, key: str) -> Array:
        array = self._file.read(self._keys[key])
        return array.astype("bfloat16") if self._half else array

    def release(self, key: str) -> None:
        self._file.release(self._keys[key])


def merged(checkpoint: File, adapter: Path, rules: WeightRules, linear: Collection[str] = ()) -> Merged:
    source, opened = Stored(checkpoint), Adapter(adapter)
    return Merged(source, opened, plan(opened, Base(source.infos, rules, linear, frozenset())))


@pytest.mark.parametrize("name", CASES)
def test_adapters_of_llava_are_merged_as_by_peft(name: str) -> None:
    source, golden = merged(File(LLAVA / "base.safetensors"), LLAVA / name, LLAVA_RULES), recorded(LLAVA)
    before = Stored(File(LLAVA / "base.safetensors"))
    changed = [key for key in source.infos if not torch.equal(take(source, key), take(before, key))]
    assert sorted(changed) == sorted(CASES[name])
    sums = torch.stack([take(source, key).double().sum() for key in CASES[name]])
    sizes = torch.tensor([take(source, key).abs().max() * take(source, key).numel() for key in CASES[name]])
    assert ((sums - golden[f"{name}.merged_sums"]).abs() <= ROUNDING * sizes).all()
    samples = {key.partition(".merged.")[2]: key for key in golden if key.startswith(f"{name}.merged.")}
    assert samples
    for key, where in samples.items():
        assert_merged(take(source, key)[: len(golden[where])], golden[where], key)


def recorded(folder: Path) -> dict[str, Tensor]:
    file = SafetensorsFile(folder / "merged.safetensors")
    return {key: to_torch(file.read(key)) for key in file.infos}


@pytest.mark.parametrize("name", [*WHOLE, *HALF])
def test_each_kind_of_adapter_is_merged_as_by_peft(name: str) -> None:
    checkpoint = File(PEFT / "base.safetensors", half=name in HALF)
    linear = [f"model.{module}" for layer in (0, 1) for module in (*modules(layer), f"blocks.{layer}.fc")] + ["head"]
    source, golden = merged(checkpoint, PEFT / name, WeightRules(), linear), recorded(PEFT)
    before, changed = Stored(checkpoint), 0
    for key in source.infos:
        expected, found = golden[f"{name}/{key}"], take(source, key)
        assert_merged(found, expected, f"{name}/{key}")
        changed += not torch.equal(found, take(before, key))
    assert changed


def modules(layer: int) -> list[str]:
    return [f"layers.{layer}.q_proj", f"layers.{layer}.o_proj"]


ATTENTION = "language_model.model.layers.2.self_attn."


def test_adapters_of_parts_reach_a_model_that_has_the_whole() -> None:
    """q, k and v apart in checkpoint and adapter, one projection in the model."""
    parts = {f"{ATTENTION}{part}.weight": f"{ATTENTION}{part}.weight" for part in ("q_proj", "k_proj", "v_proj")}
    checkpoint = File(LLAVA / "base.safetensors")
    expected = {name: info.shape for name, info in checkpoint.keys().items()}
    for layer in range(3):
        whole = ATTENTION.replace("2", str(layer)) + "qkv_proj.weight"
        expected = {name: shape for name, shape in expected.items() if not is_part(name, layer)} | {whole: (168, 56)}
    model = view(checkpoint, expected, LLAVA_RULES, Adapter(LLAVA / "adapter_plain"))
    alone = merged(checkpoint, LLAVA / "adapter_plain", LLAVA_RULES)
    rows = torch.cat([take(alone, name) for name in parts])
    assert torch.equal(take(model, f"{ATTENTION}qkv_proj.weight"), rows)
    assert_merged(rows[112:], recorded(LLAVA)[f"adapter_plain.merged.{ATTENTION}v_proj.weight"], "v_proj")


def is_part(name: str, layer: int) -> bool:
    return name.startswith(ATTENTION.replace("2", str(layer))) and name.split(".")[-2] in ("q_proj", "k_proj", "v_proj")


def test_an_adapter_of_the_whole_reaches_a_model_that_has_the_parts() -> None:
    """One projection in checkpoint and adapter, q, k and v apart in the model."""
    shapes = {"q_proj": 3, "k_proj": 2, "v_proj": 3}
    renamed = {f"model.layers.{layer}.qkv_proj.weight": f"model.layers.{layer}.q_proj.weight" for layer in (0, 1)}
    adapter = Adapter(PEFT / "half")  # of q_proj, [8, 6], which stands for the whole here
    adapter.file = Renamed(adapter.file, {"q_proj": "qkv_proj"})
    checkpoint = File(
        PEFT / "base.safetensors", half=True, renamed=renamed | {"model.embed.weight": "model.embed.weight"}
    )
    expected = {
        f"model.layers.{layer}.{part}.weight": (rows, 6) for layer in (0, 1) for part, rows in shapes.items()
    } | {"model.embed.weight": (12, 6)}
    config = dict(adapter.config.__dict__) | {"targets": ("qkv_proj", "embed")}
    adapter.config = type(adapter.config)(**config)
    model = view(checkpoint, expected, LLAVA_RULES, adapter)
    golden = recorded(PEFT)["half/model.layers.1.q_proj.weight"]
    found = [take(model, f"model.layers.1.{part}.weight") for part in shapes]
    assert [len(part) for part in found] == [3, 2, 3]
    assert torch.equal(torch.cat(found), golden)


class Renamed:
    """An adapter's file whose modules have other names."""

    def __init__(self, file: SafetensorsFile, names: Mapping[str, str]) -> None:
        (self._old, self._new), *_ = names.items()
        self.path, self._file = file.path, file
        self.infos = {key.replace(self._old, self._new): info for key, info in file.infos.items()}

    def read(self, key: str) -> Array:
        return self._file.read(key.replace(self._new, self._old))

    def release(self, key: str) -> None:
        self._file.release(key.replace(self._new, self._old))
