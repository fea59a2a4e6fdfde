"""The goldens of a dual encoder: images and texts, and what the quantized PyTorch model makes of them.

    probes.picture.{i}       uint8, a PNG file             probes.text          uint8, JSON
    probes.pixel_values      float32, every 997th number   probes.input_ids     int64 [texts, tokens]
    probes.image_embeds      float32 [images, dim]         probes.text_embeds   float32 [sentences, dim]
    probes.probabilities     float32 [images, labels]      probes.effect.*       see `recorded_effects`
    probes.full_precision_similarities                     float32 [images, sentences]

The JSON has sentences, labels and templates.
PNG and not JPEG, which not every decoder reads to the same pixels.
"""

import io
import json
from collections.abc import Iterator

import numpy as np
from PIL import Image

from nexus_edge.parity.dual_encoder.directions import in_many_directions
from nexus_edge.parity.dual_encoder.embeddings import Embeddings, embed_images, embed_texts, ensemble
from nexus_edge.parity.dual_encoder.ranking import softmax
from nexus_edge.parity.dual_encoder.run import DualRun, dual_run
from nexus_edge.parity.goldens import recorded_effects
from nexus_edge.parity.metrics import Array
from nexus_edge.parity.report.report import NotRunError
from nexus_edge.parity.run import ParityRun

CASE = "probes"
PIXEL_STRIDE = 997  # a prime, so that it hits every column of an image in turn


def record(run: ParityRun) -> Iterator[tuple[str, Array]]:
    """Everything above; nothing where the quantized model does not fit into memory."""
    dual = dual_run(run)
    try:
        embeddings = dual.quantized_embeddings
    except NotRunError:
        return
    for name, array in _record(dual, embeddings):
        yield f"{CASE}.{name}", array


def _record(dual: DualRun, embeddings: Embeddings) -> Iterator[tuple[str, Array]]:
    import torch

    data, processor, models = dual.evaluation_set, dual.processor, dual.run.references
    held_out = data.held_out
    given = [probe.image for probe in data.probes]
    texts = {"sentences": data.sentences, "labels": held_out.labels, "templates": held_out.templates}
    pixels, ids = processor.images(given), processor.texts(data.sentences)
    images = embed_images(models.quantized, torch.from_numpy(pixels))
    for i, image in enumerate(given):
        yield f"picture.{i:02}", _png(image)
    yield "text", np.frombuffer(json.dumps(texts).encode(), np.uint8)
    yield "pixel_values", sample(pixels)
    yield "input_ids", ids
    yield "image_embeds", images.astype(np.float32)
    yield "text_embeds", embeddings.sentences.astype(np.float32)
    yield "probabilities", softmax(dual.info.logit_scale * images @ embeddings.labels.T).astype(np.float32)

    def again() -> dict[str, Array]:
        images = embed_images(models.quantized, torch.from_numpy(pixels))
        sentences, prompts = (
            embed_texts(models.quantized, torch.from_numpy(processor.texts(texts)))
            for texts in (data.sentences, data.prompts)
        )
        labels = ensemble(prompts, len(held_out.labels))
        return _stages(images, sentences, softmax(dual.info.logit_scale * images @ labels.T))

    probabilities = softmax(dual.info.logit_scale * images @ embeddings.labels.T)
    yield from recorded_effects(
        dual.run,
        again,
        _stages(images, embeddings.sentences, probabilities),
        lambda moved: in_many_directions(moved, images, embeddings.labels, dual.info.logit_scale),
    )
    try:
        full = embed_images(models.full, torch.from_numpy(pixels)) @ dual.full_embeddings.sentences.T
    except NotRunError:
        return
    yield "full_precision_similarities", full.astype(np.float32)


def _stages(images: Array, texts: Array, probabilities: Array) -> dict[str, Array]:
    """By the names of the stages that a replay judges."""
    return {"image embeddings": images, "text embeddings": texts, "probabilities": probabilities}


def sample(pixels: Array) -> Array:
    """The numbers of [images, 3, size, size] that a golden keeps."""
    return pixels.reshape(-1)[::PIXEL_STRIDE]


def _png(image: Image.Image) -> Array:
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return np.frombuffer(file.getvalue(), np.uint8)
