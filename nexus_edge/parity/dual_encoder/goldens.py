"""The goldens of a dual encoder: pictures and texts, and what the quantized PyTorch model makes of them.

    probes.picture.{i}       uint8, a PNG file             probes.text          uint8, JSON
    probes.pixel_values      float32, every 997th number   probes.input_ids     int64 [texts, tokens]
    probes.image_embeds      float32 [pictures, dim]       probes.text_embeds   float32 [sentences, dim]
    probes.probabilities     float32 [pictures, labels]    probes.effect.*       see `recorded_effects`
    probes.full_precision_similarities                     float32 [pictures, sentences]

The JSON has sentences, labels and templates.
PNG and not JPEG, which not every decoder reads to the same pixels.
"""

import io
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from nexus_edge.parity.dual_encoder.embeddings import Embeddings, embed_pictures, embed_texts, ensemble
from nexus_edge.parity.dual_encoder.ranking import softmax
from nexus_edge.parity.goldens import recorded_effects
from nexus_edge.parity.metrics import Array
from nexus_edge.parity.report.report import NotRunError

if TYPE_CHECKING:
    from nexus_edge.parity.dual_encoder.lab import DualLab

CASE = "probes"
PIXEL_STRIDE = 997  # a prime, so that it hits every column of a picture in turn


def record(lab: "DualLab") -> Iterator[tuple[str, Array]]:
    """Everything above; nothing where the quantized model does not fit into memory."""
    try:
        embeddings = lab.quantized_embeddings
    except NotRunError:
        return
    for name, array in _record(lab, embeddings):
        yield f"{CASE}.{name}", array


def _record(lab: "DualLab", embeddings: Embeddings) -> Iterator[tuple[str, Array]]:
    import torch

    material, processor = lab.material, lab.processor
    held_out = material.held_out
    pictures = [probe.picture for probe in material.probes]
    texts = {"sentences": material.sentences, "labels": held_out.labels, "templates": held_out.templates}
    pixels, ids = processor.images(pictures), processor.texts(material.sentences)
    images = embed_pictures(lab.quantized, torch.from_numpy(pixels))
    for i, picture in enumerate(pictures):
        yield f"picture.{i:02}", _png(picture)
    yield "text", np.frombuffer(json.dumps(texts).encode(), np.uint8)
    yield "pixel_values", sample(pixels)
    yield "input_ids", ids
    yield "image_embeds", images.astype(np.float32)
    yield "text_embeds", embeddings.sentences.astype(np.float32)
    yield "probabilities", softmax(lab.info.logit_scale * images @ embeddings.labels.T).astype(np.float32)

    def run() -> dict[str, Array]:
        images = embed_pictures(lab.quantized, torch.from_numpy(pixels))
        sentences, prompts = (
            embed_texts(lab.quantized, torch.from_numpy(processor.texts(texts)))
            for texts in (material.sentences, material.prompts)
        )
        labels = ensemble(prompts, len(held_out.labels))
        return _stages(images, sentences, softmax(lab.info.logit_scale * images @ labels.T))

    probabilities = softmax(lab.info.logit_scale * images @ embeddings.labels.T)
    yield from recorded_effects(lab, run, _stages(images, embeddings.sentences, probabilities))
    try:
        full = embed_pictures(lab.full, torch.from_numpy(pixels)) @ lab.full_embeddings.sentences.T
    except NotRunError:
        return
    yield "full_precision_similarities", full.astype(np.float32)


def _stages(images: Array, texts: Array, probabilities: Array) -> dict[str, Array]:
    """By the names of the stages that a replay judges."""
    return {"image embeddings": images, "text embeddings": texts, "probabilities": probabilities}


def sample(pixels: Array) -> Array:
    """The numbers of [pictures, 3, size, size] that a golden keeps."""
    return pixels.reshape(-1)[::PIXEL_STRIDE]


def _png(picture: Image.Image) -> Array:
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True)
    return np.frombuffer(file.getvalue(), np.uint8)
