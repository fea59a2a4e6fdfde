"""The evaluation set as one PyTorch model embeds it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nexus_edge.parity.metrics import Floats
from nexus_edge.processing import DualProcessor

if TYPE_CHECKING:
    from torch import Tensor

    from nexus_edge.models.base import ReferenceModel
    from nexus_edge.parity.dual_encoder.evaluation_set import EvaluationSet

BATCH = 8


@dataclass(frozen=True)
class Embeddings:
    """L2-normalised, [rows, dim] each: cells, then fields; and the texts of the same names in `EvaluationSet`."""

    cells: Floats
    fields: Floats
    sentences: Floats
    captions: Floats
    labels: Floats

    @property
    def images(self) -> Floats:
        """Cells, then fields."""
        return np.concatenate((self.cells, self.fields))


def embed(model: "ReferenceModel", processor: DualProcessor, data: "EvaluationSet") -> Embeddings:
    """Run both towers on all of the data."""
    import torch

    pixels = processor.images([crop.path for crop in data.crops])
    images = embed_images(model, torch.from_numpy(pixels))
    held_out = data.held_out
    prompts, sentences, captions = (
        embed_texts(model, torch.from_numpy(processor.texts(texts)))
        for texts in (data.prompts, data.sentences, data.captions)
    )
    cells = len(held_out.cells)
    return Embeddings(images[:cells], images[cells:], sentences, captions, ensemble(prompts, len(held_out.labels)))


def embed_images(model: "ReferenceModel", pixels: "Tensor") -> Floats:
    """[images, 3, size, size] -> [images, dim]"""
    import torch

    module: Any = model
    with torch.inference_mode():
        rows = torch.cat([module.encode_image(part) for part in pixels.split(BATCH)])
    return np.asarray(rows.numpy(), np.float64)


def embed_texts(model: "ReferenceModel", ids: "Tensor") -> Floats:
    """int64 [texts, tokens] -> [texts, dim]; short texts run together, so that little of the work is padding."""
    import torch

    module: Any = model
    lengths = (ids != 0).sum(1)
    order = lengths.argsort(stable=True)
    with torch.inference_mode():
        rows = torch.cat([module.encode_text(ids[part, : lengths[part].max()]) for part in order.split(BATCH)])
    return np.asarray(rows[order.argsort()].numpy(), np.float64)


def ensemble(prompts: Floats, labels: int) -> Floats:
    """Embeddings of all labels in a first template, in a second, ... -> one per label: the mean, normalized.

    "Learning Transferable Visual Models From Natural Language Supervision", section 3.1.4.
    """
    mean = prompts.reshape(-1, labels, prompts.shape[1]).mean(axis=0)
    return np.asarray(mean / np.linalg.norm(mean, axis=1, keepdims=True), np.float64)
