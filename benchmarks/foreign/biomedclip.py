"""Foreign checkpoints of BiomedCLIP's architecture, each of two million parameters or less."""

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
from nexus_edge.checkpoints import FolderCheckpoint, tiny_folder
from nexus_edge.models.base import ReferenceModel
from nexus_edge.models.biomedclip.model import build
from nexus_edge.models.biomedclip.params import MODEL_TYPE
from nexus_edge.models.loading import from_checkpoint

NAMES = Names("open_clip_config.json", "open_clip_model.safetensors")
FILES = ("tokenizer.json", "tokenizer_config.json", "vocab.txt")
SIZES: dict[str, dict[str, int]] = {
    "2 layers of 192": {"depth": 2, "width": 192, "heads": 3, "layers": 2, "embed": 96},
    "images of 64, patches of 8": {
        "depth": 1,
        "width": 96,
        "heads": 3,
        "layers": 2,
        "embed": 32,
        "image": 64,
        "patch": 8,
    },
    "images of 224, patches of 32": {
        "depth": 2,
        "width": 64,
        "heads": 2,
        "layers": 1,
        "embed": 256,
        "image": 224,
        "patch": 32,
    },
    "16 numbers, vocabulary of 900": {"depth": 1, "width": 64, "heads": 1, "layers": 1, "embed": 16, "vocab": 900},
    "12 layers of 64": {"depth": 12, "width": 64, "heads": 4, "layers": 6, "embed": 64},
}
RATE, PAIRS, TOKENS = 3e-4, 8, 12


def checkpoints() -> dict[str, Callable[[Path], None]]:
    """Name -> what writes the folder; see `listed`."""
    return listed(SIZES, _drawn, _edited, _tuned)


def _config(size: dict[str, int]) -> dict[str, Any]:
    """The embedded checkpoint's with other numbers."""
    config: dict[str, Any] = copy.deepcopy(json.loads((tiny_folder(MODEL_TYPE) / NAMES.config).read_text("utf-8")))
    if not size:
        return config
    model, text = config["model_cfg"], config["text_config"]
    model["embed_dim"] = size["embed"]
    model["vision_cfg"]["image_size"] = size.get("image", 128)
    model["vision_cfg"]["timm_kwargs"] = {
        "patch_size": size.get("patch", 16),
        "embed_dim": size["width"],
        "depth": size["depth"],
        "num_heads": size["heads"],
    }
    text |= {"hidden_size": size["width"], "intermediate_size": 3 * size["width"]}
    text |= {"num_attention_heads": size["heads"], "num_hidden_layers": size["layers"]}
    text["vocab_size"] = size.get("vocab", text["vocab_size"])
    return config


def _write(folder: Path, config: dict[str, Any], tensors: Tensors) -> None:
    files = {name: tiny_folder(MODEL_TYPE) / name for name in FILES}
    write(folder, config, tensors, files, NAMES)


def _drawn(size: dict[str, int], std: float, folder: Path, seed: int = 0) -> None:
    config = _config(size)
    _write(folder, config, drawn(build({**config, "model_type": MODEL_TYPE}), std, seed))


def _edited(edit: Edit, seed: int, folder: Path) -> None:
    scale = {name: tensor for name, tensor in edited(_weights(), lambda kept, _: kept, 0).items() if tensor.ndim == 0}
    _write(folder, _config({}), edited(_weights(), edit, seed) | scale)


def _weights() -> Path:
    return tiny_folder(MODEL_TYPE) / NAMES.weights


def _tuned(folder: Path, seed: int) -> None:
    """On noise and words in pairs: whatever it learns, it is another model's weights afterwards."""
    random = torch.Generator().manual_seed(seed)
    model = from_checkpoint(tiny_folder(MODEL_TYPE))
    side = FolderCheckpoint(tiny_folder(MODEL_TYPE)).config["model_cfg"]["vision_cfg"]["image_size"]
    pixels = torch.randn(PAIRS, 3, side, side, generator=random)
    ids = torch.randint(5, 200, (PAIRS, TOKENS), generator=random)

    def loss(model: ReferenceModel) -> Tensor:
        return cross_entropy(model(pixels, ids), torch.arange(PAIRS))

    _write(folder, _config({}), trained(model, loss, STEPS, RATE))
