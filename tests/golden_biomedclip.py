"""The golden vectors of BiomedCLIP: the inputs, and what open_clip computed at every stage."""

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from nexus_edge.models import from_checkpoint
from nexus_edge.models.biomedclip.model import BiomedClip
from nexus_edge.models.biomedclip.processing import BiomedClipProcessor

FOLDER = Path(__file__).parent / "golden" / "biomedclip_tiny"
# The recordings before most tokens were left out.
COMPLETE = Path(__file__).parents[2] / "shared" / "golden" / "biomedclip_tiny"
LONG_ROW = 11  # the text that fills the context


@cache
def cases() -> dict[str, Any]:
    return json.loads((FOLDER / "cases.json").read_text("utf-8"))


@cache
def model() -> BiomedClip:
    """The original's weights in our model; callers do not change it."""
    made = from_checkpoint(FOLDER)
    assert isinstance(made, BiomedClip)
    return made


@cache
def text_ids() -> Tensor:
    """int64 [13, 256]"""
    return safetensors.torch.load_file(FOLDER / "inputs.safetensors")["text_ids"]


@cache
def pixel_values() -> Tensor:
    """float32 [8, 3, 224, 224], made by our preprocessing; the recorded hashes say that it is the original's."""
    pixels = BiomedClipProcessor.from_folder(FOLDER).images([FOLDER / name for name in cases()["images"]])
    assert [hashlib.sha256(image.tobytes()).hexdigest() for image in pixels] == cases()["pixel_sha256"]
    return torch.from_numpy(pixels)


@cache
def outputs(folder: Path = FOLDER) -> dict[str, Tensor]:
    """Stage, or stage and sampling -> value."""
    return safetensors.torch.load_file(folder / "outputs.safetensors")
