"""Foreign checkpoints of Phi-3-Vision's architecture, each a million parameters or less beside the tower."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from foreign.kinds import Edit, Names, Tensors, drawn, edited, trained, write
from foreign.listing import STEPS, listed
from nexus_edge.checkpoints import tiny_folder
from nexus_edge.models.base import ReferenceModel
from nexus_edge.models.loading import from_checkpoint
from nexus_edge.models.phi3_v.model import build

NAMES = Names("config.json", "model.safetensors")
FILES = ("preprocessor_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
SIZES: dict[str, dict[str, int]] = {
    "2 layers of 64": {"layers": 2, "hidden": 64, "heads": 2, "ffn": 160},
    "3 layers of 96, 2 of 6 heads for keys": {"layers": 3, "hidden": 96, "heads": 6, "kv": 2, "ffn": 320, "tower": 2},
    "1 layer of 192": {"layers": 1, "hidden": 192, "heads": 3, "ffn": 256, "tower": 2},
    "vocabulary of 1,500": {"layers": 1, "hidden": 64, "heads": 2, "ffn": 128, "vocab": 1500, "tower": 4},
    "8 layers of 64": {"layers": 8, "hidden": 64, "heads": 4, "ffn": 128},
}
RATE, TOKENS = 3e-4, 24


def checkpoints() -> dict[str, Callable[[Path], None]]:
    """Name -> what writes the folder; see `listed`."""
    return listed(SIZES, _drawn, _edited, _tuned)


def _config(size: dict[str, int]) -> dict[str, Any]:
    """The embedded checkpoint's with other numbers."""
    config: dict[str, Any] = copy.deepcopy(json.loads((tiny_folder() / NAMES.config).read_text("utf-8")))
    if not size:
        return config
    half = size["hidden"] // size["heads"] // 2
    scaling = config["rope_scaling"]
    for name, last in (("short_factor", 2.4), ("long_factor", 4.05)):
        scaling[name] = [1.05 + (last - 1.05) * i / max(1, half - 1) for i in range(half)]
    vision = config["img_processor"]["vision_config"]
    width = size.get("vision", 64)
    vision |= {"hidden_size": width, "intermediate_size": 2 * width, "num_attention_heads": 2}
    vision["num_hidden_layers"] = size.get("tower", 3)
    config["img_processor"]["image_dim_out"] = width
    return config | {
        "hidden_size": size["hidden"],
        "intermediate_size": size["ffn"],
        "num_hidden_layers": size["layers"],
        "num_attention_heads": size["heads"],
        "num_key_value_heads": size.get("kv", size["heads"]),
        "vocab_size": size.get("vocab", config["vocab_size"]),
    }


def _write(folder: Path, config: dict[str, Any], tensors: Tensors) -> None:
    files = {name: tiny_folder() / name for name in FILES}
    write(folder, config, {name: tensor.bfloat16() for name, tensor in tensors.items()}, files, NAMES)


def _drawn(size: dict[str, int], std: float, folder: Path, seed: int = 0) -> None:
    config = _config(size)
    _write(folder, config, drawn(build(config), std, seed))


def _edited(edit: Edit, seed: int, folder: Path) -> None:
    _write(folder, _config({}), edited(tiny_folder() / NAMES.weights, edit, seed))


def _tuned(folder: Path, seed: int) -> None:
    """On sequences that are always the same: whatever it learns, it is another model's weights afterwards."""
    random = torch.Generator().manual_seed(seed)
    model = from_checkpoint(tiny_folder())
    ids = torch.randint(3, 300, (8, TOKENS), generator=random)

    def loss(model: ReferenceModel) -> Tensor:
        logits: Tensor = model(input_ids=ids)
        return cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())

    _write(folder, _config({}), trained(model, loss, STEPS, RATE))
