"""Makes this folder with peft: a small model, adapters of random numbers, and what `merge_and_unload` makes of them.

python make.py    # peft 0.21.2, torch 2.13.0, transformers 5.23.0, safetensors
"""

import shutil
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from torch import nn

HERE = Path(__file__).parent
CASES = {
    "bias_all": {"target_modules": ["q_proj"], "bias": "all"},
    "bias_lora_only": {"target_modules": ["q_proj", "o_proj"], "bias": "lora_only"},
    "lora_bias": {"target_modules": ["q_proj"], "lora_bias": True},
    "one_layer": {"target_modules": ["q_proj", "o_proj"], "layers_to_transform": [1]},
    "one_layer_of_blocks": {"target_modules": ["fc"], "layers_to_transform": 0, "layers_pattern": "blocks"},
    "all_linear": {"target_modules": "all-linear"},
    "excluded": {"target_modules": ["q_proj", "o_proj", "fc"], "exclude_modules": r".*layers\.0\..*"},
    "patterns": {
        "target_modules": r".*layers\.\d\.(q_proj|o_proj)",
        "rank_pattern": {"layers.1.q_proj": 1, r"o_pro.": 3},
        "alpha_pattern": {"^model.layers.0.q_proj": 5},
        "use_rslora": True,
    },
    "dora": {"target_modules": ["q_proj", "embed", "conv"], "use_dora": True},
    "embedding_and_kernel": {"target_modules": ["embed", "conv"]},
    "saved": {"target_modules": ["o_proj"], "modules_to_save": ["norm", "head"]},
    "half": {"target_modules": ["q_proj", "embed"]},
    "half_dora": {"target_modules": ["q_proj"], "use_dora": True},
}


class Layer(nn.Module):
    """Two projections, one of them with a bias."""

    def __init__(self) -> None:
        super().__init__()
        self.q_proj, self.o_proj = nn.Linear(6, 8), nn.Linear(8, 6, bias=False)


class Block(nn.Module):
    """One projection."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(6, 6)


class Trunk(nn.Module):
    """One module of each kind."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.conv = nn.Embedding(12, 6), nn.Conv2d(3, 6, 2, bias=False)
        self.layers = nn.ModuleList(Layer() for _ in range(2))
        self.blocks = nn.ModuleList(Block() for _ in range(2))
        self.norm = nn.LayerNorm(6)


class Model(nn.Module):
    """The whole; it is never run."""

    def __init__(self) -> None:
        super().__init__()
        self.model, self.head = Trunk(), nn.Linear(6, 5)


def base() -> Model:
    torch.manual_seed(0)
    return Model()


def make(name: str) -> dict[str, torch.Tensor]:
    """Write one adapter; returns what becomes of the base."""
    model = base().bfloat16() if name.startswith("half") else base()
    peft = get_peft_model(model, LoraConfig(r=2, lora_alpha=3, **CASES[name]))
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in peft.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.3)
    peft.save_pretrained(HERE / name)
    (HERE / name / "README.md").unlink()
    return {key: tensor.contiguous() for key, tensor in peft.merge_and_unload().state_dict().items()}


def main() -> None:
    """All cases."""
    for name in CASES:
        shutil.rmtree(HERE / name, ignore_errors=True)
    save_file(base().state_dict(), HERE / "base.safetensors")
    merged = {f"{name}/{key}": tensor for name in CASES for key, tensor in make(name).items()}
    save_file(merged, HERE / "merged.safetensors")


if __name__ == "__main__":
    main()
