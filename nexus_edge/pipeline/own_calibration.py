"""Calibration on a user's own texts and images, instead of a text of quant/calibration.

    {"text": "Describe the fracture.", "image": "scan.png"}
    {"text": "A text without an image."}

A fine-tune sees other activations than the model it came from; which channels are large is what calibration measures.
"""

import hashlib
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nexus_edge._text import parse_json, read_text
from nexus_edge._typed import read
from nexus_edge.checkpoints import Checkpoint
from nexus_edge.errors import ImageError, InputError, RecipeError
from nexus_edge.interfaces.processor import ModelInputs
from nexus_edge.parity.vlm.streamed import Streamed, held, held_vision
from nexus_edge.processing import Processor
from nexus_edge.processing.images import load_image
from nexus_edge.processing.sources import beside
from nexus_edge.recipe import Recipe

TOKENS = 2048  # of all samples together: attention over as many takes 0.5 GB in a model of 32 heads


class CalibrationWarning(UserWarning):
    """Not all samples are used."""


@dataclass(frozen=True)
class _Line:
    text: str
    image: str | None = None


@dataclass(frozen=True)
class Sample:
    """One line: a text, and the images that go before it."""

    text: str
    images: tuple[Path, ...]


@dataclass(frozen=True)
class OwnCalibration:
    """A file of samples.

    Attributes:
        name: what the manifest says: the file's name and the beginning of a SHA-256 over it and its images
        samples: in the order of the file
    """

    name: str
    samples: tuple[Sample, ...]

    @classmethod
    def read(cls, path: Path) -> "OwnCalibration":
        """Raises InputError, naming the file and the line."""
        try:
            text = read_text(path)
        except OSError as error:
            raise InputError(f"{path}: cannot be read: {error.strerror}") from error
        except ValueError as error:
            raise InputError(f"{path}: {error}") from error
        numbered = [(number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
        if not numbered:
            raise InputError(f'{path}: has no samples; write one JSON object a line: {{"text": ..., "image": ...}}')
        samples = tuple(_sample(line, f"{path}:{number}", path) for number, line in numbered)
        digest = hashlib.sha256(text.encode())
        for image in (image for sample in samples for image in sample.images):
            digest.update(hashlib.sha256(image.read_bytes()).digest())
        return cls(f"{path.name}, SHA-256 {digest.hexdigest()[:16]}", samples)

    def require_use(self, recipe: Recipe, checkpoint: Checkpoint) -> None:
        """Raise RecipeError where nothing would use the samples, or nothing can read them."""
        if checkpoint.folder is None:
            raise RecipeError(f"{checkpoint.name}: has no processor to read samples with; leave out --calibration")
        if all(graph.calibration is None for graph in recipe.graphs.values()):
            raise RecipeError(f"{recipe.name}: calibrates no graph; leave out --calibration, or set it in the recipe")


def _sample(line: str, where: str, file: Path) -> Sample:
    try:
        value = parse_json(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: is not valid JSON: {error}") from error
    said = read(value, _Line, where, InputError)
    if not said.text.strip():
        raise InputError(f"{where}: text is empty")
    try:
        images = () if said.image is None else (beside(file, said.image),)
        for path in images:
            load_image(path)
    except ImageError as error:
        raise InputError(f"{where}: {error}") from error
    return Sample(said.text, images)


def embedded(own: OwnCalibration, processor: Processor, streamed: Streamed) -> Tensor:
    """What the decoder's first layer is given: float32 [1, tokens, hidden], samples one after the other.

    The last one that begins within `TOKENS` is cut there.

    Args:
        processor: the checkpoint's
        streamed: the full-precision model
    """
    rows: list[Tensor] = []
    for inputs in _within(own, processor):
        model, ids = streamed.model, torch.from_numpy(inputs["input_ids"])
        features = _features(streamed, inputs)
        with held(streamed, model.decoder_names.embedding):
            rows.append(model.embed(ids, features))
    return torch.cat(rows, dim=1)[:, :TOKENS]


def _within(own: OwnCalibration, processor: Processor) -> list[ModelInputs]:
    """The first samples, until they have `TOKENS` tokens."""
    found: list[ModelInputs] = []
    for sample in own.samples:
        content: list[Any] = [*({"type": "image"} for _ in sample.images), {"type": "text", "text": sample.text}]
        prompt = processor.apply_chat_template([{"role": "user", "content": content}])
        found.append(processor(prompt, list(sample.images)))
        if sum(inputs["input_ids"].shape[1] for inputs in found) >= TOKENS:
            break
    if len(found) < len(own.samples):
        all_ = f"{len(own.samples)} samples have {TOKENS:,} tokens, all that are used"
        text = f"{own.name}: the first {len(found)} of {all_}"
        warnings.warn(text, CalibrationWarning, stacklevel=2)
    return found


def _features(streamed: Streamed, inputs: ModelInputs) -> Tensor:
    """[image tokens, hidden]; no rows without images"""
    if "pixel_values" not in inputs:
        return torch.zeros(0, streamed.model.hidden_size)
    images = (torch.from_numpy(inputs["pixel_values"]), torch.from_numpy(inputs["image_sizes"]))
    with held_vision(streamed):
        return streamed.model.image_features(*images)
