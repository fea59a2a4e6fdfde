"""The golden vectors of Phi-3-Vision: cases, their inputs, and what the original computed at every stage."""

import hashlib
import json
import shutil
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
import toy_vlm
from torch import Tensor

from nexus_edge.checkpoints import FolderCheckpoint
from nexus_edge.models.loading import load_weights
from nexus_edge.models.phi3_v.model import Phi3V
from nexus_edge.models.phi3_v.params import Phi3VisionParams
from nexus_edge.models.phi3_v.processing import preprocess_images

FOLDER = Path(__file__).parent / "golden" / "phi3_vision_tiny"
CASES: dict[str, dict[str, Any]] = {
    case["name"]: case for case in json.loads((FOLDER / "cases.json").read_text())["cases"]
}


@cache
def inputs() -> dict[str, Tensor]:
    return safetensors.torch.load_file(FOLDER / "inputs.safetensors")


@cache
def outputs() -> dict[str, Tensor]:
    return safetensors.torch.load_file(FOLDER / "outputs.safetensors")


@cache
def config(file: str = "config.json") -> dict[str, Any]:
    return json.loads((FOLDER / file).read_text())


@cache
def model(file: str = "config.json", dtype: torch.dtype = torch.float32) -> Phi3V:
    """The original's weights in our model; callers do not change it."""
    with torch.device("meta"):
        made = Phi3V(Phi3VisionParams.from_json(config(file))).eval()
    load_weights(made, FolderCheckpoint(FOLDER), dtype)
    return made


def write_checkpoint(folder: Path, file: str = "config.json") -> FolderCheckpoint:
    """A folder with the golden weights and all that processing needs.

    The tokenizer is the toy's, because the goldens' own is not this project's (ids come from the goldens); 16 crops are
    what ONNX Runtime GenAI makes.
    """
    folder.mkdir()
    shutil.copy(FOLDER / "model.safetensors", folder)
    toy_vlm.tokenizer().save(str(folder / "tokenizer.json"))
    for name, content in {
        "config.json": config(file) | {"_nexus_edge_weights": "synthetic"},
        "tokenizer_config.json": {"bos_token": "<s>", "tokenizer_class": "LlamaTokenizer"},
        "preprocessor_config.json": {"num_crops": 16, "num_img_tokens": 144},
    }.items():
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
    return FolderCheckpoint(folder)


@cache
def _pixel_values(name: str) -> Tensor:
    recorded = CASES[name]
    pixels, _, _ = preprocess_images([FOLDER / file for file in recorded["images"]], recorded["num_crops"])
    assert hashlib.sha256(pixels.tobytes()).hexdigest() == recorded["pixel_values_sha256"], name
    return torch.from_numpy(pixels)


@dataclass(frozen=True)
class Case:
    """One recorded run of the original."""

    name: str

    @property
    def model(self) -> Phi3V:
        return model(CASES[self.name]["config"], torch.bfloat16 if self.name == "text_bf16" else torch.float32)

    @property
    def input_ids(self) -> Tensor:
        return inputs()[f"{self.name}.input_ids"]

    @property
    def attention_mask(self) -> Tensor:
        return inputs()[f"{self.name}.attention_mask"]

    @property
    def image_sizes(self) -> Tensor | None:
        return inputs().get(f"{self.name}.image_sizes")

    @property
    def pixel_values(self) -> Tensor | None:
        """float32 [images, crops, 3, 336, 336], made by our preprocessing; the recorded hash says it is the same."""
        return _pixel_values(self.name) if CASES[self.name]["images"] else None

    @property
    def stages(self) -> dict[str, Tensor]:
        """Everything that was recorded of this case, by stage."""
        prefix = f"{self.name}."
        return {key.removeprefix(prefix): value for key, value in outputs().items() if key.startswith(prefix)}
