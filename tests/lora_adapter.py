"""Adapters of random numbers for the embedded Phi-3-Vision, and the same merged by other code than ours."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from nexus_edge.checkpoints import tiny_folder

TINY = tiny_folder()
TARGETS = ("qkv_proj", "down_proj", "fc1")
RANK, ALPHA, SAVED = 4, 6, "img_projection"


def base_tensors() -> dict[str, Tensor]:
    return safetensors.torch.load_file(TINY / "model.safetensors")


def write_adapter(folder: Path, seed: int = 0, strength: float = 0.05, **changed: Any) -> Path:
    """As peft saves it: factors for `TARGETS` everywhere, and a projector that was trained as a whole.

    Args:
        folder: is made
        seed: of the numbers
        strength: standard deviation of the factors
        changed: keys of adapter_config.json
    """
    random, tensors = torch.Generator().manual_seed(seed), dict[str, Tensor]()
    for name, weight in base_tensors().items():
        module, _, leaf = name.rpartition(".")
        begin = f"base_model.model.{module}"
        if leaf == "weight" and module.endswith(TARGETS):
            tensors[f"{begin}.lora_A.weight"] = torch.randn(RANK, weight.shape[1], generator=random) * strength
            tensors[f"{begin}.lora_B.weight"] = torch.randn(weight.shape[0], RANK, generator=random) * strength
        if SAVED in name:
            noise = torch.randn(weight.shape, generator=random) * strength
            tensors[f"base_model.model.{name}"] = (weight.float() + noise).to(weight.dtype)
    config = {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": str(TINY), "r": RANK,
        "lora_alpha": ALPHA, "lora_dropout": 0.1, "target_modules": [*TARGETS], "modules_to_save": [SAVED],
    }  # fmt: skip
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text(json.dumps(config | changed), "utf-8")
    safetensors.torch.save_file(tensors, folder / "adapter_model.safetensors")
    return folder


def write_merged(adapter: Path, folder: Path) -> Path:
    """The embedded checkpoint with the adapter in it, in the layout of any other."""
    found: Mapping[str, Tensor] = safetensors.torch.load_file(adapter / "adapter_model.safetensors")
    merged = base_tensors()
    for name, weight in merged.items():
        key = f"base_model.model.{name}"
        module = key.removesuffix(".weight")
        if key in found:
            merged[name] = found[key]
        elif f"{module}.lora_A.weight" in found:
            product = found[f"{module}.lora_B.weight"] @ found[f"{module}.lora_A.weight"]
            merged[name] = (weight.float() + product * (ALPHA / RANK)).to(weight.dtype)
    folder.mkdir(parents=True)
    for path in TINY.glob("*.json"):
        shutil.copyfile(path, folder / path.name)
    safetensors.torch.save_file(merged, folder / "model.safetensors")
    return folder
